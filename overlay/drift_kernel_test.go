//go:build kernel

package overlay

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"fairway/link"
)

// Whatever somebody does to the entries is found, counted and repaired; what is
// somebody else's is left alone.
func TestDrift(t *testing.T) {
	l := newLab(t, 2, false, nil, false)
	h := l.hosts[0]
	c, far := h.attach(1), l.hosts[1].attach(2)
	mac, ip, ip6 := far.e.MAC, far.e.IPv4.Addr().String(), far.e.IPv6.Addr().String()
	for _, tc := range []struct {
		do   string
		want string // missing, wrong, strange; in the second pass for what is strange
	}{
		{"bridge fdb del " + mac + " dev fwx1 self", "1 0 0"},
		{"bridge fdb del " + mac + " dev fwx1 master", "1 0 0"},
		{"bridge fdb replace " + mac + " dev fwx1 self static dst 192.0.2.77", "0 1 0"},
		{"bridge fdb add 02:00:00:00:99:99 dev fwx1 self static dst 192.0.2.77", "0 0 1"},
		{"bridge fdb add 02:00:00:00:99:99 dev fwx1 master static", "0 0 1"},
		{"bridge fdb append 00:00:00:00:00:00 dev fwx1 self permanent dst 192.0.2.77", "0 0 1"},
		{"ip neigh del " + ip + " dev fwb1", "1 0 0"},
		{"ip neigh del " + ip6 + " dev fwb1", "1 0 0"},
		{"ip neigh replace " + ip + " lladdr 02:00:00:00:99:99 dev fwb1 nud permanent", "0 1 0"},
		{"ip neigh replace 10.40.7.7 lladdr 02:00:00:00:99:99 dev fwb1 nud permanent", "0 0 1"},
		{"ip neigh replace 192.0.2.50 lladdr 02:00:00:00:99:99 dev fwb1 nud permanent", "0 0 0"}, // an operator's
		{"ip neigh flush dev fwb1 nud permanent", "4 0 0"},
	} {
		h.do(func() {
			run(t, strings.Fields(tc.do)...)
			found, err := h.plane.Compare(t.Context(), testVNI)
			if err == nil && strings.HasSuffix(tc.want, "1") {
				if found.Total() != 0 {
					t.Errorf("%s: %+v in the first pass; want nothing, it may be of what is being attached", tc.do, found)
				}
				found, err = h.plane.Compare(t.Context(), testVNI)
			}
			if got := fmt.Sprint(found.Missing, found.Wrong, found.Strange); got != tc.want || err != nil {
				t.Errorf("%s: %s, %v; want %s", tc.do, got, err, tc.want)
			}
			for range 2 {
				if again, err := h.plane.Compare(t.Context(), testVNI); err != nil || again.Total() != 0 {
					t.Errorf("%s: %+v, %v after the repair", tc.do, again, err)
				}
			}
		})
		c.do(func() {
			for _, to := range far.ips() {
				if err := ping(to, 56); err != nil {
					t.Errorf("after %s: ping of %s: %v", tc.do, to, err)
				}
			}
		})
	}
	h.do(func() {
		if out := run(t, "ip", "neigh", "show", "192.0.2.50", "dev", "fwb1"); strings.Contains(out, "PERMANENT") {
			t.Errorf("the operator's own neighbour was flushed by the operator, and is there: %s", out)
		}
	})
	if s := h.plane.Status(); len(s) != 1 || s[0].Repaired != 14 || s[0].Records != 2 || len(s[0].Hosts) != 1 || s[0].Last.Total() != 0 {
		t.Errorf("%+v: want 14 entries repaired, 2 records of one host, nothing in the last pass", s)
	}
}

// A VXLAN that is gone or was changed is made again, and its entries are with it.
func TestLinkAgain(t *testing.T) {
	l := newLab(t, 2, false, nil, false)
	h := l.hosts[0]
	c, far := h.attach(1), l.hosts[1].attach(2)
	want := append(append(link.Set{}, h.network.Links()...), h.network.Attachment(c.e)...)
	for _, do := range []string{
		"ip link del fwx1", "ip link set fwx1 down", "ip link set fwx1 nomaster", "ip link set fwx1 mtu 1300",
		"ip link set fwx1 address 02:00:00:00:00:99", "bridge link set dev fwx1 learning on", "bridge link set dev fwx1 flood on",
		"bridge link set dev fwx1 neigh_suppress off", "bridge link set dev fwx1 isolated on", "ip link set fwx1 type vxlan id 8388615 local 192.0.2.99",
		"ip link set fwb1 down",
	} {
		h.do(func() {
			run(t, strings.Fields(do)...)
			repairs, err := h.conn.Reconcile(t.Context(), want)
			if err != nil || len(repairs) == 0 {
				t.Errorf("%s: repairs %v, %v", do, repairs, err)
			}
			if _, err := h.plane.Compare(t.Context(), testVNI); err != nil {
				t.Errorf("%s: %v", do, err)
			}
			if again, err := h.conn.Reconcile(t.Context(), want); err != nil || len(again) > 0 {
				t.Errorf("%s: repairs %v, %v after the repair", do, again, err)
			}
			if again, err := h.plane.Compare(t.Context(), testVNI); err != nil || again.Total() > 0 {
				t.Errorf("%s: drift %+v, %v after the repair", do, again, err)
			}
		})
		c.do(func() {
			for _, to := range far.ips() {
				if err := ping(to, 56); err != nil {
					t.Errorf("after %s: ping of %s: %v", do, to, err)
				}
			}
		})
	}
	// What comes while the VXLAN isn't there is written when it is.
	h.do(func() {
		run(t, "ip", "link", "del", "fwx1")
		run(t, "nft", "flush", "ruleset")
		late := Record{ID: "late", MAC: link.MAC(link.RandomMAC()), IPs: []netip.Addr{netip.MustParseAddr("10.40.9.9")}, Host: l.hosts[1].addr, Revision: 900}
		must(t, h.plane.Put(t.Context(), testVNI, late))
		_, err := h.conn.Reconcile(t.Context(), want)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			if err := netns.Set(h.ns); err != nil {
				panic(err)
			}
			ended <- h.plane.Run(ctx)
		}()
		h.plane.Wake()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			there := strings.Contains(run(t, "bridge", "fdb", "show", "dev", "fwx1"), late.MAC.String()+" dst "+l.hosts[1].addr.String())
			if there && strings.Contains(run(t, "nft", "list", "tables"), tableName) {
				break
			}
		}
		cancel()
		must(t, <-ended)
		if d, err := h.plane.Compare(t.Context(), testVNI); err != nil || d.Total() > 0 || d.Entries != 8 {
			t.Errorf("%+v, %v: want 3 MAC addresses and 5 IP addresses, all there", d, err)
		}
		if r, err := h.filter.Repair(t.Context()); err != nil || len(r) > 0 {
			t.Errorf("repaired %v, %v; want nothing: Run has", r, err)
		}
	})
	// With the network, all goes.
	h.do(func() {
		must(t, h.plane.Close(t.Context(), testVNI))
		must(t, h.conn.Remove(t.Context(), want))
		must(t, h.conn.Quiesce(t.Context()))
		if out := run(t, "ip", "-o", "link"); strings.Contains(out, "fw") {
			t.Errorf("left behind: %s", out)
		}
		if out := run(t, "nft", "list", "tables"); strings.Contains(out, tableName) {
			t.Errorf("left behind: %s", out)
		}
	})
}
