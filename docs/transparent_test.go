package docs

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairway/link"
	"fairway/store"
	"fairway/transparent"
)

// TestTransparentPage checks that the tables in transparent.md are what the
// parser's table says. With -update it writes them.
func TestTransparentPage(t *testing.T) {
	checkPage(t, "transparent.md", map[string]string{"transparent options": transparentRows(t), "transparent refusals": transparentRefusals(t)})
}

func transparentRows(t *testing.T) string {
	t.Helper()
	values := map[string]string{
		"mode": "transparent", "isolated": "false", "dad": "on", "ipv6_mode": "static", dockers + "container_iface_prefix": "eth",
		dockers + "advertise_addr_nmsgs": "3", dockers + "advertise_addr_ms": "1000",
	}
	words := map[string]string{
		"mode": "must be given", "parent": "must be given", "mtu": "the bridge's", dockers + "driver.mtu": "as `mtu`", "routes": "none",
		"gateway": "the network's", "vlan": "as the bridge has it", "trunk": "none", "antispoof": "`true`; `false` with trunk",
		"allow_addresses": "none", dockers + "enable_ipv4": "as created", dockers + "enable_ipv6": "as created",
	}
	var b strings.Builder
	b.WriteString("| `-o` | default | allowed | meaning |\n|---|---|---|---|\n")
	for _, o := range transparent.Table(&transparent.Options{}) {
		value, ok := values[o.Name]
		standard := words[o.Name]
		if ok {
			given, err := transparent.ParseOptions(pairs(o.Name, value))
			if none, _ := transparent.ParseOptions(nil); err != nil || !reflect.DeepEqual(given, none) {
				t.Errorf("option %s: %q is not the default (%v)", o.Name, value, err)
			}
			if standard == "" {
				standard = "`" + value + "`"
			}
		}
		if standard == "" {
			t.Errorf("option %s: say its default", o.Name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, standard, cell(o.Allowed), cell(o.Meaning))
	}
	return b.String()
}

// transparentRefusals returns what is refused and the line that is the answer.
func transparentRefusals(t *testing.T) string {
	t.Helper()
	host := parents{
		"br0": {Kind: "bridge", MTU: 1500, Up: true}, "br1": {Kind: "bridge", MTU: 1500, Up: true, VLANAware: true},
		"br2": {Kind: "bridge", MTU: 1500}, "eth0": link.Info{Kind: "device", MTU: 1500, Up: true},
	}
	var b strings.Builder
	b.WriteString("| given | answer |\n|---|---|\n")
	for _, c := range []struct {
		says    string
		options map[string]string
	}{
		{"", pairs("mode", "transparent")},
		{"", pairs("parent", "br9")},
		{"", pairs("parent", "eth0")},
		{"`br2` is down", pairs("parent", "br2")},
		{"`br0` isn't VLAN-aware", pairs("parent", "br0", "vlan", "40")},
		{"", pairs("parent", "br1", "vlan", "4095")},
		{"", pairs("parent", "br1", "trunk", "20-10")},
		{"", pairs("parent", "br1", "vlan", "15", "trunk", "10-20")},
		{"", pairs("parent", "br1", "trunk", "10", "antispoof", "true")},
		{"", pairs("parent", "br0", "mtu", "9000")},
		{"", pairs("parent", "br0", "isolate", "true")},
	} {
		n := store.Network{ID: "n", Mode: "transparent", IPv4: true, Options: c.options, Subnets: []store.Subnet{{Prefix: netip.MustParsePrefix("192.168.1.0/24")}}}
		err := transparent.Settle(t.Context(), host, &n)
		if err == nil {
			t.Errorf("%v is accepted", c.options)
			continue
		}
		given := c.says
		for _, k := range slices.Sorted(maps.Keys(c.options)) {
			given += " `-o " + k + "=" + c.options[k] + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` |\n", strings.TrimSpace(given), err)
	}
	return b.String()
}
