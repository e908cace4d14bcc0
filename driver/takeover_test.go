package driver_test

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/store"
)

// Docker gives a network's pools back before it calls DeleteNetwork. When that
// call got lost, the next network in the subnet takes it over at once; but not
// while Docker has the pool, nor from a container that lives.
func TestSubnetOfALostDelete(t *testing.T) {
	for name, c := range map[string]struct {
		released, lives, taken bool
	}{
		"given back":        {true, false, true},
		"not given back":    {false, false, false},
		"given back, lives": {true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			d := w.start(t, store.Records{})
			must(t, d.CreateNetwork(t.Context(), network))
			w.sandboxes["/run/netns/a"] = c.lives
			attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
			if !c.lives {
				clear(w.links)
			}
			w.released = map[netip.Prefix]bool{network.Subnets[0].Prefix: c.released}
			again := network
			again.ID = "n2"
			again.Subnets = []store.Subnet{{Space: "s", Prefix: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.1")}}
			w.refreshed = 0
			err := d.CreateNetwork(t.Context(), again)
			if c.taken {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), "subnet 10.1.0.0/16: overlaps 10.1.0.0/24 of network n1") {
				t.Errorf("error %v, want what it overlaps", err)
			} else if w.refreshed != 1 {
				t.Error("no look at the engine was asked for")
			}
			left := d.Networks()
			if len(left) != 1 || (left[0].ID == "n2") != c.taken || len(d.Endpoints()) > 0 == c.taken {
				t.Errorf("left: %+v and %d endpoints", left, len(d.Endpoints()))
			}
		})
	}
}
