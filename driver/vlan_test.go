package driver_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/store"
)

// made returns the VLANs that there are.
func (w *world) made() string { return strings.Join(slices.Sorted(maps.Keys(w.vlans)), " ") }

// TestVLANsCounted: a VLAN is made with the first network that wants it and goes
// with the last one, whatever the others are.
func TestVLANsCounted(t *testing.T) {
	w := newWorld()
	w.links["eth1"], w.links["eth1.7"] = true, true
	records := store.NewRecords()
	d := w.start(t, records)
	for _, c := range []struct {
		create *driver.NetworkSpec
		remove string
		made   string
	}{
		{create: vlan("n1", "eth1.40"), made: "eth1.40"},
		{create: vlan("n2", "eth1", "vlan", "40"), made: "eth1.40"},
		{create: vlan("n3", "eth1.40.5"), made: "eth1.40 eth1.40.5"},
		{create: vlan("n4", "eth1.7"), made: "eth1.40 eth1.40.5"},
		{create: vlan("n5", "eth1.50"), made: "eth1.40 eth1.40.5 eth1.50"},
		{remove: "n1", made: "eth1.40 eth1.40.5 eth1.50"},
		{remove: "n2", made: "eth1.40 eth1.40.5 eth1.50"},
		{remove: "n4", made: "eth1.40 eth1.40.5 eth1.50"},
		{remove: "n3", made: "eth1.50"},
		{remove: "n5", made: ""},
	} {
		if c.create != nil {
			must(t, d.CreateNetwork(t.Context(), *c.create))
		} else {
			must(t, d.DeleteNetwork(t.Context(), c.remove))
		}
		if got := w.made(); got != c.made {
			t.Fatalf("%+v: made %q, want %q", c, got, c.made)
		}
		for _, n := range d.Networks() { // a restart: who has what is in the records
			records.Networks[n.ID] = n
		}
		maps.DeleteFunc(records.Networks, func(id string, _ store.Network) bool {
			return !slices.ContainsFunc(d.Networks(), func(n store.Network) bool { return n.ID == id })
		})
		d = w.start(t, records)
	}
	if !w.links["eth1.7"] {
		t.Error("a link of the host's own was removed")
	}
}

func vlan(id, parent string, options ...string) *driver.NetworkSpec {
	n := onLAN(id, parent, "10.1.0.0/24", options...)
	return &n
}

// TestVLANWaited: a network waits for the link that its VLANs are on, or for one
// that the host had made itself.
func TestVLANWaited(t *testing.T) {
	w := newWorld()
	w.links["eth1"], w.links["eth1.7"] = true, true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), *vlan("n1", "eth1.40")))
	must(t, d.CreateNetwork(t.Context(), *vlan("n2", "eth1.7")))
	for _, l := range []string{"eth1", "eth1.40", "eth1.7"} {
		if !d.IsParent(l) {
			t.Errorf("%s is no parent", l)
		}
	}
	delete(w.links, "eth1.7")
	for parent, want := range map[string]string{
		"eth1.7":   `option parent="eth1.7": network n2 waits for link eth1.7, which was not fairway's to make: make it yourself`,
		"eth1.7.3": `option parent="eth1.7.3": network n2 waits for link eth1.7, which was not fairway's to make: make it yourself`,
		"eth1.40":  "",
	} {
		if got := errText(d.CreateNetwork(t.Context(), *vlan("n for "+parent, parent))); got != want {
			t.Errorf("%s: %s\nwant %s", parent, got, want)
		}
	}
	delete(w.links, "eth1")
	_, err := d.Reconcile(t.Context())
	must(t, err)
	if got := d.Remarks(); got["n1"] != "waits for eth1" || got["n2"] != "waits for eth1.7" {
		t.Errorf("remarks %v", got)
	}
}

// TestKindsOnOneParent: the kernel has one kind of links on a parent, and ipvlans
// in one mode.
func TestKindsOnOneParent(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	d := w.start(t, store.Records{})
	ip := func(id, parent string, options ...string) driver.NetworkSpec {
		n := *vlan(id, parent, append([]string{"mode", "ipvlan"}, options...)...)
		n.Subnets[0].Space = "LocalDefault"
		return n
	}
	must(t, d.CreateNetwork(t.Context(), ip("n1", "eth1")))
	must(t, d.CreateNetwork(t.Context(), ip("n2", "eth1", "ipvlan_mode", "l2")))
	must(t, d.CreateNetwork(t.Context(), *vlan("n3", "eth1.40"))) // another parent
	for _, c := range []struct {
		n    driver.NetworkSpec
		want string
	}{
		{*vlan("n4", "eth1"), `option parent="eth1": network n`},
		{ip("n4", "eth1", "ipvlan_mode", "l3"), ` has it (ipvlan, ipvlan_mode=l2, ipvlan_flag=bridge), and all networks on it must be of that kind`},
		{ip("n4", "eth1", "ipvlan_flag", "vepa"), ` has it (ipvlan, ipvlan_mode=l2, ipvlan_flag=bridge), and all networks on it must be of that kind`},
		{ip("n4", "eth1.40"), `option parent="eth1.40": network n3 has it (macvlan), and all networks on it must be of that kind`},
	} {
		if got := errText(d.CreateNetwork(t.Context(), c.n)); !strings.Contains(got, c.want) {
			t.Errorf("%v:\n got %s\nwant %s", c.n.Options, got, c.want)
		}
	}
}

// TestIPvlanWithoutMAC: an ipvlan endpoint has no MAC address of its own, in
// answers neither.
func TestIPvlanWithoutMAC(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	d := w.start(t, store.Records{})
	n := *vlan("n1", "eth1", "mode", "ipvlan", "ipvlan_mode", "l3")
	n.Subnets[0].Space = "LocalDefault"
	must(t, d.CreateNetwork(t.Context(), n))
	if got := d.Remarks()["n1"]; got != "" { // in mode l3 no gateway is used
		t.Errorf("remark %q", got)
	}
	e := driver.EndpointSpec{ID: "e1", Network: "n1", Engine: "/e", IPv4: netip.MustParsePrefix("10.1.0.2/24")}
	reply, err := d.CreateEndpoint(t.Context(), e)
	must(t, err)
	again, err := d.CreateEndpoint(t.Context(), e)
	must(t, err)
	if reply != (driver.EndpointReply{}) || again != reply {
		t.Errorf("answered %+v, then %+v", reply, again)
	}
	j, err := d.Join(t.Context(), "n1", "e1", "/s")
	must(t, err)
	if j.Gateway.IsValid() || !j.DisableGatewayService || len(j.Routes) != 1 || j.Routes[0].Destination.Bits() != 0 || j.Routes[0].NextHop.IsValid() {
		t.Errorf("joined %+v, want a default route by the device", j)
	}
	e.ID, e.MAC, e.IPv4 = "e2", "02:00:00:00:00:01", netip.MustParsePrefix("10.1.0.3/24")
	if _, err = d.CreateEndpoint(t.Context(), e); err == nil {
		t.Error("a MAC address is accepted")
	}
}
