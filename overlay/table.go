package overlay

import (
	"net/netip"
	"slices"

	"fairway/link"
)

// A table is what is known of one segment, and what of it was written to the
// kernel. It touches nothing; its caller has the lock.
type table struct {
	seg     Segment
	records map[string]Record
	floor   int64            // revision of the last whole set
	dead    map[string]int64 // what was removed since, at which revision
	byIP    map[netip.Addr][]string
	byMAC   map[link.MAC][]string
	hosts   map[netip.Addr]int // how many records each has

	local    map[string]Local
	localIP  map[netip.Addr]string
	localMAC map[link.MAC]string

	// As written. The numbers are of the pass that saw an entry, or during which
	// it was written.
	macs   map[link.MAC]*writtenMAC
	ips    map[netip.Addr]*writtenIP
	floods map[netip.Addr]*writtenHost // that get what is for many
	before map[netip.Addr]link.MAC     // of addresses that are gone: who had them last
	pass   uint32
}

type writtenMAC struct {
	host                  netip.Addr
	vxlan, bridge, change uint32
}

type writtenHost struct{ seen, change uint32 }

type writtenIP struct {
	mac          link.MAC
	seen, change uint32
}

func newTable(seg Segment) *table {
	return &table{
		seg: seg, records: map[string]Record{}, dead: map[string]int64{},
		byIP: map[netip.Addr][]string{}, byMAC: map[link.MAC][]string{}, hosts: map[netip.Addr]int{},
		local: map[string]Local{}, localIP: map[netip.Addr]string{}, localMAC: map[link.MAC]string{},
		macs: map[link.MAC]*writtenMAC{}, ips: map[netip.Addr]*writtenIP{}, floods: map[netip.Addr]*writtenHost{}, before: map[netip.Addr]link.MAC{},
	}
}

// keys are what a change may have to do with.
type keys struct {
	macs   []link.MAC
	ips    []netip.Addr
	floods []netip.Addr
}

func (k *keys) add(mac link.MAC, ips []netip.Addr) {
	k.macs, k.ips = append(k.macs, mac), append(k.ips, ips...)
}

// put takes a record, unless it knows a newer one, or that it was removed since. One
// whose host has another address now is of the same revision: it is the host's record
// that was changed.
func (t *table) put(r Record, k *keys) (taken bool) {
	old, there := t.records[r.ID]
	switch {
	case there && (r.Revision < old.Revision || r.Revision == old.Revision && r.Host == old.Host), !there && (r.Revision <= t.floor || r.Revision <= t.dead[r.ID]):
		return false
	case there:
		t.unlink(old, k)
	}
	delete(t.dead, r.ID)
	t.records[r.ID] = r
	t.byMAC[r.MAC] = append(t.byMAC[r.MAC], r.ID)
	for _, ip := range r.IPs {
		t.byIP[ip] = append(t.byIP[ip], r.ID)
	}
	t.hosts[r.Host]++
	k.add(r.MAC, r.IPs)
	return true
}

// remove forgets a record, unless it is newer than the removal.
func (t *table) remove(id string, revision int64, k *keys) {
	const most = 1 << 16 // that need be remembered one by one
	old, there := t.records[id]
	if there && old.Revision > revision {
		return
	}
	if t.dead[id] = max(t.dead[id], revision); len(t.dead) > most {
		for _, at := range t.dead {
			t.floor = max(t.floor, at)
		}
		clear(t.dead)
	}
	if there {
		t.unlink(old, k)
	}
}

// replace makes the records all that there are, whatever is known.
func (t *table) replace(records []Record, revision int64, k *keys) {
	for _, r := range t.records {
		t.unlink(r, k)
	}
	clear(t.dead)
	t.floor = 0
	t.set(records, revision, k)
}

// set makes the records all that there are at a revision; what is newer stays. An
// older set than the last says nothing.
func (t *table) set(records []Record, revision int64, k *keys) {
	if revision < t.floor {
		return
	}
	keep := map[string]bool{}
	for _, r := range records {
		keep[r.ID] = true
	}
	for id, r := range t.records {
		if !keep[id] && r.Revision <= revision {
			t.unlink(r, k)
		}
	}
	t.floor = 0 // these are older, and there
	for _, r := range records {
		t.put(r, k)
	}
	t.floor = revision
	for id, at := range t.dead {
		if at <= revision {
			delete(t.dead, id)
		}
	}
}

// unlink takes a record out of the maps.
func (t *table) unlink(r Record, k *keys) {
	delete(t.records, r.ID)
	less(t.byMAC, r.MAC, r.ID)
	for _, ip := range r.IPs {
		less(t.byIP, ip, r.ID)
	}
	if t.hosts[r.Host]--; t.hosts[r.Host] == 0 {
		delete(t.hosts, r.Host)
	}
	k.add(r.MAC, r.IPs)
}

func less[K comparable](m map[K][]string, key K, id string) {
	if left := slices.DeleteFunc(m[key], func(s string) bool { return s == id }); len(left) > 0 {
		m[key] = left
	} else {
		delete(m, key)
	}
}

// attach takes an endpoint of this host; detach forgets it.
func (t *table) attach(l Local, k *keys) {
	t.detach(l.ID, k)
	t.local[l.ID] = l
	t.localMAC[l.MAC] = l.ID
	for _, ip := range l.IPs {
		t.localIP[ip] = l.ID
	}
	k.add(l.MAC, l.IPs)
}

func (t *table) detach(id string, k *keys) {
	l, ok := t.local[id]
	if !ok {
		return
	}
	delete(t.local, id)
	if t.localMAC[l.MAC] == id {
		delete(t.localMAC, l.MAC)
	}
	for _, ip := range l.IPs {
		if t.localIP[ip] == id {
			delete(t.localIP, ip)
		}
	}
	k.add(l.MAC, l.IPs)
}

// newest returns the record that was written last, of those with these IDs.
func (t *table) newest(ids []string) (r Record, ok bool) {
	for _, id := range ids {
		if c := t.records[id]; !ok || c.Revision > r.Revision {
			r, ok = c, true
		}
	}
	return r, ok
}

// A change is what is to be written.
type change struct {
	putMACs  []link.RemoteMAC
	putIPs   []link.RemoteIP
	dropIPs  []netip.Addr
	dropMACs []link.MAC
	// Hosts that get what is for many, and don't any more.
	putFloods, dropFloods []netip.Addr
	announce              []link.RemoteIP // those who had the address before may be remembered
}

// difference returns what has to be written of some keys. An address of this
// host's is written with its link, which takes the place of any entry.
func (t *table) difference(k keys) (c change) {
	for _, m := range k.macs {
		r, want := t.newest(t.byMAC[m])
		if _, here := t.localMAC[m]; here {
			want = false
		}
		have := t.macs[m]
		switch {
		case want && (have == nil || have.host != r.Host):
			c.putMACs = append(c.putMACs, link.RemoteMAC{MAC: m, Host: r.Host})
			t.macs[m] = &writtenMAC{r.Host, t.pass, t.pass, t.pass}
		case !want && have != nil:
			c.dropMACs = append(c.dropMACs, m)
			delete(t.macs, m)
		}
	}
	for _, ip := range k.ips {
		t.differenceIP(ip, &c)
	}
	t.differenceHosts(&c)
	return c
}

// differenceHosts is who is to get what is for many: each host with a record.
func (t *table) differenceHosts(c *change) {
	for h := range t.hosts {
		if t.floods[h] == nil && t.seg.Multicast {
			t.floods[h] = &writtenHost{t.pass, t.pass}
			c.putFloods = append(c.putFloods, h)
		}
	}
	for h := range t.floods {
		if t.hosts[h] == 0 || !t.seg.Multicast {
			delete(t.floods, h)
			c.dropFloods = append(c.dropFloods, h)
		}
	}
}

func (t *table) differenceIP(ip netip.Addr, c *change) {
	const most = 1 << 14 // addresses that are remembered
	r, want := t.newest(t.byIP[ip])
	mac := r.MAC
	id, here := t.localIP[ip]
	if here {
		want, mac = false, t.local[id].MAC
	}
	have := t.ips[ip]
	last, known := t.before[ip]
	if have != nil {
		last, known = have.mac, true
	}
	if (want || here) && known && last != mac {
		c.announce = append(c.announce, link.RemoteIP{IP: ip, MAC: mac})
	}
	switch {
	case want && (have == nil || have.mac != mac):
		c.putIPs = append(c.putIPs, link.RemoteIP{IP: ip, MAC: mac})
		t.ips[ip] = &writtenIP{mac, t.pass, t.pass}
	case !want && have != nil:
		delete(t.ips, ip)
		if !here {
			c.dropIPs = append(c.dropIPs, ip)
		}
	}
	if len(t.before) >= most {
		clear(t.before)
	}
	switch {
	case want:
		delete(t.before, ip) // it is in ips
	case here:
		t.before[ip] = mac
	case known:
		t.before[ip] = last
	}
}

// written are all entries, to be written anew.
func (t *table) written() (c change) {
	for m, w := range t.macs {
		c.putMACs = append(c.putMACs, link.RemoteMAC{MAC: m, Host: w.host})
		w.vxlan, w.bridge, w.change = t.pass, t.pass, t.pass
	}
	for ip, w := range t.ips {
		c.putIPs = append(c.putIPs, link.RemoteIP{IP: ip, MAC: w.mac})
		w.seen, w.change = t.pass, t.pass
	}
	for h, w := range t.floods {
		c.putFloods = append(c.putFloods, h)
		w.seen, w.change = t.pass, t.pass
	}
	return c
}
