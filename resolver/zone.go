package resolver

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// A Record is an endpoint of a segment with its names: the container's own first,
// then its aliases.
type Record struct {
	ID    string
	Names []string // as cluster.Names has them: what DNS has a place for, in lower case
	IPs   []netip.Addr
}

// A zone is the names of one segment. Its methods may be called concurrently.
type zone struct {
	segment string // its name, lower-case
	// shared: the segment's name is a top-level domain of the Internet, too, so that
	// names below it may exist elsewhere.
	shared bool

	mu      sync.RWMutex
	records map[string]Record          // by ID
	holders map[string]map[string]bool // name → IDs
	byIP    map[netip.Addr]string      // → the name of who has it
	turn    uint                       // of the holders of a name: who comes first
}

func newZone(segment string) *zone {
	z := &zone{
		segment: strings.ToLower(segment), records: map[string]Record{},
		holders: map[string]map[string]bool{}, byIP: map[netip.Addr]string{},
	}
	suffix, listed := publicsuffix.PublicSuffix("x." + z.segment)
	z.shared = listed && suffix == z.segment
	return z
}

// put takes a record in place of the one of the same ID.
func (z *zone) put(r Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.drop(r.ID)
	z.records[r.ID] = r
	for _, n := range r.Names {
		if z.holders[n] == nil {
			z.holders[n] = map[string]bool{}
		}
		z.holders[n][r.ID] = true
	}
	if len(r.Names) > 0 {
		for _, ip := range r.IPs {
			z.byIP[ip] = r.Names[0]
		}
	}
}

func (z *zone) remove(id string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.drop(id)
}

// drop forgets a record. The caller holds z.mu.
func (z *zone) drop(id string) {
	r, ok := z.records[id]
	if !ok {
		return
	}
	delete(z.records, id)
	for _, n := range r.Names {
		if delete(z.holders[n], id); len(z.holders[n]) == 0 {
			delete(z.holders, n)
		}
	}
	for _, ip := range r.IPs {
		if len(r.Names) > 0 && z.byIP[ip] == r.Names[0] {
			delete(z.byIP, ip)
		}
	}
}

// replace takes records in place of all whose IDs were, and are, of those that
// which says.
func (z *zone) replace(which func(id string) bool, all []Record) {
	z.mu.RLock()
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(z.records)), func(id string) bool { return !which(id) })
	z.mu.RUnlock()
	keep := make(map[string]bool, len(all))
	for _, r := range all {
		keep[r.ID] = true
	}
	for _, id := range gone {
		if !keep[id] {
			z.remove(id)
		}
	}
	for _, r := range all {
		z.put(r)
	}
}

// A meaning is what a name is in a zone.
type meaning int

const (
	foreign meaning = iota // nothing: somebody else may know it
	missing                // a name of the zone that nobody has
	present
)

// lookUp returns the addresses of a name, of all who have it, each time with
// another one first; and the apex of what the name is in: "" for a name on its
// own. The name is lower-case, without a dot at its end.
func (z *zone) lookUp(name string) (ips []netip.Addr, apex string, m meaning) {
	z.mu.Lock()
	defer z.mu.Unlock()
	ids, ok := z.holders[name]
	if !ok {
		host, within := strings.CutSuffix(name, "."+z.segment)
		if !within {
			return nil, "", foreign
		}
		apex = z.segment
		if ids, ok = z.holders[host]; !ok && z.shared {
			return nil, "", foreign
		} else if !ok {
			return nil, apex, missing
		}
	}
	for id := range ids {
		ips = append(ips, z.records[id].IPs...)
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	ips = slices.Compact(ips)
	z.turn++
	return ips, apex, present
}

// rotate returns ips of one family, beginning with another one each time.
func (z *zone) rotate(ips []netip.Addr, v6 bool) []netip.Addr {
	of := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return ip.Is6() != v6 })
	if len(of) == 0 {
		return nil
	}
	z.mu.RLock()
	first := int(z.turn % uint(len(of)))
	z.mu.RUnlock()
	return slices.Concat(of[first:], of[:first])
}

// nameOf returns the name of who has an address, below the segment's; "" if nobody
// does.
func (z *zone) nameOf(ip netip.Addr) string {
	z.mu.RLock()
	defer z.mu.RUnlock()
	if n := z.byIP[ip]; n != "" {
		return n + "." + z.segment
	}
	return ""
}
