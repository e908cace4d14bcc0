package macvlan

import (
	"maps"
	"reflect"
	"testing"

	"fairway/option"
)

// TestValues: what takes effect, given again, takes the same effect; and every
// option that is given has a value.
func TestValues(t *testing.T) {
	both := map[string]string{
		"parent": "eth1", "vlan": "40", "mtu": "1400", "gateway": "none", "dad": "off", "routes": "10.0.0.0/8 via 192.0.2.9",
		"com.docker.network.container_iface_prefix": "lan",
	}
	macvlan, l3 := maps.Clone(both), maps.Clone(both)
	macvlan["macvlan_mode"], macvlan["host_access"] = "private", "true"
	l3["ipvlan_mode"], l3["ipvlan_flag"] = "l3", "vepa"
	for _, c := range []struct {
		parse func(map[string]string) (Options, error)
		given map[string]string
	}{{ParseOptions, nil}, {ParseOptions, macvlan}, {ParseIPvlanOptions, nil}, {ParseIPvlanOptions, l3}} {
		o, err := c.parse(c.given)
		if err != nil {
			t.Fatal(err)
		}
		values := o.Values()
		for name := range c.given {
			if values[name] == "" {
				t.Errorf("%s was given and has no value", name)
			}
		}
		if again, err := c.parse(values); err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%v: %+v, %v; want %+v", values, again, err, o)
		}
	}
	if got, err := view(t, alone()).EndpointValues(map[string]string{option.IfaceName: "lan0"}); err != nil || got[option.IfaceName] != "lan0" {
		t.Errorf("of an endpoint: %v, %v", got, err)
	}
	if got := view(t, alone()).Values(); got["mtu"] != "1500" {
		t.Errorf("%v: want the settled MTU", got)
	}
}
