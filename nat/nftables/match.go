package nftables

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of 4 bytes. The kernel names those on a boundary of 16 bytes by
// the older numbers (nft_dump_register): so do we, to compare what it says.
const (
	reg0 = unix.NFT_REG_1
	reg1 = unix.NFT_REG32_01
	reg2 = unix.NFT_REG32_02
	reg4 = unix.NFT_REG_2
	reg5 = unix.NFT_REG32_05
)

// Bits of connection tracking (linux/netfilter/nf_conntrack_common.h).
const (
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
	statusConfirmed  = 1 << 3 // its first packet got through all rules
	statusDNAT       = 1 << 5
	directionReply   = 1
)

// A match is a part of a rule: what nft writes as one statement.
type match []expr.Any

func load(key expr.MetaKey, reg uint32) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: data} }

func differ(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: data} }

// family is: meta nfproto ipv4 (or ipv6).
func family(v6 bool) match { return match{load(expr.MetaKeyNFPROTO, reg0), equal(proto(v6))} }

func proto(v6 bool) byte {
	if v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// l4 is: meta l4proto NUMBER.
func l4(number byte) match { return match{load(expr.MetaKeyL4PROTO, reg0), equal(number)} }

// address loads the source or destination address of a packet whose family is
// known.
func address(v6, src bool, reg uint32) *expr.Payload {
	offset, length := uint32(16), uint32(4)
	switch {
	case v6 && src:
		offset, length = 8, 16
	case v6:
		offset, length = 24, 16
	case src:
		offset = 12
	}
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func dport(reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

// inside is: ip saddr PREFIX, or daddr, behind family. Of a prefix of whole
// bytes only those are loaded, which needs no mask.
func inside(p netip.Prefix, src, not bool) match {
	length, whole := p.Addr().BitLen()/8, p.Bits()%8 == 0 && p.Bits() > 0
	if whole {
		length = p.Bits() / 8
	}
	from := address(p.Addr().Is6(), src, reg0)
	from.Len = uint32(length)
	m := match{from}
	if !whole {
		mask := make([]byte, length)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		m = append(m, &expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: uint32(length), Mask: mask, Xor: make([]byte, length)})
	}
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return append(m, &expr.Cmp{Op: op, Register: reg0, Data: p.Masked().Addr().AsSlice()[:length]})
}

// bits is: ct state or ct status, any of them.
func bits(key expr.CtKey, any uint32) match {
	return match{
		&expr.Ct{Key: key, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(any), Xor: make([]byte, 4)},
		differ(0, 0, 0, 0),
	}
}

// allBits is: ct status, all of them.
func allBits(key expr.CtKey, all uint32) match {
	m := bits(key, all)
	m[2] = equal(binaryutil.NativeEndian.PutUint32(all)...)
	return m
}

// local is: fib daddr type local.
func local() match {
	return match{
		&expr.Fib{Register: reg0, FlagDADDR: true, ResultADDRTYPE: true},
		equal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...),
	}
}

// linkIs is: iifname "NAME" (or oifname).
func linkIs(key expr.MetaKey, name string) match {
	return match{load(key, reg0), equal(linkKey(name)...)}
}

// in is a look-up of what was loaded from the first register on.
func in(set string) expr.Any { return &expr.Lookup{SourceRegister: reg0, SetName: set} }

func vmap(set string) expr.Any {
	return &expr.Lookup{SourceRegister: reg0, SetName: set, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT}
}

func lookUp(set string) expr.Any {
	return &expr.Lookup{SourceRegister: reg0, SetName: set, IsDestRegSet: true, DestRegister: reg0}
}

// link1 loads: meta nfproto . iifname (or oifname).
func link1(key expr.MetaKey) match {
	return match{load(expr.MetaKeyNFPROTO, reg0), load(key, reg1)}
}

// link2 loads: meta nfproto . iifname . oifname.
func link2() match {
	return match{load(expr.MetaKeyNFPROTO, reg0), load(expr.MetaKeyIIFNAME, reg1), load(expr.MetaKeyOIFNAME, reg5)}
}

// homeward adds the bridge that the destination is on to link1: fib daddr oifname.
func homeward() match {
	return match{&expr.Fib{Register: reg5, FlagDADDR: true, ResultOIFNAME: true}}
}

// setMark is: meta mark set meta mark or MARK.
func setMark(mark uint32) match {
	return match{
		load(expr.MetaKeyMARK, reg0),
		&expr.Bitwise{
			SourceRegister: reg0, DestRegister: reg0, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^mark), Xor: binaryutil.NativeEndian.PutUint32(mark),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg0},
	}
}

// answer is: ct direction reply socket transparent 1, of an established or bound
// socket of the host's that has the packet's destination for its own.
func answer() match {
	return match{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg0}, equal(directionReply),
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: reg0}, equal(1),
	}
}

// target loads: ip daddr . meta l4proto . th dport.
func target(v6 bool) match {
	after, last := uint32(reg1), uint32(reg2)
	if v6 {
		after, last = reg4, reg5
	}
	return match{address(v6, false, reg0), load(expr.MetaKeyL4PROTO, after), dport(last)}
}

func verdict(kind expr.VerdictKind, chain string) match {
	return match{&expr.Verdict{Kind: kind, Chain: chain}}
}

func jump(chain string) match { return verdict(expr.VerdictJump, chain) }
func goTo(chain string) match { return verdict(expr.VerdictGoto, chain) }
func accept() match           { return verdict(expr.VerdictAccept, "") }
func leave() match            { return verdict(expr.VerdictReturn, "") }

// drop is: counter drop.
func drop() match { return match{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} }

func masquerade() match { return match{&expr.Masq{}} }

// translate is: dnat to what was looked up, an address, and a port if withPort.
func translate(kind expr.NATType, v6, withPort bool) match {
	n := &expr.NAT{Type: kind, Family: uint32(proto(v6)), RegAddrMin: reg0}
	if withPort {
		n.RegProtoMin = reg1
		if v6 {
			n.RegProtoMin = reg4
		}
	}
	return match{n}
}
