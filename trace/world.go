package trace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/store"
)

// A World is this host as packets find it. It is read once.
type World struct {
	Records store.Records
	Rules   *Rules
	links   []netlink.Link
	local   map[netip.Addr]int // the host's addresses → index of the link
	casts   map[netip.Addr]bool
}

// Look reads the links, addresses and rules of the network namespace that the
// calling thread is in. Records may be empty: then containers aren't known.
func Look(ctx context.Context, records store.Records) (*World, error) {
	w := &World{Records: records, local: map[netip.Addr]int{}, casts: map[netip.Addr]bool{}}
	var err error
	if w.links, err = netlink.LinkList(); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("trace: list links: %w", err)
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("trace: list addresses: %w", err)
	}
	for _, a := range all {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			w.local[ip.Unmap()] = a.LinkIndex
		}
		if ip, ok := netip.AddrFromSlice(a.Broadcast); ok {
			w.casts[ip.Unmap()] = true
		}
	}
	w.Rules, err = readRules(ctx, w)
	return w, err
}

// kind implements addresses.
func (w *World) kind(a netip.Addr) byte {
	_, ours := w.local[a]
	switch {
	case ours || a.IsLoopback():
		return unix.RTN_LOCAL
	case a.IsMulticast():
		return unix.RTN_MULTICAST
	case w.casts[a] || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return unix.RTN_BROADCAST
	}
	return unix.RTN_UNICAST
}

// index implements addresses.
func (w *World) index(link string) uint32 {
	if l := w.link(link); l != nil {
		return uint32(l.Attrs().Index)
	}
	return 0
}

// toward implements addresses.
func (w *World) toward(a netip.Addr, mark uint32) string {
	r, err := getRoute(a, &netlink.RouteGetOptions{Mark: mark}, w.nameOf)
	if err != nil || r.local {
		return ""
	}
	return r.link
}

func (w *World) link(name string) netlink.Link {
	at := slices.IndexFunc(w.links, func(l netlink.Link) bool { return l.Attrs().Name == name })
	if at < 0 {
		return nil
	}
	return w.links[at]
}

func (w *World) nameOf(index int) string {
	at := slices.IndexFunc(w.links, func(l netlink.Link) bool { return l.Attrs().Index == index })
	if at < 0 {
		return fmt.Sprint(index)
	}
	return w.links[at].Attrs().Name
}

// A route is where the kernel sends a packet.
type route struct {
	local   bool
	link    string
	gateway netip.Addr
	source  netip.Addr // that it would choose
}

// route asks the kernel where it sends a packet that came in by a link, "" for
// the host's own.
func (w *World) route(p Packet) (route, error) {
	o := &netlink.RouteGetOptions{Mark: p.Mark, Iif: p.In}
	if p.Src.IsValid() {
		o.SrcAddr = p.Src.AsSlice()
	}
	return getRoute(p.Dst, o, w.nameOf)
}

func getRoute(dst netip.Addr, o *netlink.RouteGetOptions, nameOf func(int) string) (route, error) {
	found, err := netlink.RouteGetWithOptions(dst.AsSlice(), o)
	if err != nil {
		return route{}, err
	}
	if len(found) == 0 {
		return route{}, unix.ENETUNREACH
	}
	r := found[0]
	switch r.Type {
	case unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_BLACKHOLE:
		return route{}, unix.EHOSTUNREACH
	}
	out := route{local: r.Type == unix.RTN_LOCAL, link: nameOf(r.LinkIndex)}
	out.gateway, _ = addrFrom(r.Gw)
	out.source, _ = addrFrom(r.Src)
	return out, nil
}

func addrFrom(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// endpointAt returns the endpoint that has an address, on a network of a link;
// "" for any.
func (w *World) endpointAt(a netip.Addr, link string) (store.Endpoint, store.Network, bool) {
	for _, e := range w.Records.Endpoints {
		n := w.Records.Networks[e.Network]
		if (link == "" || n.Link == link) && (e.IPv4.IsValid() && e.IPv4.Addr() == a || e.IPv6.IsValid() && e.IPv6.Addr() == a) {
			return e, n, true
		}
	}
	return store.Endpoint{}, store.Network{}, false
}

// networksOn returns the networks on a bridge.
func (w *World) networksOn(link string) (out []store.Network) {
	for _, n := range w.Records.Networks {
		if n.Link == link {
			out = append(out, n)
		}
	}
	return out
}

func sysctl(path string) string {
	text, _ := os.ReadFile("/proc/sys/" + path)
	return strings.TrimSpace(string(text))
}

// Title is how a network is called.
func Title(n store.Network) string {
	if n.Name != "" {
		return n.Name
	}
	return short(n.ID)
}

// Called is how an endpoint is called.
func Called(e store.Endpoint) string {
	if e.Container != "" {
		return e.Container
	}
	return short(e.ID)
}

func short(id string) string { return id[:min(len(id), 12)] }
