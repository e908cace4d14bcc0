package bridge

import (
	"maps"
	"reflect"
	"testing"
)

// TestValues: what takes effect, given again, takes the same effect; and every
// option that is given has a value.
func TestValues(t *testing.T) {
	for _, given := range []map[string]string{
		nil,
		with("mtu", "1400", "routes", "10.0.0.0/8 via 172.20.0.9, fd00:8::/64 via fd00::9", "gateway", "none", "snat", "192.0.2.1",
			"snat6", "2001:db8::1", "publish_by", "docker", "publish", "10.0.0.0/8,iface:eth1", "antispoof", "false",
			"allow_addresses", "02:00:00:00:00:09,172.20.0.7,10.1.0.0/16"),
		with(label+"bridge.name", "br7", label+"bridge.enable_ip_masquerade", "false", label+"bridge.gateway_mode_ipv4", "routed",
			label+"bridge.gateway_mode_ipv6", "nat-unprotected", label+"bridge.enable_icc", "false", label+"bridge.inhibit_ipv4", "true",
			label+"bridge.host_binding_ipv4", "127.0.0.1", label+"bridge.trusted_host_interfaces", "eth0:eth1",
			label+"container_iface_prefix", "web", "publish", "host-firewall"),
	} {
		o, err := ParseOptions(given)
		if err != nil {
			t.Fatal(err)
		}
		values := o.Values()
		for name := range given {
			if values[name] == "" {
				t.Errorf("%s was given and has no value", name)
			}
		}
		if again, err := ParseOptions(values); err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%v: %+v, %v; want %+v", values, again, err, o)
		}
	}
}

// TestEndpointValues: an endpoint has what its network has, unless it says so.
func TestEndpointValues(t *testing.T) {
	n, err := New("i", v4(with("publish", "loopback", "allow_addresses", "172.20.0.7")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ given, want map[string]string }{
		{nil, with("publish", "loopback", "antispoof", "true", "allow_addresses", "172.20.0.7")},
		{with("publish", "all", "antispoof", "false"), with("publish", "all", "antispoof", "false", "allow_addresses", "172.20.0.7")},
	} {
		if got, err := n.EndpointValues(c.given); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%v: %v, %v; want %v", c.given, got, err, c.want)
		}
	}
	if got := n.Values(); got["mtu"] != "1500" || got[label+"bridge.name"] != "fwb1" {
		t.Errorf("%v: want the settled MTU and name", got)
	}
}
