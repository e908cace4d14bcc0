package trace

import (
	"cmp"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/store"
)

// rules is one hook: what counted there is a hop each. It reports whether the
// packet goes on.
func (w *walk) rules(h Hook) bool {
	o := w.Rules.At(h, w.p)
	for i, s := range o.Steps {
		last := i == len(o.Steps)-1
		switch {
		case o.Verdict == Drop && last:
			w.hop(h.String(), "%s", s.Where)
			w.Hops[len(w.Hops)-1].Rule = s.Rule
			w.ends(Dropped, w.why(s, o.Packet))
		case s.Did == "unsure":
			w.hop(h.String(), "%s: may be stopped or changed here", s.Where)
			w.Hops[len(w.Hops)-1].Rule, w.Hops[len(w.Hops)-1].Verdict = s.Rule, Unsure
			w.Verdict, w.Reason = Unsure, "a rule asks what can't be known without the packet: "+s.Where
		case s.Did == "accept" || strings.HasPrefix(s.Did, "mark"):
			w.hop(h.String(), "%s: %s", s.Where, s.Did)
			w.Hops[len(w.Hops)-1].Rule = s.Rule
		default:
			w.hop(h.String(), "%s: %s", s.Where, s.Did)
			w.Hops[len(w.Hops)-1].Rule = s.Rule
		}
	}
	w.p = o.Packet
	return o.Verdict != Drop
}

// why says in the operator's words why a rule drops.
func (w *walk) why(s Step, p Packet) string {
	to, n, known := w.endpointAt(p.Dst, "")
	chain := s.Where[strings.LastIndexByte(s.Where, ' ')+1:]
	switch {
	case !s.Ours && s.Iptables:
		return "a rule of the host's iptables (" + s.Where + ") drops it: " + s.Rule
	case !s.Ours:
		return fmt.Sprintf("a rule of somebody's drops it: nft -a list chain %s (handle %d)", s.Where, s.Handle)
	case w.internal(p.In) != "", w.internal(p.Out) != "":
		return "network " + cmp.Or(w.internal(p.In), w.internal(p.Out)) + " is internal: it has no other link"
	case chain == "icc-off":
		return "containers of the network don't reach each other (enable_icc=false)"
	case p.DNAT && known && p.In != n.Link:
		return fmt.Sprintf("publish= doesn't let %s by %s reach it", p.Src, p.In)
	case chain == "outward", chain == "FAIRWAY-OUT":
		return "it leads to containers of somebody else's, which are kept apart"
	case chain == "raw-prerouting", chain == "to-loopback", chain == "FAIRWAY-RAW":
		return "127.0.0.0/8 is the host's own"
	case known && p.In != n.Link && p.Out == n.Link:
		return fmt.Sprintf("port %d of %s isn't published (fairway ports add %s HOST:%[1]d), and network %s lets in nothing else", p.DstPort, Called(to), Called(to), Title(n))
	}
	return "fairway's own rule: " + s.Rule
}

// internal returns what the network on a bridge is called if it is internal.
func (w *walk) internal(link string) string {
	for _, n := range w.networksOn(link) {
		if n.Internal {
			return Title(n)
		}
	}
	return ""
}

// toHost is what comes to the host's own sockets.
func (w *walk) toHost() {
	if !w.rules(Input) {
		return
	}
	if e, ok := w.carriedTo(); ok {
		w.hop("daemon", "carries it to %s (PROXIED)", Called(e))
		return
	}
	is, known := listens("", w.p)
	w.hop("host", "socket %s", where(w.p.Dst, w.p.DstPort))
	if known && !is {
		w.ends(Refused, fmt.Sprintf("nothing on the host listens on %s port %d", ProtoName(w.p.Proto), w.p.DstPort))
	}
}

// carriedTo returns the endpoint whose port the daemon itself serves.
func (w *walk) carriedTo() (store.Endpoint, bool) {
	for _, e := range w.Records.Endpoints {
		for _, b := range e.Published {
			if b.Proto == w.p.Proto && b.HostPort == w.p.DstPort && b.HostIP.IsValid() && (b.HostIP == w.p.Dst || b.HostIP.IsUnspecified() && b.HostIP.Is6() == w.p.Is6()) {
				return e, true
			}
		}
	}
	return store.Endpoint{}, false
}

// arrive is the end of the way in a container.
func (w *walk) arrive(e store.Endpoint) {
	w.hop("container "+Called(e), "%s", where(w.p.Dst, w.p.DstPort))
	if e.Sandbox == "" {
		w.ends(Dropped, "the container isn't attached")
		return
	}
	if err := Inside(e.Sandbox, func() error { return nil }); err != nil {
		w.ends(Dropped, "the container's sandbox is gone")
		return
	}
	if is, known := listens(e.Sandbox, w.p); known && !is {
		w.ends(Refused, fmt.Sprintf("nothing in the container listens on %s port %d", ProtoName(w.p.Proto), w.p.DstPort))
	}
}

// Echo returns the protocol of an echo request to an address's family.
func Echo(v6 bool) uint8 {
	if v6 {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}
