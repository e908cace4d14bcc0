package driver_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"fairway/driver"
	"fairway/store"
)

func stranger() net.HardwareAddr { return net.HardwareAddr{2, 0xaa, 0, 0, 0, 0x50} }

func onBridge(id, subnet string, options ...string) driver.NetworkSpec {
	n := onLAN(id, "br0", subnet, options...)
	n.Options["mode"] = "transparent"
	return n
}

func endpointAt(id, network, ip string, options ...string) driver.EndpointSpec {
	e := driver.EndpointSpec{ID: id, Network: network, Engine: "/e", IPv4: netip.MustParsePrefix(ip), Options: map[string]string{}}
	for i := 0; i < len(options); i += 2 {
		e.Options[options[i]] = options[i+1]
	}
	return e
}

// TestTakenAddress: an address that somebody of the LAN has is refused with his
// MAC address, and nothing is left.
func TestTakenAddress(t *testing.T) {
	for _, mode := range []func(id, subnet string, options ...string) driver.NetworkSpec{
		onBridge, func(id, subnet string, options ...string) driver.NetworkSpec {
			return onLAN(id, "br0", subnet, options...)
		},
	} {
		w := newWorld()
		w.links["br0"] = true
		w.onLAN = map[netip.Addr]net.HardwareAddr{netip.MustParseAddr("10.1.0.50"): stranger()}
		d := w.start(t, store.Records{})
		must(t, d.CreateNetwork(t.Context(), mode("n1", "10.1.0.0/24")))
		_, err := d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.50/24"))
		if want := "address 10.1.0.50: 02:aa:00:00:00:50 has it on the LAN of br0: give another one, or say dad=off"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if len(d.Endpoints()) != 0 {
			t.Error("an endpoint is left")
		}
		w.onLAN = nil
		_, err = d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.50/24"))
		must(t, err) // he is gone
		asked := len(w.probed)
		must(t, d.DeleteEndpoint(t.Context(), "n1", "e1"))
		w.onLAN = map[netip.Addr]net.HardwareAddr{netip.MustParseAddr("10.1.0.50"): stranger()}
		_, err = d.CreateEndpoint(t.Context(), endpointAt("e2", "n1", "10.1.0.50/24"))
		must(t, err)
		if len(w.probed) != asked {
			t.Error("asked for an address that this host had until now")
		}
	}
}

func TestDetectionOff(t *testing.T) {
	w := newWorld()
	w.links["br0"] = true
	w.onLAN = map[netip.Addr]net.HardwareAddr{netip.MustParseAddr("10.1.0.50"): stranger()}
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onBridge("n1", "10.1.0.0/24", "dad", "off")))
	must(t, d.CreateNetwork(t.Context(), onBridge("n2", "10.2.0.0/24")))
	_, err := d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.50/24"))
	must(t, err)
	// A trunk without a VLAN for what has no tag leads nowhere.
	_, err = d.CreateEndpoint(t.Context(), endpointAt("e2", "n2", "10.2.0.50/24", "trunk", "10-20"))
	must(t, err)
	if len(w.probed) != 0 {
		t.Errorf("asked %v", w.probed)
	}
	_, err = d.CreateEndpoint(t.Context(), endpointAt("e3", "n2", "10.2.0.51/24", "vlan", "7"))
	must(t, err)
	if !slices.Equal(w.probed, []string{"br0 7 [10.2.0.51]"}) {
		t.Errorf("asked %v", w.probed)
	}
}

// TestTakenBeside: what another network of this host has on the same LAN needs
// no asking, in the same VLAN.
func TestTakenBeside(t *testing.T) {
	w := newWorld()
	w.links["br0"] = true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "br0", "10.1.0.0/24")))
	must(t, d.CreateNetwork(t.Context(), onBridge("n2", "10.1.0.0/24")))
	_, err := d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.50/24"))
	must(t, err)
	_, err = d.CreateEndpoint(t.Context(), endpointAt("e2", "n2", "10.1.0.50/24"))
	if err == nil || err.Error() != `address 10.1.0.50: endpoint "e1" of network "n1" has it on the LAN of br0: give another one, or say dad=off` {
		t.Errorf("got %v", err)
	}
	_, err = d.CreateEndpoint(t.Context(), endpointAt("e3", "n2", "10.1.0.50/24", "vlan", "7"))
	must(t, err)
}

// TestTakenByHost: the host's own address on the LAN is nobody else's, whether
// or not the host hears itself.
func TestTakenByHost(t *testing.T) {
	w := newWorld()
	w.links["eth1"], w.addresses = true, []netip.Prefix{netip.MustParsePrefix("10.1.0.10/24")}
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24")))
	_, err := d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.10/24"))
	if err == nil || err.Error() != "address 10.1.0.10: this host has it on the LAN of eth1: give another one, or say dad=off" {
		t.Errorf("got %v", err)
	}
}

// TestLeasedInVLAN: the daemon is no client of a server in a VLAN that the host
// need not be in.
func TestLeasedInVLAN(t *testing.T) {
	w := newWorld()
	w.links["br0"], w.parents = true, []string{"br0"}
	d := w.start(t, store.Records{})
	err := d.CreateNetwork(t.Context(), onBridge("n1", "10.1.0.0/24", "vlan", "40"))
	if err == nil || err.Error() != "source=dhcp: not with vlan=40: the daemon asks by br0 itself, which need not be in that VLAN" {
		t.Errorf("got %v", err)
	}
	must(t, d.CreateNetwork(t.Context(), onBridge("n1", "10.1.0.0/24")))
}

// TestTakenOnLAN is what the allocator asks for.
func TestTakenOnLAN(t *testing.T) {
	w := newWorld()
	w.links["br0"] = true
	taken, free := netip.MustParseAddr("10.1.0.50"), netip.MustParseAddr("10.1.0.51")
	w.onLAN = map[netip.Addr]net.HardwareAddr{taken: stranger()}
	d := w.start(t, store.Records{})
	n := onBridge("n1", "10.1.0.0/24")
	n.Subnets[0].Space = "fairway-local"
	must(t, d.CreateNetwork(t.Context(), n))
	subnet := n.Subnets[0].Prefix
	if by := d.TakenOnLAN(t.Context(), "fairway-local", subnet, taken, nil); by != stranger().String() {
		t.Errorf("held by %v", by)
	}
	if by := d.TakenOnLAN(t.Context(), "fairway-global", subnet, taken, nil); by != "" {
		t.Errorf("in a pool of no network: held by %v", by)
	}
	if by := d.TakenOnLAN(t.Context(), "fairway-local", subnet, free, nil); by != "" {
		t.Errorf("a free one is held by %v", by)
	}
	asked := len(w.probed)
	_, err := d.CreateEndpoint(t.Context(), endpointAt("e1", "n1", "10.1.0.51/24"))
	must(t, err)
	if len(w.probed) != asked {
		t.Error("asked twice for one address")
	}
}
