package trace

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/nftables"
)

// A Hook is a place in the kernel where rules see a packet.
type Hook uint32

// The hooks: NF_INET_* of linux/netfilter.h.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

func (h Hook) String() string {
	return [...]string{"prerouting", "input", "forward", "output", "postrouting"}[h]
}

// Rules are all rules of this host but for those of bridges and of links.
type Rules struct {
	nft   *nftRules
	xt    [2]xtRules // IPv4, IPv6
	world addresses
}

// readRules reads them.
func readRules(ctx context.Context, world addresses) (*Rules, error) {
	nft, err := readNFT()
	if err != nil {
		return nil, err
	}
	r := &Rules{nft: nft, world: world}
	for i := range r.xt {
		if r.xt[i], err = readXT(ctx, i == 1); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// A stage is one base chain, be it of nftables or of iptables.
type stage struct {
	priority int32
	nat      bool
	run      func(Packet) (end, Packet, []Step)
}

// xtStages are where the tables of iptables hook in: linux/netfilter_ipv4.h,
// enum nf_ip_hook_priorities.
func xtStages(h Hook) []struct {
	table    string
	priority int32
} {
	type at = struct {
		table    string
		priority int32
	}
	switch h {
	case Prerouting:
		return []at{{"raw", -300}, {"mangle", -150}, {"nat", -100}}
	case Input:
		return []at{{"mangle", -150}, {"filter", 0}, {"security", 50}, {"nat", 100}}
	case Forward:
		return []at{{"mangle", -150}, {"filter", 0}, {"security", 50}}
	case Output:
		return []at{{"raw", -300}, {"mangle", -150}, {"nat", -100}, {"filter", 0}, {"security", 50}}
	}
	return []at{{"mangle", -150}, {"nat", 100}}
}

// At carries out all rules of a hook. Those that drop end it; each chain may
// drop what another has accepted.
func (r *Rules) At(h Hook, p Packet) Outcome {
	out := Outcome{Packet: p}
	done := false // translated at this hook
	for _, s := range r.stages(h, p.Is6()) {
		if s.nat && done {
			continue
		}
		e, packet, steps := s.run(out.Packet)
		out.Packet, out.Steps = packet, append(out.Steps, steps...)
		switch e {
		case dropped:
			out.Verdict = Drop
			return out
		case translated:
			done = true
		}
	}
	return out
}

func (r *Rules) stages(h Hook, v6 bool) (out []stage) {
	for _, c := range r.nft.bases {
		of := c.table.family == nftables.TableFamilyINet || c.table.family == nftables.TableFamilyIPv4 && !v6 || c.table.family == nftables.TableFamilyIPv6 && v6
		if !of || Hook(c.hook) != h {
			continue
		}
		out = append(out, stage{c.priority, c.kind == nftables.ChainTypeNAT, func(p Packet) (end, Packet, []Step) {
			m := &run{machine: machine{rules: r.nft, world: r.world, packet: p, table: c.table}}
			e := m.base(c)
			return e, m.packet, m.steps
		}})
	}
	family, tables := "ip", r.xt[0]
	if v6 {
		family, tables = "ip6", r.xt[1]
	}
	chain := [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}[h]
	for _, at := range xtStages(h) {
		chains := tables[at.table]
		if chains[chain] == nil {
			continue
		}
		out = append(out, stage{at.priority, at.table == "nat", func(p Packet) (end, Packet, []Step) {
			x := &xtRun{world: r.world, packet: p, family: family, table: at.table, chains: chains}
			e := x.base(chain)
			return e, x.packet, x.steps
		}})
	}
	slices.SortStableFunc(out, func(a, b stage) int { return cmp.Compare(a.priority, b.priority) })
	return out
}
