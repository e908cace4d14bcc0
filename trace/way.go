package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/store"
)

// What becomes of a packet.
const (
	OK      = "ok"
	Dropped = "DROP"
	Refused = "REFUSED" // it arrives, and nobody takes it
	Unsure  = "?"
)

// A Hop is one place on the way.
type Hop struct {
	Where   string `json:"where"`
	What    string `json:"what"`
	Verdict string `json:"verdict"` // OK, Dropped, Refused or Unsure
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// A Way is what a trace found.
type Way struct {
	Packet  Packet
	Hops    []Hop
	Verdict string // of the last hop, or Unsure if one before was
	Reason  string
}

// A walk is a packet on its way.
type walk struct {
	*World
	Way
	p Packet
}

func (w *walk) hop(where, format string, args ...any) {
	w.Hops = append(w.Hops, Hop{Where: where, What: fmt.Sprintf(format, args...), Verdict: OK})
}

// ends says what becomes of the packet at the last hop.
func (w *walk) ends(verdict, reason string) {
	h := &w.Hops[len(w.Hops)-1]
	h.Verdict, h.Reason = verdict, reason
	w.Verdict, w.Reason = verdict, reason
}

// FromContainer traces a packet that a container sends. Its source address is
// the one that the sandbox chooses.
func (w *World) FromContainer(e store.Endpoint, p Packet) Way {
	k := &walk{World: w, p: p, Way: Way{Packet: p, Verdict: OK}}
	k.container(e)
	return k.Way
}

// FromHost traces a packet that the host itself sends.
func (w *World) FromHost(p Packet) Way {
	k := &walk{World: w, p: p, Way: Way{Packet: p, Verdict: OK}}
	k.host()
	return k.Way
}

// FromOutside traces a packet that comes in by a link of the host, p.In.
func (w *World) FromOutside(p Packet) Way {
	k := &walk{World: w, p: p, Way: Way{Packet: p, Verdict: OK}}
	k.hop("outside", "%s comes in by %s", p, p.In)
	if l := w.link(p.In); l == nil {
		k.ends(Dropped, "the host has no link "+p.In)
		return k.Way
	}
	k.enter()
	return k.Way
}

// container is the way out of a sandbox.
func (w *walk) container(e store.Endpoint) {
	in, err := wayOut(e.Sandbox, w.p.Dst)
	at := "container " + Called(e)
	if err != nil {
		w.hop(at, "to %s", w.p.Dst)
		n := w.Records.Networks[e.Network]
		switch {
		case errors.Is(err, unix.ENETUNREACH) && n.Internal:
			w.ends(Dropped, "no route: network "+Title(n)+" is internal, its containers have no way out")
		case errors.Is(err, unix.ENETUNREACH):
			w.ends(Dropped, "no route in the container: it has no default gateway for that (gateway=none, or another network's)")
		default:
			w.ends(Dropped, err.Error())
		}
		return
	}
	w.p.Src = in.source
	if own, _, ok := w.endpointAt(in.source, ""); ok && own.Sandbox == e.Sandbox {
		e = own // the route leads by another network of the container
	}
	w.Packet.Src = in.source
	n := w.Records.Networks[e.Network]
	way := "dev " + in.link
	if in.gateway.IsValid() {
		way = "via " + in.gateway.String() + " " + way
	}
	w.hop(at, "%s, route %s", in.source, way)
	switch {
	case in.local:
		w.arrive(e)
		return
	case !in.up:
		w.ends(Dropped, "the container's link "+in.link+" is down")
		return
	}
	if e.HostLink == "" {
		w.lan(e, n, in)
		return
	}
	port := w.link(e.HostLink)
	w.hop("host", "%s, port of %s (network %s)", e.HostLink, n.Link, Title(n))
	switch {
	case port == nil:
		w.ends(Dropped, "the link is missing: fairway repair")
		return
	case port.Attrs().Flags&unix.IFF_UP == 0 || w.link(n.Link) == nil || w.link(n.Link).Attrs().Flags&unix.IFF_UP == 0:
		w.ends(Dropped, "the link or its bridge is down: fairway repair")
		return
	}
	w.p.In = n.Link
	next := w.p.Dst
	if in.gateway.IsValid() {
		next = in.gateway
	}
	if _, ours := w.local[next]; ours {
		w.enter()
		return
	}
	w.bridged(e, n, next)
}

// bridged is the way from one port of a bridge to another.
func (w *walk) bridged(from store.Endpoint, n store.Network, next netip.Addr) {
	to, _, ok := w.endpointAt(next, n.Link)
	if !ok {
		w.hop("bridge "+n.Link, "to %s", next)
		if n.Adopted {
			w.ends(Unsure, "no container of fairway's has that address: who else is on the bridge isn't known")
			return
		}
		w.ends(Dropped, "nobody on the network has that address")
		return
	}
	w.hop("bridge "+n.Link, "%s to %s", from.HostLink, to.HostLink)
	if w.isolated(from.HostLink) && w.isolated(to.HostLink) {
		w.ends(Dropped, "containers of network "+Title(n)+" don't reach each other (enable_icc=false)")
		return
	}
	if w.filtersBridges() {
		w.p.Out = n.Link
		for _, h := range []Hook{Prerouting, Forward, Postrouting} {
			if !w.rules(h) {
				return
			}
		}
	}
	w.arrive(to)
}

// filtersBridges reports whether frames of bridges see the rules of the host
// (br_netfilter).
func (w *walk) filtersBridges() bool {
	if w.p.Is6() {
		return sysctl("net/bridge/bridge-nf-call-ip6tables") == "1"
	}
	return sysctl("net/bridge/bridge-nf-call-iptables") == "1"
}

func (w *walk) isolated(port string) bool {
	l := w.link(port)
	if l == nil {
		return false
	}
	info, err := netlink.LinkGetProtinfo(l)
	return err == nil && info.Isolated
}

// lan is the way out of a link on a parent: macvlan.
func (w *walk) lan(e store.Endpoint, n store.Network, in inner) {
	w.hop("parent "+n.Link, "mode %s, network %s", n.Mode, Title(n))
	next := w.p.Dst
	if in.gateway.IsValid() {
		next = in.gateway
	}
	parent := w.link(n.Link)
	switch {
	case parent == nil:
		w.ends(Dropped, "the network waits for link "+n.Link)
		return
	case parent.Attrs().Flags&unix.IFF_UP == 0:
		w.ends(Dropped, "link "+n.Link+" is down")
		return
	}
	if index, ours := w.local[next]; ours && w.nameOf(index) == n.Link {
		w.ends(Dropped, "a container on a parent doesn't reach its own host by it")
		return
	}
	if to, _, ok := w.endpointAt(next, n.Link); ok && to.ID != e.ID {
		w.arrive(to)
		return
	}
	w.hop("LAN of "+n.Link, "to %s", next)
	w.ends(OK, "it leaves this host; what the LAN does isn't known")
}

// host is the way of what the host itself sends.
func (w *walk) host() {
	r, err := w.route(w.p)
	if err != nil {
		w.hop("host", "to %s", w.p.Dst)
		w.ends(Dropped, "no route: "+err.Error())
		return
	}
	if !w.p.Src.IsValid() {
		w.p.Src = r.source
		w.Packet.Src = r.source
	}
	w.p.Out = r.link
	if r.local {
		w.p.Out = "lo"
	}
	w.hop("host", "%s", w.p)
	before := w.p.Dst
	if !w.rules(Output) {
		return
	}
	if w.p.Dst != before { // the kernel looks again: ip_route_me_harder
		if r, err = w.route(Packet{Dst: w.p.Dst, Mark: w.p.Mark}); err != nil {
			w.hop("route", "to %s", w.p.Dst)
			w.ends(Dropped, "no route: "+err.Error())
			return
		}
		w.p.Out = r.link
	}
	if r.local {
		if w.p.Out = "lo"; !w.rules(Postrouting) {
			return
		}
		w.p.In, w.p.Out = "lo", ""
		w.toHost()
		return
	}
	w.leave(r)
}

// enter is the way of what comes in by w.p.In.
func (w *walk) enter() {
	w.p.OrigDst, w.p.OrigPort = w.p.Dst, w.p.DstPort
	if !w.rules(Prerouting) {
		return
	}
	r, err := w.route(w.p)
	if err != nil {
		w.hop("route", "to %s", w.p.Dst)
		w.ends(Dropped, w.noRoute(err))
		return
	}
	if r.local {
		w.hop("route", "%s is the host's own", w.p.Dst)
		w.toHost()
		return
	}
	w.p.Out = r.link
	w.hop("route", "to %s by %s", w.p.Dst, r.link)
	if conf := "net/ipv4/conf/" + w.p.In + "/forwarding"; !w.p.Is6() && sysctl(conf) == "0" {
		w.ends(Dropped, "the host doesn't forward what comes in by "+w.p.In+": "+strings.ReplaceAll(conf, "/", ".")+" is 0")
		return
	}
	if w.p.Is6() && sysctl("net/ipv6/conf/all/forwarding") == "0" {
		w.ends(Dropped, "the host doesn't forward IPv6: net.ipv6.conf.all.forwarding is 0")
		return
	}
	if w.rules(Forward) {
		w.leave(r)
	}
}

// noRoute says why the kernel has none.
func (w *walk) noRoute(err error) string {
	to, n, known := w.endpointAt(w.p.Dst, "")
	switch {
	case errors.Is(err, unix.EHOSTUNREACH) && known:
		if w.p.In == n.Link {
			return err.Error()
		}
		return fmt.Sprintf("unreachable: nobody outside of network %s is routed to %s; publish the port (fairway ports add %s HOST:%d)", Title(n), w.p.Dst, Called(to), w.p.DstPort)
	case errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL):
		return "the kernel doesn't take it: rp_filter is strict on " + w.p.In + " and the way back is another one, or the address is none of a neighbour"
	}
	return "no route: " + err.Error()
}

// leave is the way out of the host by w.p.Out.
func (w *walk) leave(r route) {
	if !w.rules(Postrouting) {
		return
	}
	if len(w.networksOn(r.link)) == 0 {
		to := "to the LAN"
		if r.gateway.IsValid() {
			to = "via " + r.gateway.String()
		}
		w.hop("link "+r.link, "%s", to)
		if l := w.link(r.link); l == nil || l.Attrs().Flags&unix.IFF_UP == 0 {
			w.ends(Dropped, "the link is down")
		}
		return
	}
	if to, _, ok := w.endpointAt(w.p.Dst, r.link); ok {
		w.arrive(to)
		return
	}
	w.hop("bridge "+r.link, "to %s", w.p.Dst)
	w.ends(Unsure, "no container of fairway's has that address")
}
