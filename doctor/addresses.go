package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"fairway/store"
)

// addressChecks are of subnets and addresses.
func addressChecks() []Check {
	return []Check{
		{
			Code: "FW016", Name: "leftovers", Title: "links of another fairway are there", Severity: Warning,
			Cause:  "They carry the mark of another state directory: it was moved away, or deleted, while networks were there. No daemon touches another's links.",
			Loss:   "Their subnets and names are taken, and traffic may go to links that lead nowhere.",
			Remedy: "Put the state directory back if there is one; else remove the links, as the commands do.",
			look:   lookLeftovers,
		},
		{
			Code: "FW040", Name: "overlap", Title: "a route of the host leads a network's packets elsewhere", Severity: Bad,
			Cause:  "A route in the main table, by another link, has a network's subnet or a part of it as destination: a VPN came up, or another bridge has the same subnet.",
			Loss:   "The host, and everybody by way of it, doesn't reach the containers there.",
			Remedy: "Remove the route, or make the network again with another --subnet.",
			look:   lookOverlap,
		},
		{
			Code: "FW045", Name: "duplicate MAC", Title: "two containers of a network have the same MAC address", Severity: Bad,
			Cause:  "--mac-address was given twice, or a compose file was copied.",
			Loss:   "One of them gets both's packets, now this one and then that one.",
			Remedy: "Make one of them again with another --mac-address, or with none.",
			look:   lookMACs,
		},
		{
			Code: "FW047", Name: "inside", Title: "a container's own link isn't as it was made", Severity: Warning,
			Cause:  "Something in the container (it has NET_ADMIN), or on the host by nsenter, took its link down or its address away.",
			Loss:   "The container doesn't reach anybody by it.",
			Remedy: "The command sets the link up again. An address that is gone: restart the container.",
			look:   lookInside,
		},
	}
}

func lookLeftovers(_ context.Context, p *Patient) (out []Finding, err error) {
	if p.Instance == "" {
		return nil, skip("the store can't be read")
	}
	var names, fix []string
	for _, l := range p.Host.Links {
		a := l.Attrs()
		rest, ok := strings.CutPrefix(a.Alias, "fairway:")
		if instance, _, more := strings.Cut(rest, ":"); ok && more && instance != p.Instance {
			names, fix = append(names, a.Name), append(fix, "ip link del "+quote(a.Name))
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return []Finding{by(fix, "%d links of another fairway: %s", len(names), strings.Join(names[:min(len(names), 5)], " "))}, nil
}

func lookOverlap(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.bridged() {
		for _, f := range n.Families {
			for _, r := range p.Host.Routes {
				dst, ok := prefixOf(r.Dst)
				if !ok || r.Table != unix.RT_TABLE_MAIN || r.Protocol == rulesOurs || r.Type != unix.RTN_UNICAST ||
					dst.Bits() < f.Subnet.Bits() || !f.Subnet.Contains(dst.Addr()) || p.Host.nameOf(r.LinkIndex) == n.Link {
					continue
				}
				by := by([]string{fmt.Sprintf("ip %s route del %s dev %s", familyFlag(r.Family), dst, quote(p.Host.nameOf(r.LinkIndex)))},
					"network %s has %s, and the host's route to %s leads to %s", title(p.Records.Networks[n.ID]), f.Subnet, dst, p.Host.nameOf(r.LinkIndex))
				out = append(out, by)
			}
		}
	}
	return out, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones), ok
}

func lookMACs(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.networks() {
		if n.Mode == "ipvlan" {
			continue // all have the parent's
		}
		has := map[string]store.Endpoint{}
		for _, e := range p.endpoints(n.ID) {
			if other, ok := has[e.MAC]; ok && e.MAC != "" {
				out = append(out, by(nil, "network %s: %s and %s both have %s", title(n), called(other), called(e), e.MAC))
			}
			has[e.MAC] = e
		}
	}
	return out, nil
}

// lookInside looks into each sandbox. One that is gone is for FW062.
func lookInside(ctx context.Context, p *Patient) (out []Finding, err error) {
	all := p.endpoints("")
	found := make([]*Finding, len(all))
	var looks errgroup.Group
	looks.SetLimit(atOnce)
	for i, e := range all {
		if e.Sandbox == "" || e.MAC == "" || p.Records.Networks[e.Network].Mode == "ipvlan" || ctx.Err() != nil {
			continue // its link has no MAC address of its own to find it by
		}
		looks.Go(func() error {
			if what, fix := inside(e); what != "" {
				f := auto(fix, "%s: %s", called(e), what)
				found[i] = &f
			}
			return nil
		})
	}
	_ = looks.Wait()
	for _, f := range found {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out, ctx.Err()
}

func inside(e store.Endpoint) (what, fix string) {
	ns, err := netns.GetFromPath(e.Sandbox)
	if err != nil {
		return "", ""
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return "", ""
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return "", ""
	}
	at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().HardwareAddr.String() == e.MAC })
	if at < 0 {
		return "", "" // Docker hasn't moved it yet, or FW002 says that it is missing
	}
	a := links[at].Attrs()
	if a.Flags&net.FlagUp == 0 {
		return "its link " + a.Name + " is down", "nsenter --net=" + quote(e.Sandbox) + " ip link set " + quote(a.Name) + " up"
	}
	addresses, err := h.AddrList(links[at], netlink.FAMILY_V4)
	if err != nil || !e.IPv4.IsValid() || slices.ContainsFunc(addresses, func(x netlink.Addr) bool { return x.IP.String() == e.IPv4.Addr().String() }) {
		return "", ""
	}
	return "its link " + a.Name + " has lost the address " + e.IPv4.String(),
		"nsenter --net=" + quote(e.Sandbox) + " ip address add " + e.IPv4.String() + " dev " + quote(a.Name)
}
