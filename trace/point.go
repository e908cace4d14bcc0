package trace

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/store"
)

// A Point is an end of a way.
type Point struct {
	Text     string          // as given
	Endpoint *store.Endpoint // of a container; nil for others
	Host     bool
	Outside  bool // anybody beyond an uplink
	Addr     netip.Addr
	Port     uint16 // 0: none is given
	Proto    uint8  // 0: none is given
}

// Outsiders are addresses that nobody has, for a packet from anywhere: TEST-NET-2
// of RFC 5737, and the documentation prefix of RFC 3849.
func outsider(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("2001:db8:ffff:ffff::1")
	}
	return netip.MustParseAddr("198.51.100.1")
}

// Find reads an end of a way: "host", "outside", an address, or a container by
// its name, its ID or the beginning of one, with "@NETWORK" behind it if it is
// on several. To may have :PORT and /PROTO, tcp if that isn't given.
func (w *World) Find(text string, to bool) (Point, error) {
	p := Point{Text: text}
	name := text
	if to {
		var err error
		if name, err = p.cutPort(text); err != nil {
			return p, err
		}
	}
	switch name {
	case "host", "localhost":
		p.Host = true
		return p, nil
	case "outside":
		p.Outside = true
		return p, nil
	case "":
		return p, errors.New("\"\": want a container, an address, host or outside")
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Zone() == "" {
		p.Addr = a.Unmap()
		if e, _, ok := w.endpointAt(p.Addr, ""); ok {
			p.Endpoint = &e
		}
		return p, nil
	}
	e, err := w.container(name)
	if err != nil {
		return p, err
	}
	p.Endpoint = &e
	return p, nil
}

// cutPort takes :PORT and /PROTO from the end.
func (p *Point) cutPort(text string) (name string, err error) {
	name, proto, ok := strings.Cut(text, "/")
	if ok {
		p.Proto = map[string]uint8{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP, "icmp": unix.IPPROTO_ICMP}[proto]
		if p.Proto == 0 {
			return "", fmt.Errorf("%q: protocol %q: want tcp, udp, sctp or icmp", text, proto)
		}
	}
	bracketed := strings.HasPrefix(name, "[")
	if _, err := netip.ParseAddr(name); err == nil {
		return name, nil // an IPv6 address without a port
	}
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return strings.Trim(name, "[]"), nil
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q: port %q: want a number from 1 to 65535", text, name[i+1:])
	}
	p.Port = uint16(n)
	name = name[:i]
	if bracketed {
		name = strings.Trim(name, "[]")
	}
	return name, nil
}

// container returns the endpoint of a container.
func (w *World) container(text string) (store.Endpoint, error) {
	name, network, _ := strings.Cut(text, "@")
	var found []store.Endpoint
	for _, e := range w.Records.Endpoints {
		n := w.Records.Networks[e.Network]
		if network != "" && n.Name != network && !strings.HasPrefix(n.ID, network) {
			continue
		}
		switch {
		case e.Container == name, e.ContainerID == name, e.ID == name:
			found = append(found, e)
		case len(name) >= 4 && (strings.HasPrefix(e.ContainerID, name) || strings.HasPrefix(e.ID, name)):
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return store.Endpoint{}, fmt.Errorf("container %q: is on no network of fairway's", text)
	}
	slices.SortFunc(found, func(a, b store.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range found[1:] {
		if e.Sandbox != found[0].Sandbox {
			return store.Endpoint{}, fmt.Errorf("container %q: is the beginning of several", text)
		}
	}
	return found[0], nil
}

// Trace works out the way from one point to another, in a family; in is the link
// that a packet from outside comes in by, "" for that of the default route.
func (w *World) Trace(from, to Point, v6 bool, in string) (Way, error) {
	dst, err := w.target(from, to, v6)
	if err != nil {
		return Way{}, err
	}
	p := Packet{Dst: dst, DstPort: to.Port, Proto: to.Proto, SrcPort: 40000}
	switch {
	case p.Proto == 0 && p.DstPort != 0:
		p.Proto = unix.IPPROTO_TCP
	case p.Proto == 0 || p.Proto == unix.IPPROTO_ICMP:
		p.Proto = Echo(dst.Is6())
	}
	if p.Proto == Echo(dst.Is6()) {
		p.SrcPort, p.DstPort = 0, 0
	}
	p.OrigDst, p.OrigPort = p.Dst, p.DstPort
	switch {
	case from.Endpoint != nil:
		if from.Endpoint.Sandbox == "" {
			return Way{}, fmt.Errorf("container %s: isn't attached", Called(*from.Endpoint))
		}
		return w.FromContainer(*from.Endpoint, p), nil
	case from.Host:
		return w.FromHost(p), nil
	}
	p.Src = from.Addr
	if !p.Src.IsValid() {
		p.Src = outsider(dst.Is6())
	}
	if p.Src.Is6() != dst.Is6() {
		return Way{}, fmt.Errorf("%s and %s: not of one family", p.Src, dst)
	}
	if p.In = in; in == "" {
		r, err := getRoute(p.Src, &netlink.RouteGetOptions{}, w.nameOf)
		if err != nil {
			return Way{}, fmt.Errorf("%s: no route to it: say by which link it comes (--in)", p.Src)
		}
		p.In = r.link
	}
	return w.FromOutside(p), nil
}

// target returns the address that a packet to a point has.
func (w *World) target(from, to Point, v6 bool) (netip.Addr, error) {
	switch {
	case to.Addr.IsValid():
		return to.Addr, nil
	case to.Outside:
		return outsider(v6), nil
	case to.Endpoint != nil:
		e := w.sharedWith(from, *to.Endpoint)
		ip := e.IPv4
		if v6 || !ip.IsValid() {
			ip = e.IPv6
		}
		if !ip.IsValid() {
			return netip.Addr{}, fmt.Errorf("container %s: has no address of that family", Called(e))
		}
		return ip.Addr(), nil
	}
	return w.hostAddress(from, v6)
}

// sharedWith returns that of a container's endpoints which is on a network of
// from's, else the one given.
func (w *World) sharedWith(from Point, e store.Endpoint) store.Endpoint {
	if from.Endpoint == nil || e.Sandbox == "" {
		return e
	}
	on := map[string]bool{}
	for _, o := range w.Records.Endpoints {
		if o.Sandbox == from.Endpoint.Sandbox {
			on[o.Network] = true
		}
	}
	for _, o := range w.Records.Endpoints {
		if o.Sandbox == e.Sandbox && on[o.Network] && !on[e.Network] {
			return o
		}
	}
	return e
}

// hostAddress returns the address that the host has for from: the gateway's for
// a container, else that of the uplink.
func (w *World) hostAddress(from Point, v6 bool) (netip.Addr, error) {
	if from.Host {
		if v6 {
			return netip.IPv6Loopback(), nil
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	if from.Endpoint != nil {
		for _, s := range w.Records.Networks[from.Endpoint.Network].Subnets {
			if s.Is6() == v6 && s.Gateway.IsValid() {
				return s.Gateway, nil
			}
		}
	}
	r, err := getRoute(outsider(v6), &netlink.RouteGetOptions{}, w.nameOf)
	if err != nil || !r.source.IsValid() {
		return netip.Addr{}, errors.New("host: has no address by its default route: name one")
	}
	return r.source, nil
}
