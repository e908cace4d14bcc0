package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"fairway/nat"
)

// Repair makes the tables as they were told, whoever changed it, and says what was
// different. It writes nothing if nothing was.
func (f *Filter) Repair(context.Context) ([]nat.Repair, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(); err != nil {
		return nil, err
	}
	conn, err := nftables.New() // one of its own: the kernel echoes rules
	if err != nil {
		return nil, fmt.Errorf("overlay: open netlink: %w", err)
	}
	found, err := f.compare(conn)
	if err != nil {
		return nil, fmt.Errorf("overlay: read table inet %s: %w", tableName, err)
	}
	if len(found) == 0 {
		f.known = true
	} else {
		err = f.whole()
	}
	groups, groupsErr := f.repairGroups()
	for _, what := range groups {
		found = append(found, nat.Repair{What: "bridge " + tableName + ": " + what})
	}
	return found, errors.Join(err, groupsErr)
}

// begin takes over what an earlier daemon left in the kernel, once.
func (f *Filter) begin() error {
	if f.begun {
		return nil
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("overlay: open netlink: %w", err)
	}
	there, err := isThere(conn, f.table)
	if err == nil && there {
		var left map[element]bool
		left, err = f.readElements(conn)
		f.want = admissions(left)
	}
	if err != nil {
		return fmt.Errorf("overlay: read table inet %s: %w", tableName, err)
	}
	f.begun = true
	return nil
}

// admissions is what elements say; those that make no sense are left out.
func admissions(elems map[element]bool) map[uint32]admission {
	out := map[uint32]admission{}
	number := func(s string) uint32 { return uint32(s[0])<<16 | uint32(s[1])<<8 | uint32(s[2]) }
	for e := range elems {
		if e.set == setSegments && len(e.key) == 8 {
			out[number(e.key[4:])] = admission{port: uint16(e.key[0])<<8 | uint16(e.key[1])}
		}
	}
	for e := range elems {
		if e.set == setBridges {
			if a, there := out[e.vni]; there {
				a.bridge = strings.TrimRight(e.key, "\x00")
				out[e.vni] = a
			}
			continue
		}
		if len(e.key) < 4 || e.set == setSegments {
			continue
		}
		host, ok := netip.AddrFromSlice([]byte(e.key[4:]))
		if a, there := out[number(e.key)]; there && ok {
			a.hosts = append(a.hosts, host)
			out[number(e.key)] = a
		}
	}
	return out
}

// Denied returns how many packets the table has dropped since it was written.
func (f *Filter) Denied(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn, err := nftables.New()
	if err != nil {
		return 0, fmt.Errorf("overlay: open netlink: %w", err)
	}
	if there, err := isThere(conn, f.table); err != nil || !there {
		return 0, err
	}
	rules, err := conn.GetRules(f.table, &nftables.Chain{Table: f.table, Name: chainVXLAN})
	if err != nil {
		return 0, fmt.Errorf("overlay: read table inet %s: %w", tableName, err)
	}
	var n uint64
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return n, nil
}

func isThere(conn *nftables.Conn, table *nftables.Table) (bool, error) {
	tables, err := conn.ListTablesOfFamily(table.Family)
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }), err
}

// compare says how the kernel differs from what is wanted.
func (f *Filter) compare(conn *nftables.Conn) (found []nat.Repair, err error) {
	note := func(format string, args ...any) {
		found = append(found, nat.Repair{What: "inet " + tableName + ": " + fmt.Sprintf(format, args...)})
	}
	there, err := isThere(conn, f.table)
	if err != nil {
		return nil, err
	}
	switch {
	case !there && len(f.want) > 0:
		note("the table was missing")
		return found, nil
	case !there:
		return nil, nil
	case len(f.want) == 0:
		note("the table was not wanted")
		return found, nil
	}
	other, err := f.compareChains(conn, f.table, chains())
	if err != nil {
		return nil, err
	}
	for _, what := range other {
		note("%s", what)
	}
	elems, err := f.readElements(conn)
	if err != nil {
		return nil, err
	}
	if want := elements(f.want); !maps.Equal(elems, want) {
		note("the sets had %d elements, %d of them wrong or missing", len(elems), differ(elems, want))
	}
	return found, nil
}

// compareChains says how the chains of a table differ from those that are wanted.
func (f *Filter) compareChains(conn *nftables.Conn, table *nftables.Table, want []chain) (found []string, err error) {
	have, err := readChains(conn, table)
	if err != nil {
		return nil, err
	}
	for _, c := range want {
		lines := []string{hook(c.hook)}
		for _, r := range c.rules {
			lines = append(lines, signature(r.exprs, f.comment(r)))
		}
		if !slices.Equal(have[c.name], lines) {
			found = append(found, "chain "+c.name+" had other rules")
		}
		delete(have, c.name)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		found = append(found, "chain "+name+" was not wanted")
	}
	return found, nil
}

func differ(a, b map[element]bool) (n int) {
	for e := range a {
		if !b[e] {
			n++
		}
	}
	for e := range b {
		if !a[e] {
			n++
		}
	}
	return n
}

func hook(h *nftables.ChainHook) string {
	if h == nil {
		return ""
	}
	return fmt.Sprint(nftables.ChainTypeFilter, " ", *h, " ", priority)
}

// readChains returns the rules of each chain, behind where it hooks in.
func readChains(conn *nftables.Conn, table *nftables.Table) (map[string][]string, error) {
	list, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, ch := range list {
		if ch.Table.Name != tableName {
			continue
		}
		lines := []string{""}
		if ch.Hooknum != nil {
			lines[0] = fmt.Sprint(ch.Type, " ", *ch.Hooknum, " ", *ch.Priority)
			if ch.Policy != nil && *ch.Policy != nftables.ChainPolicyAccept {
				lines[0] += " policy drop"
			}
		}
		rules, err := conn.GetRules(table, ch)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", ch.Name, err)
		}
		for _, r := range rules {
			comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			lines = append(lines, signature(r.Exprs, comment))
		}
		out[ch.Name] = lines
	}
	return out, nil
}

// readElements returns what all sets hold.
func (f *Filter) readElements(conn *nftables.Conn) (map[element]bool, error) {
	sets, err := conn.GetSets(f.table)
	if err != nil {
		return nil, err
	}
	out := map[element]bool{}
	for _, s := range sets {
		list, err := conn.GetSetElements(s)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("set %s: %w", s.Name, err)
		}
		for _, e := range list {
			el := element{set: s.Name, key: string(e.Key)}
			if s.Name == setBridges {
				_, _ = fmt.Sscanf(e.Comment, vniComment, &el.vni) // another comment is somebody else's
			}
			out[el] = true
		}
	}
	return out, nil
}
