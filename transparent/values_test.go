package transparent

import (
	"maps"
	"reflect"
	"testing"
)

// TestValues: what takes effect, given again, takes the same effect but for
// antispoof, which says now what it is; and every option that is given has a value.
func TestValues(t *testing.T) {
	for _, given := range []map[string]string{
		{"parent": "br0"},
		{"parent": "br0", "antispoof": "true", "vlan": "40", "isolated": "true", "allow_addresses": "192.0.2.9", "mtu": "1400", "dad": "off"},
		{"parent": "br0", "trunk": "10-20,30", "gateway": "none", "routes": "10.0.0.0/8 via 192.0.2.9", "antispoof": "false"},
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
		again, err := ParseOptions(values)
		if o.Antispoof == unsaid {
			o.Antispoof = on
		}
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%v: %+v, %v; want %+v", values, again, err, o)
		}
	}
}

// TestEndpointValues: an endpoint has what its network has, unless it says so.
func TestEndpointValues(t *testing.T) {
	n := view(t, lan("vlan", "40"))
	for _, c := range []struct{ given, want map[string]string }{
		{nil, map[string]string{"vlan": "40", "isolated": "false", "antispoof": "true"}},
		{map[string]string{"trunk": "5"}, map[string]string{"trunk": "5", "isolated": "false", "antispoof": "false"}},
	} {
		if got, err := n.EndpointValues(c.given); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%v: %v, %v; want %v", c.given, got, err, c.want)
		}
	}
}
