package overlay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairway/link"
)

func seg() Segment {
	return Segment{
		VNI: FirstVNI + 1, Port: DefaultPort, Local: netip.MustParseAddr("192.0.2.1"),
		Subnets:  []netip.Prefix{netip.MustParsePrefix("10.40.0.0/16"), netip.MustParsePrefix("fd00:40::/64")},
		Reserved: []netip.Addr{netip.MustParseAddr("10.40.0.1"), netip.MustParseAddr("10.40.3.1")},
	}
}

// What other hosts say is checked like any input.
func TestRecordRefusals(t *testing.T) {
	good := Record{ID: "e1", MAC: link.MAC{2, 0, 0, 0, 0, 1}, IPs: []netip.Addr{netip.MustParseAddr("10.40.0.9")}, Host: netip.MustParseAddr("192.0.2.2"), Revision: 1}
	if err := seg().check(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Record){
		"want an ID":                       func(r *Record) { r.ID = "" },
		"at most 128 bytes":                func(r *Record) { r.ID = strings.Repeat("x", 129) },
		"MAC address 00:00:00:00:00:00":    func(r *Record) { r.MAC = link.MAC{} },
		"MAC address 33:33:00:00:00:01":    func(r *Record) { r.MAC = link.MAC{0x33, 0x33, 0, 0, 0, 1} },
		"is the gateway's":                 func(r *Record) { r.MAC = link.MAC(GatewayMAC(FirstVNI + 1)) },
		"host 2001:db8::2":                 func(r *Record) { r.Host = netip.MustParseAddr("2001:db8::2") },
		"host 224.0.0.1":                   func(r *Record) { r.Host = netip.MustParseAddr("224.0.0.1") },
		"host 0.0.0.0":                     func(r *Record) { r.Host = netip.MustParseAddr("0.0.0.0") },
		"host invalid IP":                  func(r *Record) { r.Host = netip.Addr{} },
		"host 192.0.2.1: is this host":     func(r *Record) { r.Host = netip.MustParseAddr("192.0.2.1") },
		"address 10.41.0.1":                func(r *Record) { r.IPs = []netip.Addr{netip.MustParseAddr("10.41.0.1")} },
		"address 10.40.0.1":                func(r *Record) { r.IPs = []netip.Addr{netip.MustParseAddr("10.40.0.1")} },
		"address 10.40.3.1":                func(r *Record) { r.IPs = []netip.Addr{netip.MustParseAddr("10.40.3.1")} },
		"3 addresses":                      func(r *Record) { r.IPs = slices.Repeat(r.IPs, 3) },
		"address fe80::1":                  func(r *Record) { r.IPs = []netip.Addr{netip.MustParseAddr("fe80::1")} },
		"address invalid IP: want one of ": func(r *Record) { r.IPs = []netip.Addr{{}} },
	} {
		r := good
		change(&r)
		if err := seg().check(r); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}

// kernel is what the entries are after the changes.
type kernel struct {
	macs map[link.MAC]netip.Addr
	ips  map[netip.Addr]link.MAC
}

func (k kernel) apply(t *testing.T, c change, local map[link.MAC]string) {
	for _, m := range c.putMACs {
		k.macs[m.MAC] = m.Host
	}
	for _, n := range c.putIPs {
		if _, ok := k.macs[n.MAC]; !ok && local[n.MAC] == "" {
			t.Fatalf("%s is answered with %s, which leads nowhere", n.IP, n.MAC)
		}
		k.ips[n.IP] = n.MAC
	}
	for _, ip := range c.dropIPs {
		delete(k.ips, ip)
	}
	for _, m := range c.dropMACs {
		delete(k.macs, m)
	}
}

// The entries follow the records whatever the order in which news comes: those of
// the newest records, as if there had been nothing else. News may come late,
// twice, and out of order.
func TestTable(t *testing.T) {
	const steps = 5_000
	rnd := rand.New(rand.NewPCG(1, 2))
	tab, k := newTable(seg()), kernel{map[link.MAC]netip.Addr{}, map[netip.Addr]link.MAC{}}
	// The truth: what was said of each endpoint last, at which revision.
	type truth struct {
		Record
		gone bool
	}
	said := map[string]truth{}
	local := map[string]Local{}
	ip := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 40, 1, byte(rnd.IntN(12))}) }
	mac := func() link.MAC { return link.MAC{2, 0, 0, 0, 0, byte(rnd.IntN(12))} }
	revision := int64(0)
	var log []truth // all news, to be repeated late
	for step := range steps {
		var touched keys
		switch what := rnd.IntN(20); {
		case what < 8:
			revision++
			n := truth{Record{fmt.Sprint(rnd.IntN(15)), mac(), []netip.Addr{ip()}, netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + rnd.IntN(4))}), revision}, false}
			said[n.ID], log = n, append(log, n)
			tab.put(n.Record, &touched)
		case what < 12:
			revision++
			n := truth{Record{ID: fmt.Sprint(rnd.IntN(15)), Revision: revision}, true}
			said[n.ID], log = n, append(log, n)
			tab.remove(n.ID, revision, &touched)
		case what < 16 && len(log) > 0: // an old one again
			if n := log[rnd.IntN(len(log))]; n.gone {
				tab.remove(n.ID, n.Revision, &touched)
			} else {
				tab.put(n.Record, &touched)
			}
		case what < 18:
			l := Local{fmt.Sprint("l", rnd.IntN(3)), mac(), []netip.Addr{ip()}}
			if rnd.IntN(2) == 0 {
				tab.detach(l.ID, &touched)
				delete(local, l.ID)
				break
			}
			if slices.ContainsFunc(slices.Collect(maps.Values(local)), func(o Local) bool { return o.ID != l.ID && (o.MAC == l.MAC || o.IPs[0] == l.IPs[0]) }) {
				break // the host gives no address twice
			}
			tab.attach(l, &touched)
			local[l.ID] = l
		default: // all of it, perhaps as of some time ago
			at := revision - int64(rnd.IntN(3))
			then := map[string]truth{}
			for _, n := range log {
				if n.Revision <= at {
					if old, ok := then[n.ID]; !ok || n.Revision > old.Revision {
						then[n.ID] = n
					}
				}
			}
			var all []Record
			for _, n := range then {
				if !n.gone {
					all = append(all, n.Record)
				}
			}
			tab.set(all, at, &touched)
			if rnd.IntN(10) == 0 { // and as of now, in a store that counts anew
				all = slices.DeleteFunc(all, func(r Record) bool { return said[r.ID].Revision > at })
				for id, n := range said {
					if !n.gone && n.Revision > at {
						all = append(all, said[id].Record)
					}
				}
				tab.replace(all, revision, &touched)
			}
		}
		k.apply(t, tab.difference(touched), tab.localMAC)
		want := kernel{map[link.MAC]netip.Addr{}, map[netip.Addr]link.MAC{}}
		newest := map[any]int64{}
		for _, n := range said {
			if n.gone {
				continue
			}
			if n.Revision > newest[n.MAC] {
				newest[n.MAC], want.macs[n.MAC] = n.Revision, n.Host
			}
			if n.Revision > newest[n.IPs[0]] {
				newest[n.IPs[0]], want.ips[n.IPs[0]] = n.Revision, n.MAC
			}
		}
		for _, l := range local {
			delete(want.macs, l.MAC)
			delete(want.ips, l.IPs[0])
		}
		// The neighbour of a local endpoint is written with its link.
		for _, l := range local {
			delete(k.ips, l.IPs[0])
		}
		if !reflect.DeepEqual(k, want) {
			t.Fatalf("step %d:\n have %v\n want %v", step, k, want)
		}
	}
	if len(tab.hosts) > 4 || len(tab.dead) > 15 {
		t.Errorf("%d hosts, %d removals remembered", len(tab.hosts), len(tab.dead))
	}
}

// A host with another address has the same endpoints, of the same revisions.
func TestAnotherAddress(t *testing.T) {
	tab := newTable(seg())
	r := Record{ID: "b/e1", MAC: link.MAC{2, 0, 0, 0, 0, 1}, IPs: []netip.Addr{netip.MustParseAddr("10.40.0.9")}, Host: netip.MustParseAddr("192.0.2.2"), Revision: 7}
	take := func(do func(k *keys)) change {
		var k keys
		do(&k)
		return tab.difference(k)
	}
	take(func(k *keys) { tab.set([]Record{r}, 7, k) })
	moved := r
	moved.Host = netip.MustParseAddr("192.0.2.50")
	c := take(func(k *keys) { tab.set([]Record{moved}, 8, k) })
	if len(c.putMACs) != 1 || c.putMACs[0].Host != moved.Host || len(c.dropMACs) != 0 || tab.hosts[moved.Host] != 1 || tab.hosts[r.Host] != 0 {
		t.Errorf("%+v, hosts %v: want the MAC address behind %s", c, tab.hosts, moved.Host)
	}
	r.Revision = 6
	if c := take(func(k *keys) { tab.put(r, k) }); len(c.putMACs) != 0 {
		t.Errorf("%+v: an older record is taken", c)
	}
}
