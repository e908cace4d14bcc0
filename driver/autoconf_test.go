package driver_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"fairway/driver"
	"fairway/link"
	"fairway/store"
)

// A router is a LAN whose containers make themselves one address, once Docker is
// done with them: when they were looked at three times.
type router struct {
	mu     sync.Mutex
	looked map[string]int // sandbox → how often
}

func (r *router) Autoconfigure(_ context.Context, attached link.Set) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked[attached[0].(link.Macvlan).Sandbox]++
	return r.looked[attached[0].(link.Macvlan).Sandbox] >= 3, nil
}

func (r *router) Autoconfigured(_ context.Context, attached link.Set) ([]netip.Prefix, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looked[attached[0].(link.Macvlan).Sandbox] < 3 {
		return nil, nil
	}
	return []netip.Prefix{netip.MustParsePrefix("2001:db8::9/64")}, nil
}

// TestAutoconf: what ipv6_mode=slaac asks for is turned on behind Join, and by the
// next daemon where this one didn't come to it; other networks' containers are
// left alone.
func TestAutoconf(t *testing.T) {
	w := newWorld()
	r := &router{looked: map[string]int{}}
	w.autoconf, w.links["eth1"], w.sandboxes["/s1"], w.sandboxes["/s2"] = r, true, true, true
	d := w.start(t, store.Records{})
	slaac, plain := onLAN("n1", "eth1", "10.1.0.0/24"), onLAN("n2", "eth1", "10.2.0.0/24")
	slaac.Options["ipv6_mode"] = "slaac"
	for i, n := range []driver.NetworkSpec{slaac, plain} {
		must(t, d.CreateNetwork(t.Context(), n))
		id, ip, box := []string{"e1", "e2"}[i], []string{"10.1.0.2/24", "10.2.0.2/24"}[i], []string{"/s1", "/s2"}[i]
		_, err := d.CreateEndpoint(t.Context(), onNetwork(id, n.ID, ip))
		must(t, err)
		_, err = d.Join(t.Context(), n.ID, id, box)
		must(t, err)
	}
	running(t, d, func() {
		for range 500 {
			if len(d.Autoconfigured(t.Context())["e1"]) == 1 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := d.Autoconfigured(t.Context()); len(got) != 1 || len(got["e1"]) != 1 {
			t.Errorf("made of advertisements: %v, want an address of e1", got)
		}
	})
	if r.looked["/s2"] != 0 {
		t.Error("a container of another network was looked at")
	}
	before := r.looked["/s1"]
	must(t, d.Restore(t.Context()))
	running(t, d, func() {
		for range 500 {
			r.mu.Lock()
			again := r.looked["/s1"] > before
			r.mu.Unlock()
			if again {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("the next daemon doesn't look")
	})
}

// running calls do while the driver runs.
func running(t *testing.T, d *driver.Driver, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	do()
	cancel()
	must(t, <-ran)
}
