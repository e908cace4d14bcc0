package overlay

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

func (f *Filter) sets() []*nftables.Set {
	set := func(name, comment string, key ...nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: f.table, Name: name, Comment: comment, KeyType: nftables.MustConcatSetType(key...)}
	}
	vni := nftables.TypeMark // four bytes that are no address
	return []*nftables.Set{
		set(setSegments, "UDP ports and VNIs of this host's segments", nftables.TypeInetService, vni),
		set(membersOf(false), "the hosts that have a segment", vni, nftables.TypeIPAddr),
		set(membersOf(true), "the hosts that have a segment", vni, nftables.TypeIP6Addr),
		{Table: f.table, Name: setBridges, Comment: "bridges of this host's segments", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian},
	}
}

// A rule says what it is for.
type rule struct {
	comment string
	exprs   []expr.Any
}

// A chain is one of the table; hook is nil if it isn't a base chain.
type chain struct {
	name  string
	hook  *nftables.ChainHook
	rules []rule
}

// The registers that rules use: keys of sets are in a row of them, in words of
// four bytes.
const (
	reg    = unix.NFT_REG_1
	second = unix.NFT_REG32_01
)

// vni loads the VNI that a UDP packet has if it is VXLAN, less what is behind it
// (RFC 7348 section 5).
func vni(register uint32) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: []byte{0xff, 0xff, 0xff, 0}, Xor: make([]byte, 4)},
	}
}

func chains() []chain {
	member := func(family byte, offset, length uint32) []expr.Any {
		out := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{family}},
		}
		out = append(out, vni(reg)...)
		return append(out, &expr.Payload{DestRegister: second, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
			&expr.Lookup{SourceRegister: reg, SetName: membersOf(family == unix.NFPROTO_IPV6)}, &expr.Verdict{Kind: expr.VerdictAccept})
	}
	ours := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
	ours = append(append(ours, vni(second)...),
		&expr.Lookup{SourceRegister: reg, SetName: setSegments}, &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainVXLAN})
	return []chain{
		{name: chainVXLAN, rules: []rule{
			{"from a host of the segment", member(unix.NFPROTO_IPV4, 12, 4)},
			{"from a host of the segment", member(unix.NFPROTO_IPV6, 8, 16)},
			{"from anybody else", []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}},
		}},
		{name: chainInput, hook: nftables.ChainHookInput, rules: []rule{{"frames of segments, to this host", ours}}},
		{name: chainForward, hook: nftables.ChainHookForward, rules: []rule{
			{"segments of TCP that a container sends: as the way out takes", clamp(expr.MetaKeyIIFNAME)},
			{"and those that it gets", clamp(expr.MetaKeyOIFNAME)},
			{"and from others by way of it, before their address is translated", ours},
		}},
	}
}

// clamp lowers the MSS of a TCP connection that begins (RFC 9293 section 3.7.1), by a
// bridge of ours, to what the routes there and back take. Else it hangs where a
// router's word that a packet is too large gets lost (RFC 2923 section 2.1).
func clamp(link expr.MetaKey) []expr.Any {
	const flags, synAndRST, syn = 13, 0x06, 0x02 // in TCP's header
	const maxSegmentSize = 2                     // the option, with its value 2 bytes on
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{synAndRST}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{syn}},
		&expr.Meta{Key: link, Register: reg}, &expr.Lookup{SourceRegister: reg, SetName: setBridges},
		&expr.Rt{Key: expr.RtTCPMSS, Register: reg},
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: reg, Op: expr.ExthdrOpTcpopt, Type: maxSegmentSize, Offset: 2, Len: 2},
	}
}

func (f *Filter) addChains(conn *nftables.Conn, table *nftables.Table, all []chain) {
	for _, c := range all {
		made := &nftables.Chain{Name: c.name, Table: table}
		if c.hook != nil {
			made.Type, made.Hooknum, made.Priority = nftables.ChainTypeFilter, c.hook, nftables.ChainPriorityRef(priority)
		}
		conn.AddChain(made)
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table: table, Chain: made, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, f.comment(r)),
			})
		}
	}
}

// comment marks a rule as the instance's and says what it is for.
func (f *Filter) comment(r rule) string { return "fairway:" + f.opts.Instance + " " + r.comment }

// signature returns the same text for rules that mean the same.
func signature(exprs []expr.Any, comment string) string {
	var b strings.Builder
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Rt, *expr.Byteorder: // the library can't read them
		case *expr.Counter:
			b.WriteString("counter;")
		case *expr.Lookup:
			fmt.Fprintf(&b, "lookup %d %s %v;", e.SourceRegister, e.SetName, e.Invert)
		default:
			fmt.Fprintf(&b, "%T %+v;", e, e)
		}
	}
	return b.String() + comment
}
