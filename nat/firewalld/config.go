package firewalld

import (
	"context"
	"errors"
	"slices"
)

// policies are those that let packets pass between the zone and all others, the
// host itself not among them: firewalld.policies(5), since firewalld 0.9.
func policies() map[string]map[string]any {
	policy := func(what, from, to string) map[string]any {
		return map[string]any{
			"description": what, "target": "ACCEPT",
			"ingress_zones": []string{from}, "egress_zones": []string{to},
		}
	}
	return map[string]map[string]any{
		"fairway-in":  policy("to Docker's containers on fairway networks; fairway's rules decide what passes", "ANY", zone),
		"fairway-out": policy("from Docker's containers on fairway networks; fairway's rules decide what passes", zone, "ANY"),
	}
}

// configure makes the zone and the policies known to firewalld: in its permanent
// configuration, from which a reload takes them. It returns whether they are in
// force.
func (z *Zone) configure(ctx context.Context, b *bus) (ready bool, err error) {
	zones, err := b.list(ctx, "zone.getZones")
	if err != nil {
		return false, err
	}
	known, err := b.list(ctx, "policy.getPolicies")
	if err != nil {
		return false, err
	}
	missing := !slices.Contains(zones, zone)
	for name := range policies() {
		missing = missing || !slices.Contains(known, name)
	}
	if !missing {
		z.reloading = false
		return true, nil
	}
	if z.reloading { // a second time would not help either
		return false, errors.New("firewalld: zone fairway: is not there after a reload; see firewall-cmd --check-config")
	}
	settings := map[string]any{"description": "bridges of Docker's fairway networks, added while they are there"}
	err = b.call(ctx, configPath, "config.addZone2", zone, settings)
	if err != nil && !is(err, "NAME_CONFLICT") {
		return false, err
	}
	for name, settings := range policies() {
		err := b.call(ctx, configPath, "config.addPolicy", name, settings)
		if err != nil && !is(err, "NAME_CONFLICT") {
			return false, err
		}
	}
	z.opts.Log.Info("firewalld: made zone fairway and policies fairway-in and fairway-out; reloading it")
	z.reloading = true
	if err := b.call(ctx, path, "reload"); err != nil {
		return false, err
	}
	zones, err = b.list(ctx, "zone.getZones")
	return slices.Contains(zones, zone), err
}
