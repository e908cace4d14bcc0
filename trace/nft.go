package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

type (
	tableKey struct {
		family nftables.TableFamily
		name   string
	}
	nameKey struct {
		table tableKey
		name  string // of a chain or set
	}
)

// nftRules are the tables of nftables but for those that iptables keeps there.
type nftRules struct {
	chains map[nameKey]*nftChain
	bases  []*nftChain // those that packets come to, by priority
	sets   map[nameKey]*nftSet
}

type nftChain struct {
	nameKey
	kind     nftables.ChainType
	hook     uint32
	priority int32
	drops    bool // by its policy
	rules    []*nftables.Rule
}

// An nftSet holds elements by key, or, of intervals, in the order of keys.
type nftSet struct {
	interval, unknown bool
	byKey             map[string]nftables.SetElement
	sorted            []nftables.SetElement
}

// readNFT reads all of it. A kernel without nftables has none.
func readNFT() (*nftRules, error) {
	r := &nftRules{chains: map[nameKey]*nftChain{}, sets: map[nameKey]*nftSet{}}
	conn, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetReadBuffer(32 << 20) }))
	if err != nil {
		return nil, fmt.Errorf("trace: open netlink: %w", err)
	}
	chains, err := conn.ListChains()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("trace: list chains: %w", err)
	}
	skipped := map[tableKey]bool{}
	for _, c := range chains {
		if k := keyOf(c.Table); ofIptables(k, c) {
			skipped[k] = true
		}
	}
	tables := map[tableKey]*nftables.Table{}
	for _, c := range chains {
		k := keyOf(c.Table)
		if skipped[k] || c.Table.Family == nftables.TableFamilyNetdev || c.Table.Family == nftables.TableFamilyARP || c.Table.Family == nftables.TableFamilyBridge {
			continue
		}
		tables[k] = c.Table
		ch := &nftChain{nameKey: nameKey{k, c.Name}, kind: c.Type}
		if ch.rules, err = conn.GetRules(c.Table, c); err != nil {
			return nil, fmt.Errorf("trace: list rules of chain %s: %w", c.Name, err)
		}
		r.chains[ch.nameKey] = ch
		if c.Hooknum != nil {
			ch.hook, ch.priority = uint32(*c.Hooknum), int32(*c.Priority)
			ch.drops = c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
			r.bases = append(r.bases, ch)
		}
	}
	slices.SortStableFunc(r.bases, func(a, b *nftChain) int { return int(a.priority) - int(b.priority) })
	for k, t := range tables {
		if err := r.readSets(conn, k, t); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func keyOf(t *nftables.Table) tableKey { return tableKey{t.Family, t.Name} }

// ofIptables reports whether iptables-nft keeps the table: it has its names, and
// base chains in capitals.
func ofIptables(k tableKey, c *nftables.Chain) bool {
	if k.family != nftables.TableFamilyIPv4 && k.family != nftables.TableFamilyIPv6 || c.Hooknum == nil {
		return false
	}
	return slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, k.name) && c.Name == strings.ToUpper(c.Name)
}

func (r *nftRules) readSets(conn *nftables.Conn, k tableKey, t *nftables.Table) error {
	sets, err := conn.GetSets(t)
	if err != nil {
		return fmt.Errorf("trace: list sets of table %s: %w", t.Name, err)
	}
	for _, s := range sets {
		all, err := conn.GetSetElements(s)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trace: list elements of set %s: %w", s.Name, err)
		}
		set := &nftSet{interval: s.Interval, byKey: map[string]nftables.SetElement{}}
		for _, e := range all {
			set.unknown = set.unknown || len(e.KeyEnd) > 0 && !bytes.Equal(e.Key, e.KeyEnd)
			if !s.Interval {
				set.byKey[string(e.Key)] = e
			}
		}
		if s.Interval {
			set.sorted = all
			// Of an end and a beginning at one key, the beginning counts.
			slices.SortFunc(set.sorted, func(a, b nftables.SetElement) int {
				if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
					return c
				}
				if a.IntervalEnd {
					return -1
				}
				return 1
			})
		}
		r.sets[nameKey{k, s.Name}] = set
	}
	return nil
}

// find returns the element that holds a key.
func (s *nftSet) find(key []byte) (nftables.SetElement, answer) {
	if s.unknown {
		return nftables.SetElement{}, unsure
	}
	if !s.interval {
		e, ok := s.byKey[string(key)]
		return e, when(ok)
	}
	at := -1
	for i, e := range s.sorted {
		if bytes.Compare(e.Key, key[:min(len(key), len(e.Key))]) > 0 {
			break
		}
		at = i
	}
	if at < 0 || s.sorted[at].IntervalEnd {
		return nftables.SetElement{}, no
	}
	return s.sorted[at], yes
}

// keySize returns how long the keys of a set are; 0 if it has none.
func (s *nftSet) keySize() int {
	for k := range s.byKey {
		return len(k)
	}
	if len(s.sorted) > 0 {
		return len(s.sorted[0].Key)
	}
	return 0
}

// verdictOf reads the attributes of a verdict (NFTA_VERDICT_CODE, _CHAIN).
func verdictOf(e nftables.SetElement) expr.Verdict {
	if e.VerdictData != nil {
		return *e.VerdictData
	}
	var v expr.Verdict
	d, err := netlink.NewAttributeDecoder(e.Val)
	if err != nil {
		return v
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_VERDICT_CODE:
			v.Kind = expr.VerdictKind(int32(d.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = d.String()
		}
	}
	return v
}

func commentOf(r *nftables.Rule) string {
	c, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return c
}

// familyName is what nft calls a family.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return fmt.Sprint(f)
}

func (k nameKey) String() string {
	return familyName(k.table.family) + " " + k.table.name + " " + k.name
}

func addrOf(b []byte, v6 bool) (netip.Addr, bool) {
	n := 4
	if v6 {
		n = 16
	}
	if len(b) < n {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b[:n])
}
