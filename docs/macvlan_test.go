package docs

import (
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
	"fairway/store"
)

// TestMacvlanPage checks that the tables in macvlan.md are what the parser's
// table says. With -update it writes them.
func TestMacvlanPage(t *testing.T) {
	const page = "macvlan.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for name, want := range map[string]string{"macvlan options": macvlanRows(t), "macvlan refusals": macvlanRefusals(t)} {
		before, got, after, ok := cutPart(text, name)
		switch {
		case !ok:
			t.Fatalf("%s has no part %q", page, name)
		case got == want:
		case *update:
			text = before + want + after
		default:
			t.Errorf("%s: %q is stale: go test ./docs -run TestMacvlanPage -update\n got:\n%s\nwant:\n%s", page, name, got, want)
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
		"mode": "macvlan", "parent": "", "macvlan_mode": "bridge", dockers + "container_iface_prefix": "eth",
		dockers + "advertise_addr_nmsgs": "3", dockers + "advertise_addr_ms": "1000",
	}
	words := map[string]string{
		"mode": "must be given", "parent": "none", "mtu": "the parent's; 1500 without", dockers + "driver.mtu": "as `mtu`", "routes": "none",
		"gateway": "the network's", dockers + "enable_ipv4": "as created", dockers + "enable_ipv6": "as created",
	}
	theirs := map[string]string{"parent": "the same", "macvlan_mode": "the same"}
	var b strings.Builder
	b.WriteString("| `-o` | default | allowed | meaning | in Docker's macvlan |\n|---|---|---|---|---|\n")
	for _, o := range macvlan.Table(&macvlan.Options{}) {
		value, ok := values[o.Name]
		standard := words[o.Name]
		if ok {
			given, err := macvlan.ParseOptions(pairs(o.Name, value))
			if none, _ := macvlan.ParseOptions(nil); err != nil || !reflect.DeepEqual(given, none) {
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

// macvlanRefusals returns what is refused and the line that is the answer.
func macvlanRefusals(t *testing.T) string {
	t.Helper()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	host := parents{
		"eth0": {MTU: 1500, MAC: mac, Up: true}, "eth1": {MTU: 1500, MAC: mac}, "wg0": {MTU: 1420, Up: true},
		"eth2": {MTU: 1500, MAC: mac, Up: true, Master: 2}, "lo": {MAC: make(net.HardwareAddr, 6), Up: true},
	}
	var b strings.Builder
	b.WriteString("| given | answer |\n|---|---|\n")
	for _, c := range []struct {
		says    string
		options map[string]string
	}{
		{"", pairs("parent", "eth9")},
		{"`eth1` is down", pairs("parent", "eth1")},
		{"`eth2` is in a bridge", pairs("parent", "eth2")},
		{"", pairs("parent", "wg0")},
		{"", pairs("parent", "lo")},
		{"", pairs("parent", "eth0", "mtu", "9000")},
		{"", pairs("parent", "eth0", "macvlan_mode", "bridged")},
		{"", pairs("parent", "eth0", "macvlan_mod", "private")},
		{"", pairs("parent", "eth0", "vlan", "40")},
		{"", pairs("parent", "eth0", "host_access", "true")},
	} {
		n := store.Network{ID: "n", Mode: "macvlan", IPv4: true, Options: c.options, Subnets: []store.Subnet{{Prefix: netip.MustParsePrefix("192.168.1.0/24")}}}
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
