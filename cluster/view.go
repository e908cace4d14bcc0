package cluster

import (
	"net/netip"
	"time"

	"fairway/store"
)

// A Remote is an endpoint of a host of the cluster as the others see it.
type Remote struct {
	Endpoint
	Host     string
	Underlay netip.Addr // the host's advertise address; invalid while its record isn't there
	Created  int64      // etcd's revision at which it was made: the older of two claims counts
	Revision int64      // and at which it was changed last: the newer of two versions counts
}

// A view is what a host knows of etcd: all entries by key, and what the good ones
// mean. It isn't safe for concurrent use.
type view struct {
	entries map[string]store.ClusterEntry
	gone    tombstones

	hosts     map[string]Host
	alive     map[string]bool
	segments  map[string]Segment
	members   map[string]map[string]bool             // of a segment: hosts
	endpoints map[string]map[string]Remote           // of a segment: by HOST/ID; without Underlay
	blocks    map[string]map[netip.Prefix]string     // of a segment: hosts
	claims    map[string]map[netip.Addr]string       // of a segment: hosts
	wants     map[string]map[netip.Addr]owner        // of a segment: who asks
	blockOf   map[string]map[netip.Addr]netip.Prefix // of a segment: the block of each claim

	named      map[string]bool // networks that have a record, good or not
	networks   map[string]Network
	networksOn map[string]map[string]NetworkReport // of a network: by host
}

// newView returns an empty view. What it is told may be late, but by less than
// late.
func newView(late time.Duration) *view {
	return &view{
		entries: map[string]store.ClusterEntry{}, gone: tombstones{keep: late},
		hosts: map[string]Host{}, alive: map[string]bool{}, segments: map[string]Segment{},
		members: map[string]map[string]bool{}, endpoints: map[string]map[string]Remote{},
		blocks: map[string]map[netip.Prefix]string{}, claims: map[string]map[netip.Addr]string{},
		wants: map[string]map[netip.Addr]owner{}, blockOf: map[string]map[netip.Addr]netip.Prefix{},
		named: map[string]bool{}, networks: map[string]Network{}, networksOn: map[string]map[string]NetworkReport{},
	}
}

// put takes an entry, unless the view has a newer version. An entry that isn't
// good is an error, and means nothing; what the key meant before is forgotten.
func (v *view) put(e store.ClusterEntry) (p path, changed bool, err error) {
	if old, ok := v.entries[e.Key]; ok && old.Revision > e.Revision || v.gone.at(e.Key) > e.Revision {
		return p, false, nil
	} else if ok && old.Revision == e.Revision && e.Revision != 0 {
		return p, false, nil
	}
	p, err = parseKey(e.Key)
	if err != nil {
		return p, false, err
	}
	v.entries[e.Key] = e
	v.gone.remove(e.Key)
	if p.kind == kindNetwork {
		v.named[p.id] = true
	}
	if err = v.mean(p, e); err != nil {
		v.unmean(p)
	}
	return p, true, err
}

// drop forgets a key that was deleted at a revision.
func (v *view) drop(key string, revision int64) (p path, changed bool) {
	old, ok := v.entries[key]
	if !ok || old.Revision > revision {
		return p, false
	}
	p, err := parseKey(key)
	if err != nil {
		return p, false
	}
	delete(v.entries, key)
	if p.kind == kindNetwork {
		delete(v.named, p.id)
	}
	v.unmean(p)
	return p, true
}

// forget makes room for an older entry of a key: etcd was restored. What the key
// means stays until then.
func (v *view) forget(key string) {
	if e, ok := v.entries[key]; ok {
		e.Created, e.Revision = 0, 0
		v.entries[key] = e
	}
}

// mean makes of an entry what it says.
func (v *view) mean(p path, e store.ClusterEntry) error {
	switch p.kind {
	case kindHost:
		h, err := parse[Host](e.Value)
		if err != nil {
			return err
		}
		h.Name = p.host
		v.hosts[p.host] = h
	case kindAlive:
		v.alive[p.host] = true
	case kindSegment:
		s, err := parse[Segment](e.Value)
		if err != nil {
			return err
		}
		s.Name, s.raw = p.segment, e.Value
		v.segments[p.segment] = s
	case kindMember:
		at(v.members, p.segment)[p.host] = true
	case kindNetwork:
		n, err := parse[Network](e.Value)
		if err != nil {
			return err
		}
		n.Name = p.id
		v.networks[p.id] = n
	case kindNetworkOn:
		r, err := parse[NetworkReport](e.Value)
		if err != nil {
			return err
		}
		at(v.networksOn, p.id)[p.host] = r
	case kindEndpoint:
		r, err := parse[Endpoint](e.Value)
		if err != nil {
			return err
		}
		r.ID, r.Names = p.id, Names(r.Names)
		at(v.endpoints, p.segment)[p.host+"/"+p.id] = Remote{Endpoint: r, Host: p.host, Created: e.Created, Revision: e.Revision}
	case kindBlock, kindClaim, kindWant:
		o, err := parse[owner](e.Value)
		if err != nil {
			return err
		}
		switch p.kind {
		case kindBlock:
			at(v.blocks, p.segment)[p.block] = o.Host
		case kindClaim:
			at(v.claims, p.segment)[p.ip] = o.Host
			at(v.blockOf, p.segment)[p.ip] = p.block
		default:
			at(v.wants, p.segment)[p.ip] = o
		}
	}
	return nil
}

// unmean forgets what a key said.
func (v *view) unmean(p path) {
	switch p.kind {
	case kindHost:
		delete(v.hosts, p.host)
	case kindAlive:
		delete(v.alive, p.host)
	case kindSegment:
		delete(v.segments, p.segment)
	case kindMember:
		delete(v.members[p.segment], p.host)
	case kindNetwork:
		delete(v.networks, p.id)
	case kindNetworkOn:
		delete(v.networksOn[p.id], p.host)
	case kindEndpoint:
		delete(v.endpoints[p.segment], p.host+"/"+p.id)
	case kindBlock:
		delete(v.blocks[p.segment], p.block)
	case kindClaim:
		delete(v.claims[p.segment], p.ip)
		delete(v.blockOf[p.segment], p.ip)
	case kindWant:
		delete(v.wants[p.segment], p.ip)
	}
}

// at returns the map of a segment, made if there is none.
func at[K comparable, V any](all map[string]map[K]V, segment string) map[K]V {
	if all[segment] == nil {
		all[segment] = map[K]V{}
	}
	return all[segment]
}

// remote returns an endpoint with the address that its host has now.
func (v *view) remote(r Remote) Remote {
	r.Underlay = v.hosts[r.Host].Advertise
	return r
}
