package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/doctor"
	"fairway/nat"
	"fairway/trace"
)

// drops has packets that fairway lets pass go through the rules of all: of each
// network one to the outside, and one from there to a port that it publishes.
func (g *ground) drops(host *doctor.Host) func(context.Context) ([]doctor.Drop, error) {
	return func(ctx context.Context) ([]doctor.Drop, error) {
		w, err := trace.Look(ctx, g.records)
		if err != nil {
			return nil, err
		}
		var out []doctor.Drop
		seen := map[string]bool{}
		for _, n := range g.firewall.Networks {
			for _, f := range n.Families {
				uplink := host.Uplink(f.Is6())
				if n.Internal || f.Mode == nat.IsolatedGateway || uplink == "" || uplink == n.Link {
					continue
				}
				for _, p := range g.probes(n, f, uplink) {
					o := w.Rules.At(trace.Forward, p.Packet)
					if o.Verdict != trace.Drop || o.Steps[len(o.Steps)-1].Ours {
						continue
					}
					s := o.Steps[len(o.Steps)-1]
					if key := s.Where + s.Rule + fmt.Sprint(s.Handle); !seen[key] {
						seen[key] = true
						out = append(out, dropOf(s, p, n.Link))
					}
				}
			}
		}
		return out, nil
	}
}

// A probe is a packet that is to pass.
type probe struct {
	trace.Packet
	what string
}

// outsiders are nobody's addresses: RFC 5737 and RFC 3849.
func outsiders(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("2001:db8:ffff:ffff::1")
	}
	return netip.MustParseAddr("198.51.100.1")
}

func (g *ground) probes(n nat.Network, f nat.Family, uplink string) []probe {
	name := trace.Title(g.records.Networks[n.ID])
	inside, outside := f.Subnet.Addr().Next().Next(), outsiders(f.Is6())
	all := []probe{{trace.Packet{
		Proto: unix.IPPROTO_TCP, Src: inside, SrcPort: 40000, Dst: outside, DstPort: 443, In: n.Link, Out: uplink, OrigDst: outside, OrigPort: 443,
	}, "from network " + name + " to the outside"}}
	for _, e := range g.firewall.Endpoints {
		if e.Network != n.ID {
			continue
		}
		for _, p := range e.Ports {
			if p.Target.Is6() != f.Is6() || p.HostPort == 0 || p.Host().IsLoopback() || !n.Clients.All() || e.Clients != nil {
				continue
			}
			return append(all, probe{trace.Packet{
				Proto: p.Proto, Src: outside, SrcPort: 40000, Dst: p.Target, DstPort: p.TargetPort, In: uplink, Out: n.Link,
				DNAT: true, OrigDst: outside, OrigPort: p.HostPort,
			}, fmt.Sprintf("from the outside to port %d of network %s", p.HostPort, name)})
		}
	}
	return all
}

// dropOf says what a rule of somebody's drops, and what lets it pass.
func dropOf(s trace.Step, p probe, link string) doctor.Drop {
	d := doctor.Drop{Where: s.Where, Rule: s.Rule, What: p.what, Iptables: s.Iptables}
	if s.Iptables {
		family, _, _ := strings.Cut(s.Where, " ")
		if rule, ok := strings.CutPrefix(s.Rule, "-A "); ok {
			d.Fix = []string{family + "tables -D " + rule}
		}
		return d
	}
	if s.Handle != 0 {
		d.Rule = fmt.Sprintf("handle %d (nft -a list chain %s) %s", s.Handle, s.Where, s.Rule)
	}
	if strings.HasPrefix(link, "fwb") {
		link = "fwb*"
	}
	for _, way := range []string{"iifname", "oifname"} {
		d.Fix = append(d.Fix, fmt.Sprintf("nft 'insert rule %s %s \"%s\" accept'", s.Where, way, link))
	}
	slices.Reverse(d.Fix)
	return d
}
