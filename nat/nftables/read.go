package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A content is all that the table holds in the kernel, in a form to compare.
type content struct {
	chains   map[string]string   // by name: where a base chain hooks in
	rules    map[string][]string // by chain
	sets     map[string]string   // by name: its types
	elements map[element]value
	persists bool // the table itself: see flagPersist
}

// wanted returns the content that chains and elements make.
func wanted(chains []chain, f *fill, instance string) content {
	return contentOf(chains, setsOf(chains), f, instance)
}

// contentOf is wanted, of a table with just those sets.
func contentOf(chains []chain, sets []*nftables.Set, f *fill, instance string) content {
	c := content{chains: map[string]string{}, rules: map[string][]string{}, sets: map[string]string{}, elements: f.elements}
	for _, ch := range chains {
		c.chains[ch.name] = ch.hookName()
		for _, r := range ch.rules {
			c.rules[ch.name] = append(c.rules[ch.name], signature(r.exprs, ruleComment(instance, r.comment)))
		}
	}
	for _, s := range sets {
		c.sets[s.Name] = setSignature(s)
	}
	return c
}

// ruleComment marks a rule as the instance's and says what it is for.
func ruleComment(instance, what string) string {
	if what == "" {
		return "fairway:" + instance
	}
	return "fairway:" + instance + " " + what
}

// setSignature leaves out what the library doesn't read back: the types of a
// map of verdicts.
func setSignature(s *nftables.Set) string {
	return fmt.Sprintf("map %v, interval %v", s.IsMap, s.Interval)
}

// signature returns the same text for rules that mean the same.
func signature(exprs []expr.Any, comment string) string {
	var b strings.Builder
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Counter:
			b.WriteString("counter;")
			continue
		case *expr.Lookup:
			fmt.Fprintf(&b, "lookup %d %d %v %s %v;", e.SourceRegister, e.DestRegister, e.IsDestRegSet, e.SetName, e.Invert)
			continue
		case *expr.Socket: // the library doesn't read it back, but the comparison behind it
			continue
		case *expr.NAT: // the kernel fills in the upper ends and says what it was told by registers
			fmt.Fprintf(&b, "nat %d %d %d %d %v%v%v;", e.Type, e.Family, e.RegAddrMin, e.RegProtoMin, e.Random, e.FullyRandom, e.Prefix)
			continue
		}
		fmt.Fprintf(&b, "%T %+v;", e, e)
	}
	return b.String() + comment
}

// read returns what the kernel holds; ok is false if there is no table.
func read(c *nftables.Conn, table *nftables.Table) (have content, ok bool, err error) {
	have = content{chains: map[string]string{}, rules: map[string][]string{}, sets: map[string]string{}, elements: map[element]value{}}
	tables, err := c.ListTablesOfFamily(table.Family)
	if err != nil {
		return have, false, err
	}
	at := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == table.Name })
	if at < 0 {
		return have, false, nil
	}
	// The library takes the flags for a number of the host's byte order.
	flags := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, tables[at].Flags))
	have.persists = flags&flagPersist != 0
	chains, err := c.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return have, true, err
	}
	for _, ch := range chains {
		if ch.Table == nil || ch.Table.Name != table.Name {
			continue
		}
		hook := ""
		if ch.Hooknum != nil {
			hook = chain{kind: ch.Type, hook: ch.Hooknum, priority: int32(*ch.Priority)}.hookName()
			if ch.Policy != nil && *ch.Policy != nftables.ChainPolicyAccept {
				hook += " policy drop"
			}
		}
		have.chains[ch.Name] = hook
		if err := have.readRules(c, table, ch); err != nil {
			return have, true, err
		}
	}
	sets, err := c.GetSets(table)
	if err != nil {
		return have, true, err
	}
	for _, s := range sets {
		if s.Anonymous {
			continue // part of a rule
		}
		have.sets[s.Name] = setSignature(s)
		elements, err := c.GetSetElements(s)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return have, true, fmt.Errorf("set %s: %w", s.Name, err)
		}
		for _, e := range elements {
			v := value{data: string(e.Val), comment: e.Comment}
			if verdictMap(s.Name) {
				v.data, v.verdict = "", verdictOf(e.Val)
			}
			if e.IntervalEnd {
				v = value{}
			}
			have.elements[element{s.Name, string(e.Key), e.IntervalEnd}] = v
		}
	}
	// The kernel closes an empty or open interval set at 0 by itself.
	for e := range have.elements {
		if e.end && strings.Trim(e.key, "\x00") == "" {
			delete(have.elements, e)
		}
	}
	return have, true, nil
}

func (have content) readRules(c *nftables.Conn, table *nftables.Table, ch *nftables.Chain) error {
	rules, err := c.GetRules(table, ch)
	if err != nil {
		return fmt.Errorf("chain %s: %w", ch.Name, err)
	}
	for _, r := range rules {
		comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
		have.rules[ch.Name] = append(have.rules[ch.Name], signature(r.Exprs, comment))
	}
	return nil
}

// verdictOf reads the attributes of a verdict (NFTA_VERDICT_CODE, _CHAIN).
func verdictOf(data []byte) string {
	kind, name := expr.VerdictKind(0), ""
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return "unreadable"
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_VERDICT_CODE:
			kind = expr.VerdictKind(int32(d.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			name = d.String()
		}
	}
	switch kind {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictJump:
		return "jump " + name
	case expr.VerdictGoto:
		return "goto " + name
	}
	return fmt.Sprintf("verdict %d %s", kind, name)
}

// parseVerdict is the reverse, for the verdicts that we use.
func parseVerdict(text string) *expr.Verdict {
	verb, name, _ := strings.Cut(text, " ")
	kinds := map[string]expr.VerdictKind{"accept": expr.VerdictAccept, "jump": expr.VerdictJump, "goto": expr.VerdictGoto}
	return &expr.Verdict{Kind: kinds[verb], Chain: name}
}
