package doctor

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// forwardingChecks are of what the kernel needs to forward packets.
func forwardingChecks() []Check {
	return []Check{
		{
			Code: "FW020", Name: "ip_forward", Title: "the host doesn't forward IPv4", Severity: Bad,
			Cause:  "net.ipv4.ip_forward is 0: the daemon runs with --ip-forward=false, or something turned it off afterwards (`sysctl --system`, a hardening script).",
			Loss:   "Containers don't reach the outside, and nobody outside reaches published ports.",
			Remedy: "The command turns it on until the next boot; for good, write it into a file in /etc/sysctl.d. Turned on by hand, the host forwards for others, too: see the policy of FORWARD.",
			look:   lookForward4,
		},
		{
			Code: "FW021", Name: "mtu", Title: "a network's packets are larger than its way out takes", Severity: Warning,
			Cause:  "The network was made when the uplink or the parent had a larger MTU, or with a larger `mtu`: tunnels (WireGuard, VXLAN, PPPoE) and clouds take less than 1,500 bytes. On the way to other hosts, an overlay network's packets have 50 bytes more, over IPv6 70.",
			Loss:   "Large packets are lost where a router on the way doesn't say so (ICMP is blocked): connections open, and hang with the first large answer.",
			Remedy: "Make the network again with `-o mtu=`, or raise the link's MTU if all on the way take that.",
			look:   lookMTU,
		},
		{
			Code: "FW022", Name: "ip6_forward", Title: "the host doesn't forward IPv6", Severity: Bad,
			Cause:  "net.ipv6.conf.all.forwarding is 0: the daemon runs with --ip-forward=false, or something turned it off afterwards.",
			Loss:   "Containers don't reach the outside by IPv6, and nobody outside reaches published ports by it.",
			Remedy: "The command turns it on until the next boot; for good, write it into a file in /etc/sysctl.d. See FW023 before, if the host has its IPv6 route by router advertisements.",
			look:   lookForward6,
		},
		{
			Code: "FW023", Name: "accept_ra", Title: "the host will lose its IPv6 default route", Severity: Bad,
			Cause:  "The route came by a router advertisement, and a host that forwards takes no more of them unless accept_ra is 2 (ip-sysctl.rst).",
			Loss:   "When the route's lifetime ends, some 30 minutes, the host and all containers have no IPv6.",
			Remedy: "The command has the host take them; for good, write it into a file in /etc/sysctl.d, or have systemd-networkd or NetworkManager receive them.",
			look:   lookAcceptRA,
		},
		{
			Code: "FW024", Name: "rp_filter", Title: "the host drops what comes in by an uplink", Severity: Bad,
			Cause:  "rp_filter is 1 (strict) there, and the way back to the outside is by another link (RFC 3704).",
			Loss:   "Published ports aren't reached by that link; no rule and no counter shows it.",
			Remedy: "The command makes it loose (2); or give the link a policy rule with a route of its own.",
			look:   lookRPFilter,
		},
		{
			Code: "FW025", Name: "route_localnet", Title: "neighbours can reach 127.0.0.1 by an uplink", Severity: Warning,
			Cause:  "route_localnet is 1 on an uplink or on all links: kube-proxy sets it, and guides for port forwarding say so.",
			Loss:   "A machine in the same LAN can send to services that listen on 127.0.0.1 only (CVE-2020-8558), while no rule drops it. Ports that fairway publishes there are guarded by its rules.",
			Remedy: "The command sets it to 0, unless something on the host needs it.",
			look:   lookLocalnet,
		},
		{
			Code: "FW026", Name: "forwarding", Title: "a link doesn't forward although the host does", Severity: Bad,
			Cause:  "net.ipv4.conf.LINK.forwarding is 0: systemd-networkd (IPv4Forwarding=no) and hardening scripts set it for each link.",
			Loss:   "What comes in by that link isn't forwarded: published ports aren't reached by an uplink, containers don't get out of a bridge.",
			Remedy: "The command turns it on until the next boot.",
			look:   lookLinkForwarding,
		},
	}
}

// needs reports whether a network forwards in a family.
func (p *Patient) needs(v6 bool) bool {
	return slices.ContainsFunc(p.bridged(), func(n nat.Network) bool {
		return !n.Internal && slices.ContainsFunc(n.Families, func(f nat.Family) bool { return f.Is6() == v6 && f.Mode != nat.IsolatedGateway })
	})
}

func lookForward4(_ context.Context, p *Patient) ([]Finding, error) {
	const path = "net/ipv4/ip_forward"
	if sysctl(path) != "0" || !p.needs(false) {
		return nil, nil
	}
	return []Finding{auto(set(path, "1"), "net.ipv4.ip_forward is 0: no container reaches the outside")}, nil
}

func lookForward6(_ context.Context, p *Patient) ([]Finding, error) {
	const path = "net/ipv6/conf/all/forwarding"
	if sysctl(path) != "0" || !p.needs(true) {
		return nil, nil
	}
	return []Finding{auto(set(path, "1"), "net.ipv6.conf.all.forwarding is 0: no container reaches the outside by IPv6")}, nil
}

func lookMTU(_ context.Context, p *Patient) (out []Finding, err error) {
	var way netlink.Link
	if up := p.Host.uplinks(unix.AF_INET); len(up) > 0 {
		way = p.Host.link(up[0])
	} else if up = p.Host.uplinks(unix.AF_INET6); len(up) > 0 {
		way = p.Host.link(up[0])
	}
	for _, n := range p.networks() {
		on := way
		if parent := p.Want.Parents[n.ID]; parent != "" {
			on = p.Host.link(parent)
		} else if n.Internal {
			continue
		}
		if on == nil || n.MTU <= on.Attrs().MTU || on.Attrs().Name == n.Link && p.Want.Parents[n.ID] == "" {
			continue
		}
		out = append(out, by(nil, "network %s: %d bytes here, %d on %s, its way out", title(n), n.MTU, on.Attrs().MTU, on.Attrs().Name))
	}
	return append(out, p.lookUnderlay()...), nil
}

// lookUnderlay is the same for the way to other hosts, with what VXLAN adds: 50 bytes
// over IPv4, 70 over IPv6 (RFC 7348 section 5).
func (p *Patient) lookUnderlay() (out []Finding) {
	for _, obj := range p.Want.Links {
		v, ok := obj.(link.VXLAN)
		index, has := p.Host.Addresses[v.Local]
		if !ok || !has {
			continue
		}
		needs := v.MTU + 50
		if v.Local.Is6() {
			needs = v.MTU + 70
		}
		if on := p.Host.link(p.Host.nameOf(index)); on != nil && on.Attrs().MTU < needs {
			out = append(out, by(nil, "%s: %d bytes here need %d on the way to other hosts, %d on %s", v.Name, v.MTU, needs, on.Attrs().MTU, on.Attrs().Name))
		}
	}
	return out
}

func lookAcceptRA(_ context.Context, p *Patient) (out []Finding, err error) {
	if sysctl("net/ipv6/conf/all/forwarding") != "1" {
		return nil, nil
	}
	for _, r := range p.Host.defaults(unix.AF_INET6) {
		name := p.Host.nameOf(r.LinkIndex)
		path := "net/ipv6/conf/" + name + "/accept_ra"
		if r.Protocol == unix.RTPROT_RA && sysctl(path) == "1" {
			out = append(out, auto(set(path, "2"), "the default route by %s came by a router advertisement, and no other will be taken: accept_ra is 1 and the host forwards", name))
		}
	}
	return out, nil
}

// outsider is nobody's address (RFC 5737, TEST-NET-2): where a packet from the
// outside may come from.
var outsider = netip.MustParseAddr("198.51.100.1") //nolint:gochecknoglobals // a constant

// lookRPFilter asks the kernel what it does with a packet from the outside to
// each address of an uplink. It answers EXDEV where rp_filter drops it, and from
// Linux 6.14 on EINVAL.
func lookRPFilter(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, name := range p.Host.uplinks(unix.AF_INET) {
		link := p.Host.link(name)
		strict := max(number("net/ipv4/conf/all/rp_filter"), number("net/ipv4/conf/"+name+"/rp_filter")) == 1
		if link == nil || !strict {
			continue
		}
		for ip, index := range p.Host.Addresses {
			if index != link.Attrs().Index || !ip.Is4() {
				continue
			}
			_, err := netlink.RouteGetWithOptions(ip.AsSlice(), &netlink.RouteGetOptions{Iif: name, SrcAddr: outsider.AsSlice()})
			if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) {
				out = append(out, auto(set("net/ipv4/conf/"+name+"/rp_filter", "2"),
					"what comes from the outside by %s is dropped: rp_filter is strict, and the way back is by another link", name))
				break
			}
		}
	}
	return out, nil
}

func lookLocalnet(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, name := range append([]string{"all"}, p.Host.uplinks(unix.AF_INET)...) {
		if p.ours(name) {
			continue
		}
		path := "net/ipv4/conf/" + name + "/route_localnet"
		if sysctl(path) == "1" {
			out = append(out, auto(set(path, "0"), "net.ipv4.conf.%s.route_localnet is 1", name))
		}
	}
	return out, nil
}

// ours reports whether a link is a network's.
func (p *Patient) ours(name string) bool {
	return slices.ContainsFunc(p.networks(), func(n store.Network) bool { return n.Link == name })
}

func lookLinkForwarding(_ context.Context, p *Patient) (out []Finding, err error) {
	if sysctl("net/ipv4/ip_forward") != "1" || !p.needs(false) {
		return nil, nil
	}
	names := p.Host.uplinks(unix.AF_INET)
	for _, n := range p.bridged() {
		if !n.Internal && !slices.Contains(names, n.Link) {
			names = append(names, n.Link)
		}
	}
	for _, name := range names {
		path := "net/ipv4/conf/" + name + "/forwarding"
		if sysctl(path) == "0" {
			out = append(out, auto(set(path, "1"), "net.ipv4.conf.%s.forwarding is 0", name))
		}
	}
	return out, nil
}
