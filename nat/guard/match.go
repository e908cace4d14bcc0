package guard

import (
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// The registers that rules use: the second one is behind a link's name, or a
// look-up's result.
const (
	reg    = unix.NFT_REG_1
	behind = unix.NFT_REG_2
)

// A match is a part of a rule: what nft writes as one statement.
type match []expr.Any

// A field is a place in a frame.
type field struct {
	base           expr.PayloadBase
	offset, length uint32
}

// Fields of headers: Ethernet (IEEE 802.3 clause 3), LLC, ARP (RFC 826), IPv4,
// IPv6, and of what is behind these: UDP, ICMP, neighbour discovery (RFC 4861).
func etherDst() field  { return field{expr.PayloadBaseLLHeader, 0, 6} }
func etherSrc() field  { return field{expr.PayloadBaseLLHeader, 6, 6} }
func etherType() field { return field{expr.PayloadBaseLLHeader, 12, 2} }
func dsap() field      { return field{expr.PayloadBaseNetworkHeader, 0, 1} }
func arpKind() field   { return field{expr.PayloadBaseNetworkHeader, 0, 6} } // both types, both lengths
func arpOp() field     { return field{expr.PayloadBaseNetworkHeader, 6, 2} }
func arpMAC() field    { return field{expr.PayloadBaseNetworkHeader, 8, 6} }
func arpIP() field     { return field{expr.PayloadBaseNetworkHeader, 14, 4} }
func arpTarget() field { return field{expr.PayloadBaseNetworkHeader, 24, 4} }
func fragment4() field { return field{expr.PayloadBaseNetworkHeader, 6, 2} }
func source4() field   { return field{expr.PayloadBaseNetworkHeader, 12, 4} }
func source6() field   { return field{expr.PayloadBaseNetworkHeader, 8, 16} }
func ports() field     { return field{expr.PayloadBaseTransportHeader, 0, 4} }
func dport() field     { return field{expr.PayloadBaseTransportHeader, 2, 2} }
func icmpType() field  { return field{expr.PayloadBaseTransportHeader, 0, 1} }
func ndTarget() field  { return field{expr.PayloadBaseTransportHeader, 8, 16} }

func (f field) load(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: f.length}
}

// is and isn't compare a field; neither holds where the frame ends before it.
func (f field) is(data ...byte) match {
	return match{f.load(reg), &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}}
}

func (f field) isnt(data ...byte) match {
	return match{f.load(reg), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data}}
}

// between is: FIELD FIRST-LAST.
func (f field) between(first, last byte) match {
	return match{f.load(reg), &expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: []byte{first}, ToData: []byte{last}}}
}

// masked is: FIELD & MASK == DATA, or != of it.
func (f field) masked(op expr.CmpOp, mask, data []byte) match {
	return match{
		f.load(reg),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: f.length, Mask: mask, Xor: make([]byte, f.length)},
		&expr.Cmp{Op: op, Register: reg, Data: data},
	}
}

// in is: FIELD @SET.
func (f field) in(set string) match {
	return match{f.load(reg), &expr.Lookup{SourceRegister: reg, SetName: set}}
}

// of is: iifname . FIELD @SET; not: != @SET.
func (f field) of(set string, not bool) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, f.load(behind),
		&expr.Lookup{SourceRegister: reg, SetName: set, Invert: not},
	}
}

// guarded is: iifname "fwv*".
func guarded() match {
	return match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte(nat.GuardedPort)}, // as far as it goes
	}
}

// protocol is: meta protocol TYPE, the one behind a tag if there is one.
func protocol(number uint16) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binaryutil.BigEndian.PutUint16(number)},
	}
}

// l4 is: meta l4proto NUMBER. Neither it nor notL4 holds where the packet's
// headers can't be read.
func l4(number byte) match { return l4op(expr.CmpOpEq, number) }

func notL4(number byte) match { return l4op(expr.CmpOpNeq, number) }

func l4op(op expr.CmpOp, number byte) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: op, Register: reg, Data: []byte{number}},
	}
}

// laterFragment6 is: frag frag-off != 0, in units of 8 bytes from bit 3 on (RFC
// 8200 section 4.5).
func laterFragment6() match {
	return match{
		&expr.Exthdr{DestRegister: reg, Type: unix.IPPROTO_FRAGMENT, Offset: 2, Len: 2, Op: expr.ExthdrOpIpv6},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 2, Mask: []byte{0xff, 0xf8}, Xor: []byte{0, 0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte{0, 0}},
	}
}

// byPort is: iifname vmap @MAP.
func byPort(name string) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Lookup{SourceRegister: reg, SetName: name, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT},
	}
}

// counted is: iifname @SET, whose elements count.
func counted(set string) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Lookup{SourceRegister: reg, SetName: set},
	}
}

func verdict(kind expr.VerdictKind, chain string) match {
	return match{&expr.Verdict{Kind: kind, Chain: chain}}
}

func jump(chain string) match { return verdict(expr.VerdictJump, chain) }
func goTo(chain string) match { return verdict(expr.VerdictGoto, chain) }
func accept() match           { return verdict(expr.VerdictAccept, "") }

// drop is: counter drop.
func drop() match { return match{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} }
