package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairway/option"
)

// A wanted is a pool request, understood.
type wanted struct {
	subnet  netip.Prefix // masked; invalid for any
	ipRange netip.Prefix // masked; invalid for all of subnet
	size    int          // without a subnet: its prefix length; 0 for the default pools' own
	v6      bool
	shared  bool
	source  string // sourceLocal or sourceDHCP; "" for sourceLocal
	parent  string // link on whose LAN the DHCP servers are
	segment string // of a cluster, whose pool it is; "" none's
}

// parsePool checks what can be checked without looking at other pools. Bits
// behind a prefix's length are dropped, as Docker's own IPAM does.
func parsePool(spec PoolSpec) (wanted, error) {
	want := wanted{v6: spec.V6}
	if !slices.Contains(spaceNames(), spec.Space) {
		return want, fmt.Errorf("address space %q: want one of %s", spec.Space, strings.Join(spaceNames(), ", "))
	}
	if err := poolOptions(&want).Parse(spec.Options); err != nil {
		return want, err
	}
	if err := want.parseSubnet(spec.Pool); err != nil {
		return want, err
	}
	if want.source == sourceDHCP && spec.Space == SpaceIPvlan {
		return want, errors.New(`option source="dhcp": not allowed with --ipam-driver fairway-ipvlan, which hears of no MAC address that servers could tell a container by`)
	}
	if want.source == sourceDHCP || want.parent != "" {
		if err := want.checkSource(spec.Pool, spec.SubPool); err != nil {
			return want, err
		}
	}
	if want.segment != "" && spec.Space == SpaceIPvlan {
		return want, fmt.Errorf("option segment=%q: not allowed with --ipam-driver fairway-ipvlan: want fairway", want.segment)
	}
	if err := want.checkSegment(spec.Pool, spec.SubPool); err != nil {
		return want, err
	}
	return want, want.parseRange(spec.SubPool)
}

// parseSubnet takes --subnet. An unspecified address with a length is a wish
// for a size; length 0 for no wish, as since Docker 28.
func (w *wanted) parseSubnet(text string) error {
	if text == "" {
		return nil
	}
	example := "192.0.2.0/24"
	if w.v6 {
		example = "2001:db8::/64"
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return fmt.Errorf("pool %q: want a subnet such as %s", text, example)
	case p.Addr().Is4() && w.v6:
		return fmt.Errorf("pool %s: want an IPv6 subnet such as %s", p, example)
	case p.Addr().Is6() && !w.v6:
		return fmt.Errorf("pool %s: want an IPv4 subnet such as %s", p, example)
	case p.Addr().IsUnspecified():
		w.size = p.Bits()
		return nil
	case p.Bits() == 0:
		return fmt.Errorf("pool %s: want a length of at least 1, such as %s", p, example)
	case p.Masked().Addr().IsUnspecified():
		return fmt.Errorf("pool %s: want a subnet such as %s; %s asks for any of that size", p, example, p.Masked())
	}
	w.subnet = p.Masked()
	return nil
}

// parseRange takes --ip-range.
func (w *wanted) parseRange(text string) error {
	if text == "" {
		return nil
	}
	if !w.subnet.IsValid() {
		return fmt.Errorf("ip-range %q: want the subnet that it is a part of, too", text)
	}
	r, err := netip.ParsePrefix(text)
	if err == nil {
		r = r.Masked()
	}
	if err != nil || r.Bits() < w.subnet.Bits() || !w.subnet.Contains(r.Addr()) {
		return fmt.Errorf("ip-range %q: want a part of the pool %s", text, w.subnet)
	}
	if _, _, ok := newSubnet("", w.subnet).limits(r); !ok {
		return fmt.Errorf("ip-range %s: no address of it can be used in the pool %s", r, w.subnet)
	}
	w.ipRange = r
	return nil
}

// poolOptions is the table of --ipam-opt.
func poolOptions(w *wanted) option.Table {
	return option.Table{
		{
			Name: "shared", Allowed: "true or false",
			Meaning: "several networks share the subnet, each with an --ip-range of its own",
			Set: func(v string) (err error) {
				w.shared, err = strconv.ParseBool(v)
				return err
			},
		},
		{
			Name: "source", Allowed: "local or dhcp",
			Meaning: "where addresses come from: fairway itself, or the DHCP servers of a LAN",
			Set:     option.OneOf(&w.source, sourceLocal, sourceDHCP),
		},
		{
			Name: "parent", Allowed: "the name of a link: at most 15 letters, digits, - _ . @",
			Meaning: "with source=dhcp: link of the host on whose LAN the servers are",
			Set:     option.LinkName(&w.parent),
		},
		{
			Name: "segment", Allowed: option.SegmentAllowed,
			Meaning: "the pool is that of a segment, and shared with the other hosts of the cluster; goes with -o mode=overlay -o segment=…",
			Set:     option.Segment(&w.segment),
		},
	}
}

// sharedOption reports whether a handle was asked for with shared=true.
func sharedOption(options map[string]string) bool {
	shared, _ := strconv.ParseBool(options["shared"])
	return shared
}
