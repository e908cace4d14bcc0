package driver_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/nat"
	"fairway/store"
)

// What a network keeps its containers from, the daemon doesn't do for them.
func TestMayCarry(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	for _, n := range []driver.NetworkSpec{
		{ID: "inside", Internal: true, Subnets: []store.Subnet{subnet("10.1.0.1/24"), subnet("fd00:1::1/64")}},
		{ID: "apart", Subnets: []store.Subnet{subnet("10.2.0.1/24"), subnet("fd00:2::1/64")}, Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"}},
		{ID: "few", Subnets: []store.Subnet{subnet("10.4.0.1/24"), subnet("fd00:4::1/64")}, Options: map[string]string{"publish": "2001:db8::/32,iface:wg0"}},
		{ID: "open", Subnets: []store.Subnet{subnet("10.3.0.1/24"), subnet("fd00:3::1/64")}},
	} {
		n.Engine, n.IPv4, n.IPv6 = "/e", true, true
		must(t, d.CreateNetwork(t.Context(), n))
	}
	for name, publish := range map[string]string{"10.4.0.3/24": "all", "10.3.0.4/24": "loopback"} {
		e := endpoint("e"+name, name)
		e.Network, e.Options = "few", map[string]string{"publish": publish}
		if name == "10.3.0.4/24" {
			e.Network = "open"
		}
		_, err := d.CreateEndpoint(t.Context(), e)
		must(t, err)
	}
	links := map[string]string{}
	for _, n := range d.Networks() {
		links[n.ID] = n.Link
	}
	for _, c := range []struct {
		client, link, container string
		want                    bool
	}{
		{"::1", "lo", "10.3.0.2", true},
		{"2001:db8::9", "", "10.3.0.2", true},
		{"fe80::9", "eth0", "fd00:3::2", true},
		{"fd00:1::2", "", "10.3.0.2", false},
		{"fe80::9", links["inside"], "fd00:3::2", false},
		{"2001:db8::9", links["inside"], "10.3.0.2", false}, // an address that it gave itself
		{"fd00:2::2", "", "10.3.0.2", true},
		{"fd00:2::2", "", "10.2.0.3", false},
		{"fe80::9", links["apart"], "fd00:2::3", false},
		{"fe80::9", links["open"], "fd00:3::3", true},
		{"fd00:3::2", "", "10.2.0.3", true},
		{"fd00:3::2", "", "10.3.0.3", true},
		{"::1", "lo", "10.4.0.2", true},
		{"2001:db8::9", "eth0", "10.4.0.2", true},
		{"2001:db9::9", "eth0", "10.4.0.2", false},
		{"2001:db9::9", "", "10.4.0.2", false},
		{"2001:db9::9", "wg0", "10.4.0.2", true},
		{"2001:db9::9", "lo", "10.4.0.2", true}, // the host, by an address of its own
		{"2001:db9::9", "eth0", "10.4.0.3", true},
		{"fd00:4::9", links["few"], "10.4.0.2", true},
		{"fd00:3::9", links["open"], "10.4.0.2", false},
		{"2001:db8::9", "eth0", "10.3.0.4", false},
		{"::1", "lo", "10.3.0.4", true},
	} {
		if got, _ := d.MayCarry(c.link, netip.MustParseAddr(c.client), netip.MustParseAddr(c.container)); got != c.want {
			t.Errorf("from %s by %q to %s: %t, want %t", c.client, c.link, c.container, got, c.want)
		}
	}
}

// With publish=host-firewall a container sees its client, but where the answers
// would go another way.
func TestMayCarryAsItself(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	for id, publish := range map[string]string{"strict": "host-firewall", "open": "all"} {
		n := driver.NetworkSpec{ID: id, Engine: "/e", IPv4: true, IPv6: true, Options: map[string]string{"publish": publish}}
		n.Subnets = []store.Subnet{subnet("10.1.0.1/24"), subnet("fd00:1::1/64")}
		if id == "open" {
			n.Subnets = []store.Subnet{subnet("10.2.0.1/24"), subnet("fd00:2::1/64")}
		}
		must(t, d.CreateNetwork(t.Context(), n))
	}
	for name, publish := range map[string]string{"10.1.0.9/24": "all", "10.2.0.9/24": "host-firewall"} {
		e := endpoint("e"+name, name)
		e.Network, e.Options = "strict", map[string]string{"publish": publish}
		if publish != "all" {
			e.Network = "open"
		}
		_, err := d.CreateEndpoint(t.Context(), e)
		must(t, err)
	}
	links := map[string]string{}
	for _, n := range d.Networks() {
		links[n.ID] = n.Link
	}
	for _, c := range []struct {
		client, link, container string
		want                    bool
	}{
		{"192.0.2.9", "eth0", "10.1.0.2", true},
		{"2001:db8::9", "eth0", "fd00:1::2", true},
		{"192.0.2.9", "eth0", "10.1.0.9", false}, // the container's own word
		{"192.0.2.9", "eth0", "10.2.0.9", true},
		{"192.0.2.9", "eth0", "10.2.0.2", false},
		{"10.2.0.7", links["open"], "10.1.0.2", true},
		{"10.1.0.3", links["strict"], "10.1.0.2", false},  // it would be answered by the bridge
		{"192.0.2.9", links["strict"], "10.1.0.2", false}, // whatever it calls itself
		{"127.0.0.1", "lo", "10.1.0.2", false},
		{"192.0.2.1", "lo", "10.1.0.2", false},
		{"192.0.2.9", "", "10.1.0.2", false},
		{"2001:db8::9", "eth0", "10.1.0.2", false}, // another family
		{"fe80::9", "eth0", "fd00:1::2", false},
		{"172.17.0.2", "docker0", "10.1.0.2", false},
		{"172.18.0.2", "br-0123456789ab", "10.1.0.2", false},
	} {
		may, got := d.MayCarry(c.link, netip.MustParseAddr(c.client), netip.MustParseAddr(c.container))
		if got != c.want || !may {
			t.Errorf("from %s by %q to %s: may %t, as itself %t, want %t", c.client, c.link, c.container, may, got, c.want)
		}
	}
}

// The daemon carries all of a port that the host decides about, and holds it
// again so; who reaches it is the host firewall's to say.
func TestHostFirewall(t *testing.T) {
	w := newWorld()
	w.ports = &recorded{ports: ports{w}}
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), driver.NetworkSpec{
		ID: "n1", Engine: "/e", IPv4: true, Subnets: []store.Subnet{subnet("10.1.0.1/24")}, Options: map[string]string{"publish": "host-firewall"},
	}))
	w.sandboxes["/run/netns/a"] = true
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, d.Publish(t.Context(), "n1", "a", driver.PublishSpec{Ports: web}))
	w.links[d.Networks()[0].Link] = true
	reach := func(want driver.Reach) {
		t.Helper()
		for p, r := range d.Reach(t.Context()) {
			if proxied := p.HostIP.Is6(); !proxied && r != want {
				t.Errorf("%s: %+v, want %+v", p.HostIP, r, want)
			}
		}
	}
	reach(driver.Reach{From: "host firewall", Carried: true})
	w.lacks = []nat.Lack{{Endpoint: "a", Port: nat.Port{Target: netip.MustParseAddr("10.1.0.2")}, Why: "its element is missing"}}
	reach(driver.Reach{From: "this host", Why: "its element is missing", Carried: true})
	if got, want := w.ports.(*recorded).targets, "0.0.0.0>10.1.0.2:80 ::>10.1.0.2:80"; got != want {
		t.Errorf("carried: %s, want %s", got, want)
	}
}

// recorded notes where ports are to be carried.
type recorded struct {
	ports
	targets string
}

func (r *recorded) Reserve(ctx context.Context, owner string, want []nat.Request) ([]uint16, error) {
	var all []string
	for _, w := range want {
		for i, ip := range w.HostIPs {
			all = append(all, ip.String()+">"+w.Targets[i].String())
		}
	}
	r.targets = strings.Join(all, " ")
	return r.ports.Reserve(ctx, owner, want)
}

// A host without IPv6 publishes a container without it as it can.
func TestPublishWithoutIPv6(t *testing.T) {
	w := newWorld()
	w.noIPv6 = true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), driver.NetworkSpec{ID: "n1", Engine: "/e", IPv4: true, Subnets: []store.Subnet{subnet("10.1.0.1/24")}}))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, d.Publish(t.Context(), "n1", "a", driver.PublishSpec{Ports: web}))
	if got, want := published(d), "a 4:8080"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
}
