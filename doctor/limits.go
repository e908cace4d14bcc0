package doctor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// limitChecks are of tables of the kernel that run full.
func limitChecks() []Check {
	return []Check{
		{
			Code: "FW014", Name: "neighbours", Title: "the kernel's table of neighbours is nearly full", Severity: Bad,
			Cause:  "More hosts and containers are neighbours than net.ipv4.neigh.default.gc_thresh3 (net.ipv6… for IPv6) allows, 1,024 by default.",
			Loss:   "New neighbours are unreachable, now these and then those: \"neighbour table overflow\" in the kernel's log.",
			Remedy: "The command quadruples the limit until the next boot; for good, write it into a file in /etc/sysctl.d.",
			look:   lookNeighbours,
		},
		{
			Code: "FW015", Name: "conntrack", Title: "the table of tracked connections is nearly full", Severity: Bad,
			Cause:  "Nearly net.netfilter.nf_conntrack_max connections are open, or were lately: many clients, a scan, or timeouts that are too long.",
			Loss:   "New connections are dropped, of all containers and of the host: \"nf_conntrack: table full, dropping packet\" in the kernel's log.",
			Remedy: "The command quadruples the limit until the next boot (some 300 bytes of memory for each connection); for good, write it into a file in /etc/sysctl.d. `fairway ports --stats` shows who has so many.",
			look:   lookConntrack,
		},
		{
			Code: "FW041", Name: "pool", Title: "a network has hardly any address left", Severity: Warning,
			Cause:  "More than 85 % of the addresses of a network's IPv4 subnet, or of its --ip-range, are in use.",
			Loss:   "When they are used up, no container starts on it.",
			Remedy: "Make a larger network and move the containers: a subnet can't grow. `fairway endpoints` shows who has addresses.",
			look:   lookPools,
		},
	}
}

func lookNeighbours(_ context.Context, p *Patient) (out []Finding, err error) {
	for family, path := range map[int]string{unix.AF_INET: "net/ipv4/neigh/default/gc_thresh3", unix.AF_INET6: "net/ipv6/neigh/default/gc_thresh3"} {
		limit := number(path)
		if n := p.Host.Neighbours[family]; limit > 0 && n*100 > limit*85 {
			out = append(out, auto(set(path, fmt.Sprint(4*limit)),
				"%d of %d entries (%s); new hosts and containers will be unreachable", n, limit, strings.ReplaceAll(path, "/", ".")))
		}
	}
	return out, nil
}

func lookConntrack(context.Context, *Patient) ([]Finding, error) {
	const count, max = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
	limit := number(max)
	if n := number(count); limit > 0 && n*100 > limit*85 {
		return []Finding{auto(set(max, fmt.Sprint(4*limit)), "%d of %d connections; new ones will be dropped", n, limit)}, nil
	}
	return nil, nil
}

// full is from what share of its addresses on a pool counts as nearly used up,
// in per cent.
const full = 85

func lookPools(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.networks() {
		for _, s := range n.Subnets {
			if s.Is6() {
				continue // never in practice
			}
			all, used := hosts(s.Prefix), 0
			if s.Gateway.IsValid() {
				used++
			}
			for _, e := range p.endpoints(n.ID) {
				if e.IPv4.IsValid() && s.Prefix.Contains(e.IPv4.Addr()) {
					used++
				}
			}
			if recorded := p.inUse(n.ID); recorded > used {
				used = recorded
			}
			if all > 0 && used*100 > all*full {
				out = append(out, by(nil, "network %s: %d of %d addresses of %s are in use", title(n), used, all, s.Prefix))
			}
		}
	}
	return out, nil
}

// inUse counts the addresses of a network's IPv4 subnet that fairway's own IPAM
// has given out.
func (p *Patient) inUse(network string) (n int) {
	for _, s := range p.Records.Networks[network].Subnets {
		for _, a := range p.Records.Addresses {
			if !s.Is6() && a.Space == s.Space && a.Subnet == s.Prefix && a.Released.IsZero() {
				n++
			}
		}
	}
	return n
}
