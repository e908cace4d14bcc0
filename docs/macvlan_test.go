package docs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/macvlan"
	"fairway/option"
	"fairway/store"
)

// TestMacvlanPages checks that the tables in macvlan.md, ipvlan.md and vlan.md are
// what the parser's tables say. With -update it writes them.
func TestMacvlanPages(t *testing.T) {
	checkPage(t, "macvlan.md", map[string]string{"macvlan options": macvlanRows(t), "macvlan refusals": refused(t, macvlanRefusals())})
	checkPage(t, "ipvlan.md", map[string]string{"ipvlan options": ipvlanRows(t), "ipvlan refusals": refused(t, ipvlanRefusals())})
	checkPage(t, "vlan.md", map[string]string{"vlan refusals": refused(t, vlanRefusals())})
}

func checkPage(t *testing.T, page string, parts map[string]string) {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for name, want := range parts {
		before, got, after, ok := cutPart(text, name)
		switch {
		case !ok:
			t.Fatalf("%s has no part %q", page, name)
		case got == want:
		case *update:
			text = before + want + after
		default:
			t.Errorf("%s: %q is stale: go test ./docs -run TestMacvlanPages -update\n got:\n%s\nwant:\n%s", page, name, got, want)
		}
	}
	if text != string(raw) {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func macvlanRows(t *testing.T) string {
	t.Helper()
	values := map[string]string{
		"mode": "macvlan", "parent": "", "macvlan_mode": "bridge", "dad": "on", "ipv6_mode": "static", "host_access": "false", dockers + "container_iface_prefix": "eth",
		dockers + "advertise_addr_nmsgs": "3", dockers + "advertise_addr_ms": "1000",
	}
	words := map[string]string{
		"mode": "must be given", "parent": "none", "mtu": "the parent's; 1500 without", dockers + "driver.mtu": "as `mtu`", "routes": "none",
		"vlan": "none", "gateway": "the network's", dockers + "enable_ipv4": "as created", dockers + "enable_ipv6": "as created",
	}
	return optionRows(t, "macvlan", macvlan.Table(&macvlan.Options{}), macvlan.ParseOptions, values, words)
}

func ipvlanRows(t *testing.T) string {
	t.Helper()
	values := map[string]string{
		"mode": "ipvlan", "parent": "", "ipvlan_mode": "l2", "ipvlan_flag": "bridge", "dad": "on", "ipv6_mode": "static", "host_access": "false", dockers + "container_iface_prefix": "eth",
		dockers + "advertise_addr_nmsgs": "3", dockers + "advertise_addr_ms": "1000",
	}
	words := map[string]string{
		"mode": "must be given", "parent": "none", "mtu": "the parent's; 1500 without", dockers + "driver.mtu": "as `mtu`", "routes": "none",
		"vlan": "none", "gateway": "the network's", dockers + "enable_ipv4": "as created", dockers + "enable_ipv6": "as created",
	}
	return optionRows(t, "ipvlan", macvlan.IPvlanTable(&macvlan.Options{}), macvlan.ParseIPvlanOptions, values, words)
}

// optionRows returns the table of a mode's options, with their defaults: values
// are tried, words aren't.
func optionRows(t *testing.T, mode string, table option.Table, parse func(map[string]string) (macvlan.Options, error), values, words map[string]string) string {
	t.Helper()
	theirs := map[string]string{"parent": "the same", mode + "_mode": "the same", mode + "_flag": "the same"}
	var b strings.Builder
	fmt.Fprintf(&b, "| `-o` | default | allowed | meaning | in Docker's %s |\n|---|---|---|---|---|\n", mode)
	for _, o := range table {
		value, ok := values[o.Name]
		standard := words[o.Name]
		if ok {
			given, err := parse(pairs(o.Name, value))
			if none, _ := parse(nil); err != nil || !reflect.DeepEqual(given, none) {
				t.Errorf("option %s: %q is not the default (%v)", o.Name, value, err)
			}
			if standard == "" {
				standard = "`" + value + "`"
			}
		}
		if standard == "" {
			t.Errorf("option %s: say its default", o.Name)
		}
		other := theirs[o.Name]
		if other == "" {
			other = "no such option"
		}
		if strings.HasPrefix(o.Name, dockers+"advertise") || strings.HasPrefix(o.Name, dockers+"enable") {
			other = "the same"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", o.Name, standard, cell(o.Allowed), cell(o.Meaning), other)
	}
	return b.String()
}

// parents is a host with some links.
type parents map[string]link.Info

func (p parents) Link(_ context.Context, _, name string) (link.Info, error) {
	if i, ok := p[name]; ok {
		return i, nil
	}
	return link.Info{}, unix.ENODEV
}

// A refusal is a network that is not made.
type refusal struct {
	says    string
	options map[string]string
}

func macvlanRefusals() []refusal {
	return []refusal{
		{"", pairs("parent", "eth9")},
		{"`eth1` is down", pairs("parent", "eth1")},
		{"`eth2` is in a bridge", pairs("parent", "eth2")},
		{"", pairs("parent", "wg0")},
		{"", pairs("parent", "lo")},
		{"", pairs("parent", "eth0", "mtu", "9000")},
		{"", pairs("parent", "eth0", "macvlan_mode", "bridged")},
		{"", pairs("parent", "eth0", "macvlan_mod", "private")},
		{"", pairs("parent", "eth0", "host_access", "true", "macvlan_mode", "private")},
	}
}

func ipvlanRefusals() []refusal {
	return []refusal{
		{"", pairs("mode", "ipvlan", "parent", "eth0", "ipvlan_mode", "l4")},
		{"", pairs("mode", "ipvlan", "parent", "eth0", "ipvlan_flag", "passthru")},
		{"", pairs("mode", "ipvlan", "parent", "eth0", "macvlan_mode", "private")},
		{"", pairs("mode", "ipvlan", "parent", "eth0", "host_access", "true", "ipvlan_flag", "private")},
		{"with `--ipam-driver fairway`", pairs("mode", "ipvlan", "parent", "eth0")},
	}
}

func vlanRefusals() []refusal {
	return []refusal{
		{"", pairs("parent", "eth9.40")},
		{"", pairs("parent", "eth0.4095")},
		{"", pairs("parent", "eth0", "vlan", "0")},
		{"", pairs("vlan", "40")},
		{"`eth1` is down", pairs("parent", "eth1.40")},
		{"`eth0.50` is a bridge", pairs("parent", "eth0", "vlan", "50")},
		{"", pairs("parent", "eth0.40", "mtu", "9000")},
	}
}

// refused returns what is refused and the line that is the answer.
func refused(t *testing.T, all []refusal) string {
	t.Helper()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	host := parents{
		"eth0": {MTU: 1500, MAC: mac, Up: true}, "eth1": {MTU: 1500, MAC: mac}, "wg0": {MTU: 1420, Up: true},
		"eth2": {MTU: 1500, MAC: mac, Up: true, Master: 2}, "lo": {MAC: make(net.HardwareAddr, 6), Up: true},
		"eth0.50": {Kind: "bridge", MTU: 1500, MAC: mac, Up: true},
	}
	var b strings.Builder
	b.WriteString("| given | answer |\n|---|---|\n")
	for _, c := range all {
		n := store.Network{ID: "n", Mode: cmp.Or(c.options["mode"], "macvlan"), IPv4: true, Options: c.options, Subnets: []store.Subnet{{Prefix: netip.MustParsePrefix("192.168.1.0/24")}}}
		if strings.Contains(c.says, "--ipam-driver fairway") {
			n.Subnets[0].Space = "fairway-local"
		}
		err := macvlan.Settle(t.Context(), host, &n)
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
