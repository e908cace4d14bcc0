package inspect

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairway/admin"
)

// known is two networks and their endpoints. Container "web" is called like a
// network.
func known() Known {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	return Known{
		Networks: []admin.Network{
			{ID: "aaaa1111", Name: "web", Link: "fwb1", Subnets: []admin.Subnet{{Subnet: prefix("172.20.0.0/24"), Gateway: addr("172.20.0.1")}}},
			{ID: "bbbb2222", Name: "lan", Link: "eth0", Subnets: []admin.Subnet{{Subnet: prefix("192.0.2.0/24")}}},
		},
		Endpoints: []admin.Endpoint{
			{ID: "eeee1111", Network: "aaaa1111", NetworkName: "web", Container: "app", ContainerID: "cccc1111", IPv4: prefix("172.20.0.2/24"), Link: "fwv1"},
			{ID: "eeee2222", Network: "bbbb2222", NetworkName: "lan", Container: "web", ContainerID: "cccc2222", IPv4: prefix("192.0.2.7/24"), Link: "eth0"},
			{ID: "eeee3333", Network: "bbbb2222", NetworkName: "lan", Container: "app", ContainerID: "cccc1111", IPv6: prefix("2001:db8::7/64"), Link: "eth0"},
		},
		Links: map[string][]string{"fws1": {"the host's own on network lan"}},
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name                string
		networks, endpoints string // IDs
		address, link       string
		wrong               bool
	}{
		{name: "web", networks: "aaaa1111", endpoints: "eeee2222"},
		{name: "app", endpoints: "eeee1111 eeee3333"},
		{name: "cccc1", endpoints: "eeee1111 eeee3333"},
		{name: "bbbb", networks: "bbbb2222"},
		{name: "bbb", wrong: true},
		{name: "eeee2222", endpoints: "eeee2222"},
		{name: "172.20.0.2", endpoints: "eeee1111", address: "172.20.0.2"},
		{name: "::ffff:172.20.0.2", endpoints: "eeee1111", address: "172.20.0.2"},
		{name: "2001:db8::7", endpoints: "eeee3333", address: "2001:db8::7"},
		{name: "203.0.113.1", address: "203.0.113.1"}, // nobody's: the route is of interest
		{name: "fwv1", endpoints: "eeee1111", link: "fwv1"},
		{name: "eth0", networks: "bbbb2222", link: "eth0"},
		{name: "fws1", link: "fws1"},
		{name: "fwb1", networks: "aaaa1111"}, // which the kernel hasn't
		{name: "", wrong: true},
		{name: "nothing", wrong: true},
	} {
		f, err := known().Find(c.name, func(name string) bool { return name == "fwv1" || name == "eth0" })
		var networks, endpoints []string
		for _, n := range f.Networks {
			networks = append(networks, n.ID)
		}
		for _, e := range f.Endpoints {
			endpoints = append(endpoints, e.ID)
		}
		address := ""
		if f.Address.IsValid() {
			address = f.Address.String()
		}
		if strings.Join(networks, " ") != c.networks || strings.Join(endpoints, " ") != c.endpoints || address != c.address || f.Link != c.link || (err != nil) != c.wrong {
			t.Errorf("%q: networks %v, endpoints %v, address %q, link %q, %v; want %+v", c.name, networks, endpoints, address, f.Link, err, c)
		}
	}
}

func TestWhat(t *testing.T) {
	for a, want := range map[string][2]string{
		"172.20.0.1":  {"gateway of network web", "aaaa1111"},
		"172.20.0.0":  {"the address of subnet 172.20.0.0/24", "aaaa1111"},
		"192.0.2.7":   {"container web on network lan", "bbbb2222"},
		"203.0.113.1": {"", ""},
	} {
		is, networks := known().What(netip.MustParseAddr(a))
		if strings.Join(is, "; ") != want[0] || strings.Join(networks, " ") != want[1] {
			t.Errorf("%s is %q in %q, want %q", a, is, networks, want)
		}
	}
	for link, want := range map[string][]string{
		"fwv1": {"container app on network web"}, "eth0": {"network lan"}, "fws1": {"the host's own on network lan"}, "eth9": nil,
	} {
		if got := known().Whose(link); !slices.Equal(got, want) {
			t.Errorf("%s is of %q, want %q", link, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	text := func(s string) *string { return &s }
	got := Options(map[string]string{"mtu": "", "driver.mtu": "1400", "dad": "off"}, map[string]string{"mtu": "1400", "dad": "off", "icc": "true"})
	want := []Option{{"dad", text("off"), "off"}, {"driver.mtu", text("1400"), "1400"}, {"icc", nil, "true"}, {"mtu", text(""), "1400"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
