package driver_test

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/store"
)

// onLAN is a macvlan network on a parent.
func onLAN(id, parent, subnet string, options ...string) driver.NetworkSpec {
	n := driver.NetworkSpec{
		ID: id, Engine: "/e", IPv4: true, Options: map[string]string{"mode": "macvlan", "parent": parent},
		Subnets: []store.Subnet{{Space: "fairway-local", Prefix: netip.MustParsePrefix(subnet), Gateway: netip.MustParsePrefix(subnet).Addr().Next()}},
	}
	for i := 0; i < len(options); i += 2 {
		n.Options[options[i]] = options[i+1]
	}
	return n
}

func TestNetworksOnOneParent(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24")))
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24"))) // again
	must(t, d.CreateNetwork(t.Context(), onLAN("n2", "eth1", "10.2.0.0/24")))
	must(t, d.CreateNetwork(t.Context(), onLAN("n3", "eth1", "10.1.0.0/24"))) // the host has no route to either
	alone := onLAN("n4", "eth1", "10.4.0.0/24", "macvlan_mode", "passthru")
	if err := d.CreateNetwork(t.Context(), alone); err == nil || !strings.Contains(err.Error(), `option parent="eth1": passthru wants it for itself, and network n`) {
		t.Errorf("passthru beside others: %v", err)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		must(t, d.DeleteNetwork(t.Context(), id))
	}
	must(t, d.CreateNetwork(t.Context(), alone))
	if err := d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24")); err == nil || err.Error() != `option parent="eth1": network n4 has it for itself (passthru)` {
		t.Errorf("beside passthru: %v", err)
	}
	for i, c := range []struct{ id, says string }{{"e1", ""}, {"e2", "parent eth1: endpoint e1 has it for itself (passthru): network n4 has room for one"}} {
		w.sandboxes["/s/"+c.id] = true
		_, err := d.CreateEndpoint(t.Context(), driver.EndpointSpec{ID: c.id, Network: "n4", Engine: "/e", IPv4: netip.MustParsePrefix([]string{"10.4.0.2/24", "10.4.0.3/24"}[i])})
		if got := errText(err); got != c.says {
			t.Errorf("endpoint %s: %q, want %q", c.id, got, c.says)
		}
		if err == nil {
			_, err = d.Join(t.Context(), "n4", c.id, "/s/"+c.id)
			must(t, err)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestParentWaitedFor has a parent come and go.
func TestParentWaitedFor(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), onLAN("n1", "eth1", "10.1.0.0/24")))
	if !d.IsParent("eth1") || d.IsParent("eth2") || d.Wants("eth1") {
		t.Error("eth1 is not seen as the one parent")
	}
	for _, c := range []struct {
		there  bool
		remark string
	}{{true, ""}, {false, "waits for eth1"}, {false, "waits for eth1"}, {true, ""}} {
		w.links["eth1"] = c.there
		_, err := d.Reconcile(t.Context())
		must(t, err)
		if got := d.Remarks()["n1"]; got != c.remark {
			t.Errorf("there %t: remark %q, want %q", c.there, got, c.remark)
		}
	}
	var said []string
	for _, e := range w.log.AllEntries() {
		if strings.HasPrefix(e.Message, "parent link") {
			said = append(said, e.Message)
		}
	}
	if got := strings.Join(said, "; "); got != "parent link is missing: networks wait for it; parent link is back" {
		t.Errorf("logged %q", got)
	}
}

// TestGatewayThatNobodyNamed: engines before 28 allocate one.
func TestGatewayThatNobodyNamed(t *testing.T) {
	w := newWorld()
	w.links["eth1"] = true
	for _, c := range []struct {
		name    string
		chosen  bool // by the allocator
		asked   bool // the engine asks first, as from 28 on
		options []string
		space   string
		gateway string
		remark  bool
	}{
		{name: "fairway's choice", chosen: true, space: "fairway-local"},
		{name: "named", space: "fairway-local", gateway: "10.1.0.1"},
		{name: "Docker's addresses", space: "LocalDefault", gateway: "10.1.0.1", remark: true},
		{name: "Docker's addresses, engine 28", asked: true, space: "LocalDefault", gateway: "10.1.0.1"},
		{name: "Docker's addresses, gateway=none", options: []string{"gateway", "none"}, space: "LocalDefault"},
	} {
		w.chosen = map[netip.Addr]bool{netip.MustParseAddr("10.1.0.1"): c.chosen}
		d := w.start(t, store.Records{})
		n := onLAN("n1", "eth1", "10.1.0.0/24", c.options...)
		n.Subnets[0].Space = c.space
		if c.asked {
			_, _, err := d.CheckGateway(t.Context(), n)
			must(t, err)
		}
		must(t, d.CreateNetwork(t.Context(), n))
		w.chosen = nil
		must(t, d.CreateNetwork(t.Context(), n)) // again, when that is forgotten
		_, err := d.CreateEndpoint(t.Context(), driver.EndpointSpec{ID: "e1", Network: "n1", Engine: "/e", IPv4: netip.MustParsePrefix("10.1.0.2/24")})
		must(t, err)
		j, err := d.Join(t.Context(), "n1", "e1", "/s")
		must(t, err)
		gateway := ""
		if j.Gateway.IsValid() {
			gateway = j.Gateway.String()
		}
		if gateway != c.gateway || j.DisableGatewayService != (gateway == "") {
			t.Errorf("%s: gateway %q, Docker's own bridge disabled %t; want %q", c.name, gateway, j.DisableGatewayService, c.gateway)
		}
		if remark := d.Remarks()["n1"]; (remark != "") != c.remark {
			t.Errorf("%s: remark %q", c.name, remark)
		}
	}
}
