//go:build kernel

package overlay

import (
	"net/netip"
	"testing"

	"fairway/link"
)

// A host gets another address on the underlay while containers run: the records of
// its endpoints are as old as before, and the others follow.
func TestHostAddress(t *testing.T) {
	l := newLab(t, 2, false, map[string]string{"multicast": "true"}, false)
	a, b := l.hosts[0], l.hosts[1]
	c, far := a.attach(1), b.attach(2)
	old := b.addr
	records := []Record{b.own(), far.asRecord(*b.revision)}
	b.addr = netip.MustParseAddr("192.0.2.50")
	b.do(func() {
		run(t, "ip", "address", "del", old.String()+"/24", "dev", "eth0")
		run(t, "ip", "address", "add", "192.0.2.50/24", "dev", "eth0")
		host := b.network.host
		host.Local = b.addr
		var err error
		b.network, err = New(host, b.record)
		must(t, err)
		must(t, b.conn.Apply(t.Context(), append(append(link.Set{}, b.network.Links()...), b.network.Attachment(far.e)...)))
		must(t, b.plane.Open(t.Context(), b.network.Segment()))
	})
	a.do(func() {
		for i := range records {
			records[i].Host = b.addr
		}
		must(t, a.plane.Set(t.Context(), testVNI, records, 1000))
		for range 2 {
			if d, err := a.plane.Compare(t.Context(), testVNI); err != nil || d.Total() > 0 {
				t.Errorf("%+v, %v after it", d, err)
			}
		}
		if s := a.plane.Status(); len(s) != 1 || len(s[0].Hosts) != 1 || s[0].Hosts[0] != b.addr {
			t.Errorf("%+v: want its new address alone", s)
		}
	})
	want(t, "the containers reach each other", func() (ok bool) {
		c.do(func() { ok = ping(far.ips()[0], 56) == nil && ping(far.ips()[1], 56) == nil })
		return ok
	})
	far.do(func() {
		for _, ip := range c.ips() {
			if err := ping(ip, 56); err != nil {
				t.Errorf("ping of %s: %v", ip, err)
			}
		}
	})
}
