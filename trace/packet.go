package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// A Packet is the first one of a connection.
type Packet struct {
	Proto            uint8 // IP protocol number
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16 // 0 for ICMP
	In, Out          string // links that it came in and leaves by; "" for the host itself
	Mark             uint32

	// What connection tracking holds of it.
	DNAT, SNAT bool
	OrigDst    netip.Addr
	OrigPort   uint16
}

// Is6 reports whether the packet is one of IPv6.
func (p Packet) Is6() bool { return p.Dst.Is6() }

func (p Packet) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", ProtoName(p.Proto), p.Src)
	fmt.Fprintf(&b, " -> %s", where(p.Dst, p.DstPort))
	return b.String()
}

func where(a netip.Addr, port uint16) string {
	if port == 0 {
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

// ProtoName returns what a protocol is called.
func ProtoName(proto uint8) string {
	switch proto {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "icmp"
	}
	return fmt.Sprint(proto)
}

// network returns the packet's IP header (RFC 791, RFC 8200), with what rules
// may ask for filled in.
func (p Packet) network() []byte {
	if p.Is6() {
		h := make([]byte, 40)
		h[0], h[6], h[7] = 0x60, p.Proto, 64
		copy(h[8:], p.Src.AsSlice())
		copy(h[24:], p.Dst.AsSlice())
		return h
	}
	h := make([]byte, 20)
	h[0], h[3], h[8], h[9] = 0x45, 60, 64, p.Proto
	copy(h[12:], p.Src.AsSlice())
	copy(h[16:], p.Dst.AsSlice())
	return h
}

// transport returns the header behind it: a SYN, a datagram or an echo request.
func (p Packet) transport() []byte {
	h := make([]byte, 20)
	switch p.Proto {
	case unix.IPPROTO_ICMP:
		h[0] = 8
		return h
	case unix.IPPROTO_ICMPV6:
		h[0] = 128
		return h
	case unix.IPPROTO_TCP:
		h[12], h[13] = 0x50, 0x02
	}
	binary.BigEndian.PutUint16(h, p.SrcPort)
	binary.BigEndian.PutUint16(h[2:], p.DstPort)
	return h
}

// A Verdict is what becomes of a packet at one place.
type Verdict int

// The verdicts.
const (
	Pass Verdict = iota
	Drop
)

// An Outcome is what the rules of one hook did with a packet.
type Outcome struct {
	Verdict Verdict
	Packet  Packet // as it leaves the hook: translated, marked
	Steps   []Step // those that decided or changed something
}

// A Step is one rule that counted.
type Step struct {
	// Where is the chain, e.g. "inet fairway to-nat", "ip filter DOCKER-USER".
	Where  string
	Rule   string // as its program writes it, or its comment
	Did    string // "drop", "accept", "to 172.20.0.2:80", "mark 0x10000000", "unsure"
	Handle uint64 // of a rule of nftables
	// Ours: the rule is fairway's.
	Ours     bool
	Iptables bool
}
