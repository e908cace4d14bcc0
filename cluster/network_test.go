package cluster

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairway/store"
)

func aNetwork() Network {
	return Network{
		Name: "backbone", Segment: "bone", Options: map[string]string{"mtu": "1400"}, Labels: map[string]string{"tier": "1"},
		Pools: []Pool{
			{Subnet: netip.MustParsePrefix("10.40.0.0/16"), Gateway: netip.MustParseAddr("10.40.0.9")},
			{Subnet: netip.MustParsePrefix("fd00:40::/64")},
		},
	}
}

func TestNetworkRefusals(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for says, change := range map[string]func(*Network){
		`network name ""`:                      func(n *Network) { n.Name = "" },
		`network name "../x"`:                  func(n *Network) { n.Name = "../x" },
		`network name "host": is one of Do`:    func(n *Network) { n.Name = "host" },
		`segment name "a/b"`:                   func(n *Network) { n.Segment = "a/b" },
		"subnet 10.40.0.1/16":                  func(n *Network) { n.Pools[0].Subnet = prefix("10.40.0.1/16") },
		"subnet 0.0.0.0/0":                     func(n *Network) { n.Pools[0].Subnet = prefix("0.0.0.0/0") },
		"subnet invalid Prefix":                func(n *Network) { n.Pools[0].Subnet = netip.Prefix{} },
		"gateway 10.41.0.1: want an":           func(n *Network) { n.Pools[0].Gateway = addr("10.41.0.1") },
		"2 subnets: want at most one":          func(n *Network) { n.Pools[1].Subnet = prefix("10.41.0.0/16") },
		"3 subnets: want at most one":          func(n *Network) { n.Pools = append(n.Pools, n.Pools...)[:3] },
		`host name "a b"`:                      func(n *Network) { n.Hosts = []string{"a b"} },
		`option mode="overlay": leave it out`:  func(n *Network) { n.Options["mode"] = "overlay" },
		`option segment="x": leave it out`:     func(n *Network) { n.Options["segment"] = "x" },
		`option "-x": want letters`:            func(n *Network) { n.Options["-x"] = "" },
		"label fairway.cluster: those that":    func(n *Network) { n.Labels["fairway.cluster"] = "x" },
		`label x="\x1b[2J": want at most 4096`: func(n *Network) { n.Labels["x"] = "\x1b[2J" },
		"label x=":                             func(n *Network) { n.Labels["x"] = strings.Repeat("x", 5000) },
	} {
		n := aNetwork()
		change(&n)
		if err := n.Check(); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, says)
		}
		// The same from etcd means nothing.
		n.Name = "backbone"
		v := newView(time.Minute)
		_, _, err := v.put(store.ClusterEntry{Key: networkKey("backbone"), Value: encode(n), Revision: 1})
		if strings.Contains(says, "network name") == (err != nil) || err != nil && len(v.networks) > 0 {
			t.Errorf("%s: in etcd: %v, %v", says, err, v.networks)
		}
	}
	good := aNetwork()
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	v := newView(time.Minute)
	for _, bad := range []string{`{`, `{"state":"asleep"}`, `{"state":"made","revision":"` + strings.Repeat("x", 65) + `"}`, `{"state":"made","why":"` + strings.Repeat("x", 600) + `"}`} {
		if _, _, err := v.put(store.ClusterEntry{Key: networkOnKey("backbone", "a"), Value: []byte(bad), Revision: 1}); err == nil {
			t.Errorf("took %s", bad)
		}
		delete(v.entries, networkOnKey("backbone", "a"))
	}
}

// A revision is another one just if an engine would make another network.
func TestRevision(t *testing.T) {
	first := aNetwork().Revision()
	for name, c := range map[string]struct {
		same   bool
		change func(*Network)
	}{
		"hosts":    {true, func(n *Network) { n.Hosts = []string{"a"} }},
		"removed":  {true, func(n *Network) { n.Removed = true }},
		"order":    {true, func(n *Network) { n.Pools[0], n.Pools[1] = n.Pools[1], n.Pools[0] }},
		"internal": {false, func(n *Network) { n.Internal = true }},
		"option":   {false, func(n *Network) { n.Options["mtu"] = "1300" }},
		"label":    {false, func(n *Network) { n.Labels = nil }},
		"gateway":  {false, func(n *Network) { n.Pools[0].Gateway = netip.Addr{} }},
		"subnet":   {false, func(n *Network) { n.Pools = n.Pools[:1] }},
		"segment":  {false, func(n *Network) { n.Segment = "other" }},
	} {
		n := aNetwork()
		c.change(&n)
		if (n.Revision() == first) != c.same {
			t.Errorf("%s: %s after %s", name, n.Revision(), first)
		}
	}
	if n := aNetwork(); !n.For("a") {
		t.Error("not for all")
	}
}
