package trace

import (
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ruleset is a table with a map of verdicts, an interval set, and a chain with a
// policy.
func ruleset(rules ...[]expr.Any) *nftRules {
	t := tableKey{nftables.TableFamilyINet, "mine"}
	base := &nftChain{nameKey: nameKey{t, "f"}, hook: uint32(Forward), drops: true}
	for i, e := range rules {
		base.rules = append(base.rules, &nftables.Rule{Exprs: e, Handle: uint64(i + 1)})
	}
	sub := &nftChain{nameKey: nameKey{t, "sub"}, rules: []*nftables.Rule{{Handle: 9, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}}}
	return &nftRules{
		chains: map[nameKey]*nftChain{base.nameKey: base, sub.nameKey: sub}, bases: []*nftChain{base},
		sets: map[nameKey]*nftSet{
			{t, "ports"}: {byKey: map[string]nftables.SetElement{"\x00\x50": {VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: "sub"}}}},
			{t, "nets"}: {interval: true, sorted: []nftables.SetElement{
				{Key: []byte{10, 0, 0, 0}}, {Key: []byte{11, 0, 0, 0}, IntervalEnd: true},
				{Key: []byte{172, 20, 0, 0}}, {Key: []byte{172, 21, 0, 0}, IntervalEnd: true},
			}},
			{t, "ranges"}: {unknown: true, byKey: map[string]nftables.SetElement{"\x00\x50": {}}},
		},
	}
}

func TestMachine(t *testing.T) {
	const reg = unix.NFT_REG_1
	dport := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	daddr := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	is := func(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
	meta := func(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg} }
	in := func(set string, invert bool) expr.Any {
		return &expr.Lookup{SourceRegister: reg, SetName: set, Invert: invert}
	}
	fresh := &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native32(stateNew), Xor: native32(0)}
	for name, c := range map[string]struct {
		rules [][]expr.Any
		want  Verdict
		steps int
	}{
		"policy":                       {nil, Drop, 1},
		"port":                         {[][]expr.Any{{dport, is(0, 80), accept}}, Pass, 1},
		"another port":                 {[][]expr.Any{{dport, is(0, 81), accept}}, Drop, 1},
		"the first that decides":       {[][]expr.Any{{dport, is(0, 80), drop}, {accept}}, Drop, 1},
		"link":                         {[][]expr.Any{{meta(expr.MetaKeyIIFNAME), is([]byte("eth0\x00")...), accept}}, Pass, 1},
		"prefix of a name":             {[][]expr.Any{{meta(expr.MetaKeyIIFNAME), is([]byte("eth")...), accept}}, Pass, 1},
		"new":                          {[][]expr.Any{{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, fresh, &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native32(0)}, accept}}, Pass, 1},
		"map of verdicts":              {[][]expr.Any{{dport, &expr.Lookup{SourceRegister: reg, SetName: "ports", IsDestRegSet: true}}}, Pass, 1},
		"interval":                     {[][]expr.Any{{daddr, in("nets", false), accept}}, Pass, 1},
		"not in it":                    {[][]expr.Any{{daddr, in("nets", true), accept}}, Drop, 1},
		"no such set":                  {[][]expr.Any{{daddr, in("none", false), accept}}, Drop, 2},
		"ranges of several fields":     {[][]expr.Any{{dport, in("ranges", false), drop}, {accept}}, Pass, 2},
		"what isn't known is unsure":   {[][]expr.Any{{meta(expr.MetaKeySKUID), is(1, 0, 0, 0), drop}, {accept}}, Pass, 2},
		"unsure, and no match":         {[][]expr.Any{{meta(expr.MetaKeySKUID), dport, is(0, 81), drop}, {accept}}, Pass, 1},
		"by the link that leads there": {[][]expr.Any{{&expr.Fib{Register: reg, ResultOIFNAME: true, FlagDADDR: true}, is([]byte("fwb1\x00")...), accept}}, Pass, 1},
		"reject":                       {[][]expr.Any{{&expr.Reject{}}}, Drop, 1},
		"mark": {[][]expr.Any{
			{&expr.Immediate{Register: reg, Data: native32(7)}, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: true}},
			{meta(expr.MetaKeyMARK), is(native32(7)...), accept},
		}, Pass, 2},
	} {
		r := &Rules{nft: ruleset(c.rules...), xt: [2]xtRules{{}, {}}, world: here{}}
		o := r.At(Forward, packet())
		if o.Verdict != c.want || len(o.Steps) != c.steps {
			t.Errorf("%s: %v %+v, want %v in %d steps", name, o.Verdict, o.Steps, c.want, c.steps)
		}
	}
}
