package overlay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"fairway/bridge"
	"fairway/link"
	"fairway/store"
)

func here(local string) Host {
	a, _ := netip.ParseAddr(local)
	return Host{Instance: "i", Local: a, Bridge: func(n store.Network) (Bridge, error) { return bridge.New("i", n) }}
}

// backbone is the record of a network before it is settled.
func backbone(options ...string) store.Network {
	n := store.Network{
		ID: "n1", Mode: "overlay", IPv4: true, IPv6: true, Link: "fwb1234567890", Options: map[string]string{"mode": "overlay", "segment": "backbone"},
		Subnets: []store.Subnet{
			{Prefix: netip.MustParsePrefix("10.40.0.0/16"), Gateway: netip.MustParseAddr("10.40.0.1")},
			{Prefix: netip.MustParsePrefix("fd00:40::/64"), Gateway: netip.MustParseAddr("fd00:40::1")},
		},
	}
	for i := 0; i < len(options); i += 2 {
		n.Options[options[i]] = options[i+1]
	}
	return n
}

func agreed() Agreed {
	return Agreed{VNI: FirstVNI + 1, Underlay: 1500, Own: []netip.Addr{netip.MustParseAddr("10.40.3.1"), netip.MustParseAddr("fd00:40::3:1")}}
}

func settled(t *testing.T, local string, n store.Network) Network {
	t.Helper()
	if err := Settle(here(local), agreed(), &n); err != nil {
		t.Fatal(err)
	}
	v, err := New(here(local), n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSettle(t *testing.T) {
	for local, mtu := range map[string]int{"192.0.2.1": 1450, "2001:db8::1": 1430} {
		v := settled(t, local, backbone())
		r, o := v.record, v.record.Overlay
		if r.MTU != mtu || r.MAC != "02:66:77:80:00:01" || len(r.HostAddresses) != 2 {
			t.Errorf("%+v: want MTU %d, the gateway's MAC address, the host's own addresses", r, mtu)
		}
		if o.Segment != "backbone" || o.VNI != FirstVNI+1 || o.Port != 4789 || o.Link != "fwx1234567890" || len(o.MAC) != 17 {
			t.Errorf("%+v", o)
		}
	}
}

// The gateway's address is apart from the subnet, and not what the host sends from,
// if the host has one of its own there.
func TestLinks(t *testing.T) {
	text := func(set link.Set) string {
		var out []string
		for _, o := range set {
			s := o.String()
			if a, ok := o.(link.Address); ok && a.Deprecated {
				s += " deprecated"
			}
			if _, ok := o.(link.Sysctl); !ok {
				out = append(out, s)
			}
		}
		return strings.Join(out, "; ")
	}
	const b, own, vxlan = "bridge fwb1234567890", "; address 10.40.3.1/16 on fwb1234567890; address fd00:40::3:1/64 on fwb1234567890", "; vxlan fwx1234567890 to fwb1234567890"
	v := settled(t, "192.0.2.1", backbone())
	if got, want := text(v.Links()), b+own+"; address 10.40.0.1/32 on fwb1234567890 deprecated; address fd00:40::1/128 on fwb1234567890 deprecated"+vxlan; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	v.record.HostAddresses = nil
	if got, want := text(v.Links()), b+"; address 10.40.0.1/16 on fwb1234567890; address fd00:40::1/64 on fwb1234567890"+vxlan; got != want {
		t.Errorf("without addresses of its own:\n got %s\nwant %s", got, want)
	}
	set := v.Links()
	x := set[len(set)-1].(link.VXLAN)
	if x.Alias != "fairway:i:n1" || x.VNI != FirstVNI+1 || x.Port != 4789 || x.Local.String() != "192.0.2.1" || x.MTU != 1450 || x.MAC.String() != v.record.Overlay.MAC {
		t.Errorf("%+v", x)
	}
	if br := set[0].(link.Bridge); !br.Remote || br.MAC.String() != "02:66:77:80:00:01" || br.MTU != 1450 {
		t.Errorf("%+v: want the gateway's MAC address, and neighbours elsewhere", br)
	}
	if s := v.Segment(); fmt.Sprint(s.Reserved) != "[10.40.0.1 fd00:40::1]" || fmt.Sprint(s.Subnets) != "[10.40.0.0/16 fd00:40::/64]" || s.VXLAN != x.Name || s.Bridge != v.record.Link {
		t.Errorf("%+v", s)
	}
}

// A segment's multicast is agreed on, whether this host's network says so or not.
func TestMulticastAgreed(t *testing.T) {
	for _, said := range [][]string{nil, {"multicast", "true"}} {
		n, seg := backbone(said...), agreed()
		seg.Multicast = true
		if err := Settle(here("192.0.2.1"), seg, &n); err != nil {
			t.Fatal(err)
		}
		v, err := New(here("192.0.2.1"), n)
		if err != nil {
			t.Fatal(err)
		}
		set := v.Links()
		if !set[0].(link.Bridge).Multicast || !set[len(set)-1].(link.VXLAN).Multicast || !v.Segment().Multicast || v.Values()["multicast"] != "true" {
			t.Errorf("with %v: %+v, %+v", said, set, v.Segment())
		}
	}
}

// Each refusal is one line.
func TestRefusals(t *testing.T) {
	no := store.Network{Options: map[string]string{"mode": "overlay"}}
	for name, c := range map[string]struct {
		n     store.Network
		local string
		seg   func(*Agreed)
		want  string
	}{
		"no segment":       {no, "192.0.2.1", nil, `option mode="overlay": needs -o segment=NAME, and the same as --ipam-opt segment=NAME`},
		"bad segment":      {backbone("segment", "../x"), "192.0.2.1", nil, `option segment="../x": want ` + segmentAllowed},
		"typo":             {backbone("vnii", "1"), "192.0.2.1", nil, `option vnii="1": unknown; nearest is "vni"`},
		"VNI 0":            {backbone("vni", "0"), "192.0.2.1", nil, `option vni="0": want a number from 1 to 16777215`},
		"VNI of 25 bits":   {backbone("vni", "16777216"), "192.0.2.1", nil, `option vni="16777216": want a number from 1 to 16777215`},
		"another VNI":      {backbone("vni", "7"), "192.0.2.1", nil, `option vni="7": segment backbone has VNI 8388609`},
		"two VNIs":         {backbone("vni", "7", "com.docker.network.driver.overlay.vxlanid_list", "8"), "192.0.2.1", nil, `option vni="7": not allowed with com.docker.network.driver.overlay.vxlanid_list="8", which means the same`},
		"another port":     {backbone("port", "8472"), "192.0.2.1", nil, `option port="8472": segment backbone uses UDP port 4789`},
		"port":             {backbone("port", "65536"), "192.0.2.1", nil, `option port="65536": want a UDP port from 1 to 65535`},
		"MTU":              {backbone("mtu", "1500"), "192.0.2.1", nil, `option mtu="1500": the underlay carries 1500 bytes; want at most 1450`},
		"MTU over IPv6":    {backbone("mtu", "1450"), "2001:db8::1", nil, `option mtu="1450": the underlay carries 1500 bytes; want at most 1430`},
		"a small underlay": {backbone(), "192.0.2.1", func(a *Agreed) { a.Underlay = 1300 }, `segment backbone: the underlay carries 1300 bytes, want at least 1330 for IPv6 (RFC 8200)`},
		"open containers":  {backbone("antispoof", "false"), "192.0.2.1", nil, `option antispoof="false": want true`},
		"no ICC":           {backbone("com.docker.network.bridge.enable_icc", "false"), "192.0.2.1", nil, `option com.docker.network.bridge.enable_icc="false": unknown; nearest is "com.docker.network.enable_ipv4"`},
		"the bridge's own": {backbone("gateway", "10.40.0.9"), "192.0.2.1", nil, `option gateway="10.40.0.9": want none`},
		"no cluster":       {backbone(), "", nil, `option mode="overlay": this host is in no cluster: fairway daemon --cluster=URL,… --advertise-address=ADDRESS`},
		"own elsewhere":    {backbone(), "192.0.2.1", func(a *Agreed) { a.Own = []netip.Addr{netip.MustParseAddr("10.41.0.1")} }, `address 10.41.0.1 of the host: in no subnet of the network`},
		"multicast":        {backbone("multicast", "true"), "192.0.2.1", nil, `option multicast="true": segment backbone has false`},
		"no multicast":     {backbone("multicast", "0"), "192.0.2.1", func(a *Agreed) { a.Multicast = true }, `option multicast="false": segment backbone has true`},
		"some multicast":   {backbone("multicast", "some"), "192.0.2.1", nil, `option multicast="some": want true, false`},
		"no VNI":           {backbone(), "192.0.2.1", func(a *Agreed) { a.VNI = 0 }, `segment backbone: VNI 0: want a number from 1 to 16777215`},
	} {
		seg := agreed()
		if c.seg != nil {
			c.seg(&seg)
		}
		n := c.n
		if err := Settle(here(c.local), seg, &n); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

func TestCheckEndpoint(t *testing.T) {
	v := settled(t, "192.0.2.1", backbone())
	for name, c := range map[string]struct {
		e    store.Endpoint
		want string
	}{
		"fine":         {store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("10.40.0.9/16")}, ""},
		"host's own":   {store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("10.40.3.1/16")}, `address 10.40.3.1: is this host's own in segment backbone`},
		"gateway":      {store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("10.40.0.1/16")}, `address 10.40.0.1: is the network's gateway`},
		"gateway's":    {store.Endpoint{MAC: "02:66:77:80:00:01"}, `mac-address "02:66:77:80:00:01": is the host's or the gateway's in segment backbone`},
		"host's":       {store.Endpoint{MAC: v.record.Overlay.MAC}, fmt.Sprintf("mac-address %q: is the host's or the gateway's in segment backbone", v.record.Overlay.MAC)},
		"no antispoof": {store.Endpoint{MAC: "02:00:00:00:00:01", Options: map[string]string{"antispoof": "false"}}, `option antispoof="false": want true: on an overlay it is always on`},
	} {
		err := v.CheckEndpoint(c.e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

// FuzzSegment: what is taken for a name can be a part of a path, of a rule's
// comment and of a key.
func FuzzSegment(f *testing.F) {
	for _, s := range []string{"backbone", "", "-x", "a/b", "..", "a b", "ä", "a_1-b", strings.Repeat("a", 64), "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !IsSegment(s) {
			return
		}
		if strings.ContainsAny(s, "/.\\ \t\n\"'$`;") || len(s) > 63 || s == "" || s[0] == '-' || strings.ToLower(s) != s {
			t.Errorf("%q is taken for a name", s)
		}
	})
}
