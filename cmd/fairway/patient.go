package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"fairway/doctor"
	"fairway/engine"
	"fairway/link"
	"fairway/nat"
	"fairway/nat/guard"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/nat/unroutable"
)

// patient gathers what the checks look at.
func (g *ground) patient(ctx context.Context) (*doctor.Patient, error) {
	p := &doctor.Patient{
		Settings: doctor.Settings{
			StateDir: g.config.StateDir, Socket: g.config.Socket, DockerSocket: g.config.DockerSocket, Firewall: g.backend,
		},
		Build: buildInfo(), Now: time.Now(), Daemon: g.status, DaemonErr: g.statusErr,
		Records: g.records, Instance: g.instance, StoreErr: g.storeErr, WantErr: g.wantErr,
		Want:    doctor.Wanted{Links: g.links, Firewall: g.firewall, Guarded: g.guarded},
		Compare: g.compare,
	}
	if g.driver != nil {
		p.Want.Parents = g.driver.Parents()
	}
	err := g.ask(ctx, func(ctx context.Context) (err error) {
		p.Ports, err = g.client.Ports(ctx, false)
		return err
	})
	if err != nil && g.statusErr == nil {
		return nil, err
	}
	if g.engineSocket() != "" {
		p.Engine, p.EngineErr = lookAtEngine(ctx, g.engineSocket())
	}
	if p.Host, err = doctor.ReadHost(); err == nil {
		p.Drops = g.drops(p.Host)
	}
	return p, err
}

// engineTime bounds how long an engine may take.
const engineTime = 5 * time.Second

func lookAtEngine(ctx context.Context, socket string) (*doctor.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	v, version, err := engine.Look(ctx, socket)
	if err != nil {
		return nil, err
	}
	e := &doctor.Engine{ID: v.Engine, Version: version, Networks: map[string]doctor.EngineNetwork{}}
	for id, n := range v.Networks {
		if !n.Driver {
			continue
		}
		known := doctor.EngineNetwork{Name: n.Name, Endpoints: map[string]doctor.EngineEndpoint{}}
		for id, ep := range n.Endpoints {
			known.Endpoints[id] = doctor.EngineEndpoint{ContainerID: ep.ContainerID, Name: ep.Name}
		}
		e.Networks[id] = known
	}
	return e, nil
}

// compare says what in the kernel differs from the records.
func (g *ground) compare(ctx context.Context) (d doctor.Differences, err error) {
	var parts errgroup.Group
	parts.Go(func() (err error) {
		d.Links, err = g.compareLinks(ctx)
		return err
	})
	parts.Go(func() error {
		compare := iptables.Compare
		if g.backend == "nftables" {
			compare = nftables.Compare
		}
		found, err := compare(ctx, g.options(), g.firewall)
		d.Rules = words(found)
		return err
	})
	parts.Go(func() error {
		subnets, err := unroutable.New(unroutable.Options{Options: g.options(), Priority: g.config.RulePriority})
		if err != nil {
			return err
		}
		found, err := subnets.Compare(g.firewall.Networks)
		if err == nil {
			d.Clashes, err = subnets.Clashes()
		}
		d.Routing = words(found)
		return err
	})
	parts.Go(func() error {
		found, err := guard.Compare(g.options(), g.guarded)
		d.Guard = words(found)
		return err
	})
	err = parts.Wait()
	return d, err
}

// compareLinks says which links aren't as recorded. What differs is looked at
// again by records that are read anew: a container may have come, or got its
// name, since they were.
func (g *ground) compareLinks(ctx context.Context) ([]string, error) {
	out, err := g.differing(ctx)
	if len(out) == 0 || err != nil || g.status == nil {
		return out, err
	}
	now := *g
	if err := now.read(ctx); err != nil || now.storeErr != nil {
		return out, err
	}
	if now.work(); now.wantErr != nil {
		return out, nil
	}
	return now.differing(ctx)
}

func (g *ground) differing(ctx context.Context) (out []string, err error) {
	kernel, err := link.New(link.Options{Instance: g.instance})
	if err != nil {
		return nil, err
	}
	links, err := kernel.Compare(ctx, g.present(kernel))
	for _, r := range links {
		out = append(out, r.Object+" "+r.What)
	}
	return out, errors.Join(err, kernel.Close())
}

// present is what must exist but for what is on links of the host that aren't
// there: that is for another finding.
func (g *ground) present(kernel *link.Conn) link.Set {
	absent := map[string]bool{}
	for _, n := range g.records.Networks {
		if !n.Adopted {
			continue
		}
		on := []string{n.Link} // what goes with the host's link
		if len(n.VLANs) > 0 {
			on = []string{n.Link, n.VLANs[0].Parent}
		}
		if _, err := kernel.Link(context.Background(), n.Namespace, on[len(on)-1]); err == nil {
			continue
		}
		for _, v := range n.VLANs {
			on = append(on, v.Link)
		}
		for _, name := range on {
			absent[name] = true
		}
	}
	var out link.Set
	for _, o := range g.links {
		if !absent[link.On(o)] {
			out = append(out, o)
		}
	}
	return out
}

func words(repairs []nat.Repair) (out []string) {
	for _, r := range repairs {
		out = append(out, r.What)
	}
	return out
}
