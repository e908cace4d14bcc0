package plugin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"fairway/store"
)

// Each decoder's target checks what it accepts: only that reaches a driver.

var (
	goodID   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	goodPool = regexp.MustCompile(`^[!-~]{1,256}$`)
)

func seed(f *testing.F, bodies ...string) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	for _, b := range []string{"", "null", "{}", "[]", `{"NetworkID":"n1","EndpointID":"e1"}`, `{"PoolID":"p1"}`, `{"NetworkID":"n1"} 1`} {
		f.Add([]byte(b))
	}
}

func checkSubnet(t *testing.T, s store.Subnet) {
	if !s.Prefix.IsValid() || s.Prefix != s.Prefix.Masked() || s.Prefix.Addr().Is4In6() {
		t.Errorf("accepted pool %s", s.Prefix)
	}
	addrs := []netip.Addr{s.Gateway}
	for _, a := range s.Aux {
		if !a.IsValid() {
			t.Error("accepted an aux address that is none")
		}
		addrs = append(addrs, a)
	}
	for _, a := range addrs {
		if a.IsValid() && (a.Is6() != s.Is6() || a.Is4In6() || a.Zone() != "") {
			t.Errorf("accepted %s in pool %s", a, s.Prefix)
		}
	}
}

func checkPorts(t *testing.T, ports []store.PortBinding) {
	for _, p := range ports {
		if p.Port == 0 || p.IP.IsValid() || p.HostIP.Zone() != "" ||
			p.HostPortEnd != 0 && (p.HostPort == 0 || p.HostPortEnd < p.HostPort) ||
			p.Proto != 6 && p.Proto != 17 && p.Proto != 132 {
			t.Errorf("accepted port %+v", p)
		}
	}
}

func checkStation(t *testing.T, mac string) {
	if mac == "" {
		return
	}
	m, err := net.ParseMAC(mac)
	if err != nil || len(m) != 6 || m[0]&1 != 0 || mac != m.String() || mac == "00:00:00:00:00:00" {
		t.Errorf("accepted MAC %q", mac)
	}
}

func FuzzCreateNetwork(f *testing.F) {
	seed(f, `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{"mtu":"1400"},"com.docker.network.internal":true},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"172.28.0.0/16","Gateway":"172.28.0.1/16","AuxAddresses":{"DefaultGatewayIPv4":"172.28.0.5/16"}}],"IPv6Data":[{"Pool":"fd00::/64"}]}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := decodeCreateNetwork(body)
		if err != nil {
			return
		}
		if !goodID.MatchString(n.ID) {
			t.Errorf("accepted ID %q", n.ID)
		}
		for _, s := range n.Subnets {
			checkSubnet(t, s)
		}
		for k, v := range n.Options {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Errorf("accepted option %q=%q", k, v)
			}
		}
	})
}

func FuzzGatewayCheck(f *testing.F) {
	seed(f, `{"Options":{"com.docker.network.enable_ipv4":false,"com.docker.network.generic":{"a":"b"}}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := decodeGatewayCheck(body)
		if err == nil && (n.ID != "" || n.Subnets != nil || n.Options == nil) {
			t.Errorf("accepted %+v", n)
		}
	})
}

func FuzzDeleteNetwork(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if id, err := decodeDeleteNetwork(body); err == nil && !goodID.MatchString(id) {
			t.Errorf("accepted ID %q", id)
		}
	})
}

func FuzzCreateEndpoint(f *testing.F) {
	seed(f, `{"NetworkID":"n1","EndpointID":"e1","Interface":{"Address":"10.1.0.2/24","AddressIPv6":"fd00::2/64","MacAddress":"02:42:ac:11:00:02"},`+
		`"Options":{"com.docker.network.endpoint.macaddress":"AkKsEQAC","com.docker.network.portmap":[{"Proto":6,"Port":80}],"antispoof":"off"}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		e, given, err := decodeCreateEndpoint(body)
		if err != nil {
			return
		}
		if !goodID.MatchString(e.ID) || !goodID.MatchString(e.Network) {
			t.Errorf("accepted IDs %q %q", e.ID, e.Network)
		}
		checkStation(t, e.MAC)
		if e.IPv4.IsValid() && !e.IPv4.Addr().Is4() || e.IPv6.IsValid() && (!e.IPv6.Addr().Is6() || e.IPv6.Addr().Is4In6()) {
			t.Errorf("accepted addresses %s %s", e.IPv4, e.IPv6)
		}
		if e.IPv4.IsValid() != (given.Address != "") || e.IPv6.IsValid() != (given.AddressIPv6 != "") {
			t.Errorf("addresses %s %s of %+v", e.IPv4, e.IPv6, given)
		}
	})
}

func checkReference(t *testing.T, ref reference) {
	if !goodID.MatchString(ref.network) || !goodID.MatchString(ref.endpoint) {
		t.Errorf("accepted IDs %q %q", ref.network, ref.endpoint)
	}
	checkPorts(t, ref.publish.Ports)
}

func FuzzEndpoint(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if ref, err := decodeEndpoint(body); err == nil {
			checkReference(t, ref)
		}
	})
}

func FuzzJoin(f *testing.F) {
	seed(f, `{"NetworkID":"n1","EndpointID":"e1","SandboxKey":"/var/run/docker/netns/0123456789ab","Options":{"com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}]}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		ref, err := decodeJoin(body)
		if err != nil {
			return
		}
		checkReference(t, ref)
		if !path.IsAbs(ref.sandbox) || path.Clean(ref.sandbox) != ref.sandbox || strings.ContainsRune(ref.sandbox, 0) {
			t.Errorf("accepted sandbox %q", ref.sandbox)
		}
	})
}

func FuzzPublish(f *testing.F) {
	seed(f, `{"NetworkID":"n1","EndpointID":"e1","Options":{"com.docker.network.portmap":[{"Proto":6,"IP":"","Port":80,"HostIP":"::1","HostPort":8080,"HostPortEnd":8081}]}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		if ref, err := decodePublish(body); err == nil {
			checkReference(t, ref)
		}
	})
}

func FuzzRequestPool(f *testing.F) {
	seed(f, `{"AddressSpace":"fairway-local","Pool":"10.0.0.0/8","SubPool":"10.1.0.0/16","Options":{"a":"b"},"V6":false}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeRequestPool(body)
		if err == nil && (p.Engine != "" || !utf8.ValidString(p.Pool+p.SubPool+p.Space)) {
			t.Errorf("accepted %+v", p)
		}
	})
}

func FuzzReleasePool(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if id, err := decodeReleasePool(body); err == nil && !goodPool.MatchString(id) {
			t.Errorf("accepted pool %q", id)
		}
	})
}

func FuzzRequestAddress(f *testing.F) {
	seed(f, `{"PoolID":"p1","Address":"10.0.0.2","Options":{"RequestAddressType":"com.docker.network.gateway","com.docker.network.endpoint.name":"web","com.docker.network.endpoint.macaddress":"02:42:ac:11:00:02"}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decodeRequestAddress(body)
		if err != nil {
			return
		}
		checkStation(t, a.MAC)
		if !goodPool.MatchString(a.Pool) || a.Address.Is4In6() || a.Address.Zone() != "" || containerName(a.Name) != a.Name {
			t.Errorf("accepted %+v", a)
		}
	})
}

func FuzzReleaseAddress(f *testing.F) {
	seed(f, `{"PoolID":"p1","Address":"10.0.0.2"}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		pool, ip, err := decodeReleaseAddress(body)
		if err == nil && (!goodPool.MatchString(pool) || !ip.IsValid() || ip.Zone() != "") {
			t.Errorf("accepted %q %s", pool, ip)
		}
	})
}

// FuzzServe sends any body to any path: the reply is one JSON object, with an
// error in the field where dockerd looks for it or without one; a call that
// succeeds reached its driver at most once.
func FuzzServe(f *testing.F) {
	for p := range methods() {
		f.Add(p, []byte(`{"NetworkID":"n1","EndpointID":"e1","SandboxKey":"/x","PoolID":"p1","Address":"10.0.0.2"}`))
		f.Add(p, []byte(``))
	}
	f.Add("/NetworkDriver.Nonsense", []byte(`{}`))
	f.Fuzz(func(t *testing.T, p string, body []byte) {
		if strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '?' || r == '#' }) {
			return // no path that net/http would hand over
		}
		d := &fake{before: func(ctx context.Context) {
			if ctx.Err() != nil {
				t.Error("call without time")
			}
		}}
		d.pool.ID, d.address = "p1", netip.MustParsePrefix("10.0.0.2/24")
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body)))
		r.URL.Path = p
		w := httptest.NewRecorder()
		newTestServer(d, func(o *Options) { o.BodyLimit = 4096 }).ServeHTTP(w, r)

		var reply map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%s %q: reply %q: %v", p, body, w.Body, err)
		}
		key := "Err"
		if w.Code == 200 && strings.HasPrefix(p, "/IpamDriver.") {
			key = "Error"
		}
		text, failed := reply[key].(string)
		calls := d.taken()
		switch {
		case failed && (text == "" || len(calls) > 0):
			t.Errorf("%s %q: error %q after calls %v", p, body, text, calls)
		case !failed && (w.Code != 200 || len(calls) > 1):
			t.Errorf("%s %q: status %d without an error, calls %v", p, body, w.Code, calls)
		case strings.Contains(text, "internal error"):
			t.Errorf("%s %q: panic", p, body)
		}
	})
}
