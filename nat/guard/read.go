package guard

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

// A shape is the table in a form to compare: all but the wanted elements.
type shape struct {
	chains   map[string][]string // by name: where it hooks in, and its rules
	sets     map[string]string   // by name: its kind
	elements fill                // that the kernel holds
}

// shapeOf returns the shape that a content wants.
func (g *Guard) shapeOf(c content) shape {
	s := shape{chains: map[string][]string{}, sets: map[string]string{}}
	for _, ch := range c.chains() {
		lines := []string{""}
		if ch.base {
			lines[0] = hook(nftables.ChainTypeFilter, *nftables.ChainHookPrerouting, priority)
		}
		for _, r := range ch.rules {
			lines = append(lines, signature(r.exprs, g.comment(r)))
		}
		s.chains[ch.name] = lines
	}
	for _, set := range c.sets() {
		s.sets[set.Name] = kind(set)
	}
	return s
}

func hook(t nftables.ChainType, num nftables.ChainHook, p nftables.ChainPriority) string {
	return fmt.Sprint(t, " ", num, " ", p)
}

// kind leaves out what the library doesn't read back.
func kind(s *nftables.Set) string { return fmt.Sprintf("map %v, interval %v", s.IsMap, s.Interval) }

// signature returns the same text for rules that mean the same.
func signature(exprs []expr.Any, comment string) string {
	var b strings.Builder
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Counter:
			b.WriteString("counter;")
		case *expr.Lookup:
			fmt.Fprintf(&b, "lookup %d %d %v %s %v;", e.SourceRegister, e.DestRegister, e.IsDestRegSet, e.SetName, e.Invert)
		default:
			fmt.Fprintf(&b, "%T %+v;", e, e)
		}
	}
	return b.String() + comment
}

// read returns what the kernel holds; ok is false if there is no table.
func (g *Guard) read(c *nftables.Conn) (have shape, ok bool, err error) {
	have = shape{chains: map[string][]string{}, sets: map[string]string{}, elements: fill{}}
	tables, err := c.ListTablesOfFamily(g.table.Family)
	if err != nil || !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == g.table.Name }) {
		return have, false, err
	}
	chains, err := c.ListChainsOfTableFamily(g.table.Family)
	if err != nil {
		return have, true, err
	}
	for _, ch := range chains {
		if ch.Table.Name != g.table.Name {
			continue
		}
		lines := []string{""}
		if ch.Hooknum != nil {
			lines[0] = hook(ch.Type, *ch.Hooknum, *ch.Priority)
			if ch.Policy != nil && *ch.Policy != nftables.ChainPolicyAccept {
				lines[0] += " policy drop"
			}
		}
		rules, err := c.GetRules(g.table, ch)
		if err != nil {
			return have, true, fmt.Errorf("chain %s: %w", ch.Name, err)
		}
		for _, r := range rules {
			comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			lines = append(lines, signature(r.Exprs, comment))
		}
		have.chains[ch.Name] = lines
	}
	sets, err := c.GetSets(g.table)
	if err != nil {
		return have, true, err
	}
	for _, s := range sets {
		have.sets[s.Name] = kind(s)
		if err := have.readElements(c, s); err != nil {
			return have, true, fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return have, true, nil
}

func (have shape) readElements(c *nftables.Conn, s *nftables.Set) error {
	elements, err := c.GetSetElements(s)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range elements {
		// The kernel closes an empty or open interval set at 0 by itself.
		if e.IntervalEnd && strings.Trim(string(e.Key), "\x00") == "" {
			continue
		}
		v := value{comment: e.Comment}
		if s.IsMap {
			v.chain = chainOf(e.Val)
		}
		have.elements[element{s.Name, string(e.Key), e.IntervalEnd}] = v
	}
	return nil
}

// chainOf reads the attributes of a verdict (NFTA_VERDICT_CODE, _CHAIN): the
// chain of a goto, something else for other verdicts.
func chainOf(data []byte) string {
	kind, name := expr.VerdictKind(0), ""
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return "?"
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
	if kind != expr.VerdictGoto {
		return fmt.Sprintf("? %d %s", kind, name)
	}
	return name
}
