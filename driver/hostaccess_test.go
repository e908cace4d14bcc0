package driver_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// boxes are what sandboxes translate, by sandbox and endpoint.
type boxes map[string][]nat.Port

func (b boxes) Apply(_ context.Context, sandbox, endpoint string, ports []nat.Port) error {
	delete(b, sandbox+" "+endpoint)
	if len(ports) > 0 {
		b[sandbox+" "+endpoint] = ports
	}
	return nil
}

func (b boxes) Check(_ context.Context, sandbox, endpoint string, ports []nat.Port) (string, error) {
	if !slices.Equal(b[sandbox+" "+endpoint], ports) {
		return "it differs", nil
	}
	return "", nil
}

func (b boxes) String() string {
	var out []string
	for k, ports := range b {
		for _, p := range ports {
			out = append(out, k+" "+p.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func asked(hostPort, port uint16) store.PortBinding {
	return store.PortBinding{Proto: 6, HostPort: hostPort, Port: port}
}

// withHost is a network on eth1 in which the host has 10.1.0.200.
func withHost(id string, options ...string) driver.NetworkSpec {
	n := onLAN(id, "eth1", "10.1.0.0/24", append(options, "host_access", "true")...)
	n.Subnets[0].Gateway, n.Subnets[0].Aux = netip.Addr{}, map[string]netip.Addr{"host": netip.MustParseAddr("10.1.0.200")}
	return n
}

func onNetwork(id, network, ip string) driver.EndpointSpec {
	return driver.EndpointSpec{ID: id, Network: network, Engine: "/e", IPv4: netip.MustParsePrefix(ip)}
}

// publishedOf returns what endpoints publish: own:PORT for what is on their own
// addresses, host:PORT for the host's.
func publishedOf(d *driver.Driver) string {
	var out []string
	for _, e := range d.Endpoints() {
		for _, p := range e.Published {
			where := "own"
			if p.HostIP.IsValid() {
				where = "host"
			}
			if p.HostIP.Is6() != p.IP.Is6() && p.HostIP.IsValid() {
				continue // proxied
			}
			out = append(out, fmt.Sprintf("%s %s:%d", e.ID, where, p.HostPort))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestPublishOnALAN follows the ports of containers on a LAN, with and without a
// gateway, with the host among them and not.
func TestPublishOnALAN(t *testing.T) {
	w := newWorld()
	b := boxes{}
	w.boxes, w.links["eth1"], w.sandboxes["/s1"], w.sandboxes["/s2"] = b, true, true, true
	d := w.start(t, store.Records{})
	expect := func(what, want, inside string) {
		t.Helper()
		if got := publishedOf(d); got != want {
			t.Errorf("%s: published %s; want %s", what, got, want)
		}
		if got := b.String(); got != inside {
			t.Errorf("%s: in sandboxes %s; want %s", what, got, inside)
		}
	}
	gateway := withHost("n1")
	gateway.Subnets[0].Gateway = netip.MustParseAddr("10.1.0.1")
	must(t, d.CreateNetwork(t.Context(), gateway))
	plain := onLAN("n2", "eth1", "10.2.0.0/24")
	must(t, d.CreateNetwork(t.Context(), plain))

	_, err := d.CreateEndpoint(t.Context(), onNetwork("e1", "n1", "10.1.0.2/24"))
	must(t, err)
	j, err := d.Join(t.Context(), "n1", "e1", "/s1", asked(8080, 80))
	must(t, err)
	want := []link.Route{{Destination: netip.MustParsePrefix("10.1.0.77/32"), NextHop: netip.MustParseAddr("10.1.0.200")}}
	if !slices.Equal(j.Routes, want) {
		t.Errorf("routes %v, want %v", j.Routes, want)
	}
	expect("Join", "e1 own:8080", "/s1 e1 10.1.0.2:8080->10.1.0.2:80/tcp")
	for range 2 {
		must(t, d.Publish(t.Context(), "n1", "e1", driver.PublishSpec{Ports: []store.PortBinding{asked(8080, 80)}}))
		_, err = d.Join(t.Context(), "n1", "e1", "/s1", asked(8080, 80)) // once more, as after a lost reply
		must(t, err)
		expect("Program", "e1 host:8080, e1 own:8080", "/s1 e1 10.1.0.2:8080->10.1.0.2:80/tcp")
	}
	_, err = d.CreateEndpoint(t.Context(), onNetwork("e2", "n2", "10.2.0.2/24"))
	must(t, err)
	_, err = d.Join(t.Context(), "n2", "e2", "/s1", asked(8080, 80))
	must(t, err)
	both := "/s1 e1 10.1.0.2:8080->10.1.0.2:80/tcp, /s1 e2 10.2.0.2:8080->10.2.0.2:80/tcp"
	expect("another network", "e1 host:8080, e1 own:8080, e2 own:8080", both)
	must(t, d.Unpublish(t.Context(), "n1", "e1"))
	expect("Revoke", "e1 own:8080, e2 own:8080", both)
	must(t, d.Leave(t.Context(), "n1", "e1"))
	must(t, d.DeleteEndpoint(t.Context(), "n1", "e1"))
	expect("Leave", "e2 own:8080", "/s1 e2 10.2.0.2:8080->10.2.0.2:80/tcp")
	clear(b)
	if n, err := d.Reconcile(t.Context()); n != 1 || err != nil {
		t.Errorf("a table was lost: repaired %d, %v", n, err)
	}
	expect("repaired", "e2 own:8080", "/s1 e2 10.2.0.2:8080->10.2.0.2:80/tcp")
	must(t, d.DeleteNetwork(t.Context(), "n2"))
	expect("network gone", "", "")
}

// TestPublishWithoutProgram: Docker calls for no ports of a network without a
// gateway. They are on the host once, whoever else is in the sandbox.
func TestPublishWithoutProgram(t *testing.T) {
	w := newWorld()
	w.boxes, w.links["eth1"], w.sandboxes["/s1"] = boxes{}, true, true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), withHost("n1")))
	web := network
	web.ID, web.Subnets = "web", []store.Subnet{{Space: "s", Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")}}
	must(t, d.CreateNetwork(t.Context(), web))
	join := func(id, network, ip string) {
		t.Helper()
		_, err := d.CreateEndpoint(t.Context(), onNetwork(id, network, ip))
		must(t, err)
		_, err = d.Join(t.Context(), network, id, "/s1", asked(8080, 80))
		must(t, err)
	}
	expect := func(what, want string) {
		t.Helper()
		must(t, d.Quiesce(t.Context()))
		if got := publishedOf(d); got != want {
			t.Errorf("%s: published %s; want %s", what, got, want)
		}
	}
	join("e1", "n1", "10.1.0.2/24")
	expect("alone", "e1 host:8080, e1 own:8080")
	join("e2", "web", "10.9.0.2/24")
	must(t, d.Publish(t.Context(), "web", "e2", driver.PublishSpec{Ports: []store.PortBinding{asked(8080, 80)}}))
	expect("with a gateway elsewhere", "e1 own:8080, e2 host:8080")
	must(t, d.Unpublish(t.Context(), "web", "e2"))
	expect("that one revoked", "e1 host:8080, e1 own:8080")
	must(t, d.Publish(t.Context(), "web", "e2", driver.PublishSpec{Ports: []store.PortBinding{asked(8080, 80)}}))
	must(t, d.Leave(t.Context(), "web", "e2"))
	expect("that one left", "e1 host:8080, e1 own:8080")
	if _, err := d.CreateEndpoint(t.Context(), onNetwork("e3", "n1", "10.1.0.200/24")); err == nil {
		t.Error("a container has the host's address")
	}
}

// TestPublishTwice: two ports of a container can't have one number.
func TestPublishTwice(t *testing.T) {
	w := newWorld()
	w.boxes, w.links["eth1"], w.sandboxes["/s1"] = boxes{}, true, true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24")))
	_, err := d.CreateEndpoint(t.Context(), onNetwork("e1", "n1", "10.1.0.2/24"))
	must(t, err)
	_, err = d.Join(t.Context(), "n1", "e1", "/s1", asked(8080, 80), asked(8080, 81))
	if want := "publish port 81 as 8080/tcp: the container's address has port 80 there"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if e := d.Endpoints()[0]; e.Sandbox != "" || len(e.Published) > 0 {
		t.Errorf("left behind: %+v", e)
	}
}

// TestHostsAddress: the host's address on a LAN is one that nobody has, and goes
// with the network.
func TestHostsAddress(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	d := w.start(t, store.Records{})
	unnamed, taken := withHost("n2"), withHost("n3")
	unnamed.Subnets[0].Aux = nil
	taken.Subnets[0].Aux["host"] = netip.MustParseAddr("10.1.0.77") // the host's, see fake_test.go
	must(t, d.CreateNetwork(t.Context(), withHost("n1")))
	for _, c := range []struct {
		n    driver.NetworkSpec
		want string
	}{
		{withHost("n4"), "aux-address 10.1.0.200: is the host's in network n1"},
		{unnamed, `option host_access="true": needs an address for the host: --aux-address host=ADDRESS, or --ipam-driver fairway`},
		{taken, "aux-address 10.1.0.77: is an address of this host already; want one that nobody has"},
	} {
		if err := d.CreateNetwork(t.Context(), c.n); err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	n := d.Networks()[0]
	if !strings.HasPrefix(n.HostLink, "fws") || !d.Wants(n.HostLink) {
		t.Errorf("the host's link %q is not watched", n.HostLink)
	}
	must(t, d.DeleteNetwork(t.Context(), "n1"))
	if d.Wants(n.HostLink) {
		t.Error("it is watched still")
	}
	w.host = netip.MustParseAddr("10.1.0.5") // of the pool
	must(t, d.CreateNetwork(t.Context(), unnamed))
	if a := d.Networks()[0].HostAddresses; len(a) != 1 || a[0] != w.host {
		t.Errorf("addresses of the host: %v", a)
	}
}
