package inspect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// LookAtLink describes a link of the host; nil if there is none.
func LookAtLink(name string) (*Link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, fmt.Errorf("inspect: link %s: %w", name, err)
	}
	all, err := h.AddrList(l, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("inspect: addresses of %s: %w", name, err)
	}
	out := describe(l, all, func(index int) string {
		on, err := h.LinkByIndex(index)
		if err != nil {
			return fmt.Sprint(index)
		}
		return on.Attrs().Name
	})
	return &out, nil
}

// describe returns what is known of a link. Name says what the link of an index is
// called in the same namespace.
func describe(l netlink.Link, addresses []netlink.Addr, name func(int) string) Link {
	a := l.Attrs()
	out := Link{
		Name: a.Name, Kind: l.Type(), Up: a.Flags&net.FlagUp != 0, State: a.OperState.String(), MTU: a.MTU, MAC: a.HardwareAddr.String(),
		Alias: a.Alias, Addresses: []netip.Prefix{},
	}
	if a.MasterIndex != 0 {
		out.Master = name(a.MasterIndex)
	}
	if a.ParentIndex != 0 && a.NetNsID < 0 { // else it is in another namespace, where the index counts
		out.Parent = name(a.ParentIndex)
	}
	if s := a.Statistics; s != nil {
		out.Received = Traffic{s.RxBytes, s.RxPackets, s.RxDropped}
		out.Sent = Traffic{s.TxBytes, s.TxPackets, s.TxDropped}
	}
	for _, address := range addresses {
		if address.LinkIndex != a.Index {
			continue
		}
		if ip, ok := netip.AddrFromSlice(address.IP); ok {
			bits, _ := address.Mask.Size()
			out.Addresses = append(out.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return out
}

// LookInside describes a container's network namespace.
func LookInside(path string) *Inside {
	in := &Inside{Sandbox: path, Links: []Link{}, Routes: []string{}}
	if err := in.look(); err != nil {
		in.Trouble = err.Error()
	}
	return in
}

func (in *Inside) look() error {
	ns, err := netns.GetFromPath(in.Sandbox)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	name := func(index int) string { return names[index] }
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback == 0 {
			in.Links = append(in.Links, describe(l, addresses, name))
		}
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	for _, r := range routes {
		in.Routes = append(in.Routes, routeText(r, name))
	}
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return err
}

// routeText writes a route as ip-route(8) does.
func routeText(r netlink.Route, name func(int) string) string {
	words := []string{"default"}
	if r.Dst != nil && !strings.HasSuffix(r.Dst.String(), "/0") {
		words[0] = r.Dst.String()
	} else if r.Family == unix.AF_INET6 {
		words[0] = "default (IPv6)"
	}
	if r.Gw != nil {
		words = append(words, "via", r.Gw.String())
	}
	if r.LinkIndex != 0 {
		words = append(words, "dev", name(r.LinkIndex))
	}
	return strings.Join(words, " ")
}

// LookAtAddress adds to an address what the host has seen of it and by which
// route it sends there.
func LookAtAddress(a *Address) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	defer h.Close()
	name := func(index int) string {
		l, err := h.LinkByIndex(index)
		if err != nil {
			return fmt.Sprint(index)
		}
		return l.Attrs().Name
	}
	family := netlink.FAMILY_V4
	if a.Address.Is6() {
		family = netlink.FAMILY_V6
	}
	all, err := h.NeighList(0, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("inspect: list neighbours: %w", err)
	}
	for _, n := range all {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a.Address {
			a.Neighbours = append(a.Neighbours, Neighbour{name(n.LinkIndex), n.HardwareAddr.String(), stateText(n.State)})
		}
	}
	slices.SortFunc(a.Neighbours, func(x, y Neighbour) int { return strings.Compare(x.Link, y.Link) })
	routes, err := h.RouteGet(a.Address.AsSlice())
	if err == nil && len(routes) > 0 {
		r := routes[0]
		if r.Type == unix.RTN_LOCAL {
			a.Is = append(a.Is, "an address of this host")
		}
		r.Dst = nil
		a.Route = strings.TrimPrefix(strings.TrimPrefix(routeText(r, name), "default (IPv6) "), "default ")
	}
	return nil
}

// stateText names the state of a neighbour, NUD_* in linux/neighbour.h.
func stateText(state int) string {
	for bit, word := range map[int]string{
		unix.NUD_PERMANENT: "permanent", unix.NUD_NOARP: "noarp", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale",
		unix.NUD_DELAY: "delay", unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_INCOMPLETE: "incomplete",
	} {
		if state&bit != 0 {
			return word
		}
	}
	return "none"
}
