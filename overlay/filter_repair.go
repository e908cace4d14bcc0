package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"

	"fairway/nat"
)

// Repair makes the table as it was told, whoever changed it, and says what was
// different. It writes nothing if nothing was.
func (f *Filter) Repair(context.Context) ([]nat.Repair, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
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
		return nil, nil
	}
	return found, f.whole()
}

// compare says how the kernel differs from what is wanted.
func (f *Filter) compare(conn *nftables.Conn) (found []nat.Repair, err error) {
	note := func(format string, args ...any) {
		found = append(found, nat.Repair{What: "inet " + tableName + ": " + fmt.Sprintf(format, args...)})
	}
	tables, err := conn.ListTablesOfFamily(f.table.Family)
	if err != nil {
		return nil, err
	}
	there := slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
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
	have, err := f.readChains(conn)
	if err != nil {
		return nil, err
	}
	for _, c := range chains() {
		lines := []string{hook(c.hook)}
		for _, r := range c.rules {
			lines = append(lines, signature(r.exprs, f.comment(r)))
		}
		if !slices.Equal(have[c.name], lines) {
			note("chain %s had other rules", c.name)
		}
		delete(have, c.name)
	}
	for name := range have {
		note("chain %s was not wanted", name)
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
func (f *Filter) readChains(conn *nftables.Conn) (map[string][]string, error) {
	list, err := conn.ListChainsOfTableFamily(f.table.Family)
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
		rules, err := conn.GetRules(f.table, ch)
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
			out[element{s.Name, string(e.Key)}] = true
		}
	}
	return out, nil
}
