package plugin

import (
	"encoding/json"
	"strings"
	"testing"
)

// Bad requests reach no driver and are answered with one line.
func TestRefusals(t *testing.T) {
	ref := func(more string) string { return `{"NetworkID":"n1","EndpointID":"e1"` + more + `}` }
	port := func(p string) string { return ref(`,"Options":{"com.docker.network.portmap":[` + p + `]}`) }
	tests := []struct{ method, body, want string }{
		// Docker repeats a request after a broken connection with an empty body.
		{"NetworkDriver.CreateNetwork", "", "empty body"},
		{"NetworkDriver.Leave", " \n", "empty body"},
		{"IpamDriver.ReleasePool", "", "empty body"},
		{"NetworkDriver.GwAllocCheck", "", "empty body"},
		{"NetworkDriver.FreeNetwork", "", "empty body"},
		{"NetworkDriver.DiscoverNew", "", "empty body"},

		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"n1"} {}`, "after top-level value"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"n1"`, "unexpected end"},
		{"NetworkDriver.DeleteNetwork", `["n1"]`, "cannot unmarshal array"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":7}`, "cannot unmarshal number"},
		{"NetworkDriver.DeleteNetwork", `null`, "NetworkID"},
		{"NetworkDriver.DeleteNetwork", strings.Repeat("[", 20000), "exceeded max depth"},

		{"NetworkDriver.DeleteNetwork", `{"NetworkID":""}`, "want 1 to 128"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"../etc"}`, "want 1 to 128"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":".."}`, "want 1 to 128"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"a\u0000b"}`, "want 1 to 128"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"ä"}`, "want 1 to 128"},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"` + strings.Repeat("a", 129) + `"}`, "want 1 to 128"},
		{"NetworkDriver.Leave", `{"NetworkID":"n1","EndpointID":""}`, "EndpointID"},

		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.internal":"yes"}}`, "want true or false"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.generic":["mtu"]}}`, "want an object of texts"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.generic":{"mtu":1500}}}`, "option mtu=\"1500\": want a text"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv4Data":[{"Pool":""}]}`, "Pool \"\""},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv4Data":[{"Pool":"10.0.0.0"}]}`, "prefix length"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv4Data":[{"Pool":"fd00::/64"}]}`, "want an IPv4 address"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv6Data":[{"Pool":"10.0.0.0/8"}]}`, "want an IPv6 address"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv6Data":[{"Pool":"::ffff:10.0.0.0/104"}]}`, "want an IPv6 address"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv4Data":[{"Pool":"10.0.0.0/8","Gateway":"10.0.0"}]}`, "Gateway"},
		{"NetworkDriver.CreateNetwork", `{"NetworkID":"n1","IPv4Data":[{"Pool":"10.0.0.0/8","AuxAddresses":{"a":"fd00::1"}}]}`, "AuxAddresses"},

		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"Address":"10.0.0.2"}`), "Interface.Address"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"AddressIPv6":"fe80::1%eth0/64"}`), "Interface.AddressIPv6"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"MacAddress":"02:42"}`), "want a MAC"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"MacAddress":"01:00:5e:00:00:01"}`), "unicast"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"MacAddress":"00:00:00:00:00:00"}`), "unicast"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"MacAddress":"02:42:ac:11:00:02:00:00"}`), "six bytes"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Options":{"com.docker.network.endpoint.macaddress":"02:42"}`), "want base64"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Options":{"com.docker.network.endpoint.macaddress":"AkKs"}`), "six bytes"},
		{"NetworkDriver.CreateEndpoint", ref(`,"Interface":{"MacAddress":"02:42:ac:11:00:03"},"Options":{"com.docker.network.endpoint.macaddress":"AkKsEQAC"}`), "want the same"},
		{"NetworkDriver.CreateEndpoint", port(`{"Proto":6,"Port":0}`), "port 0"},

		{"NetworkDriver.Join", ref(``), "SandboxKey"},
		{"NetworkDriver.Join", ref(`,"SandboxKey":"var/run/docker/netns/a"`), "SandboxKey"},
		{"NetworkDriver.Join", ref(`,"SandboxKey":"/var/run/../../etc/passwd"`), "SandboxKey"},
		{"NetworkDriver.Join", ref(`,"SandboxKey":"/a\u0000"`), "SandboxKey"},
		{"NetworkDriver.Join", ref(`,"SandboxKey":"/x","Options":{"com.docker.network.endpoint.exposedports":[{"Proto":1,"Port":1}]}`), "protocol 1"},

		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":1,"Port":80}`), "protocol 1"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":262,"Port":80}`), "cannot unmarshal"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":65536}`), "cannot unmarshal"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":-1}`), "cannot unmarshal"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":80,"HostPort":81,"HostPortEnd":80}`), "lower one first"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":80,"HostPortEnd":80}`), "lower one first"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":80,"HostIP":"localhost"}`), "HostIP"},
		{"NetworkDriver.ProgramExternalConnectivity", port(`{"Proto":6,"Port":80,"IP":"x"}`), "IP"},
		{"NetworkDriver.ProgramExternalConnectivity", ref(`,"Options":{"com.docker.network.portmap":{}}`), "portmap"},

		{"IpamDriver.RequestPool", `{"Options":{"a":1}}`, "cannot unmarshal"},
		{"IpamDriver.ReleasePool", `{"PoolID":"a b"}`, "PoolID"},
		{"IpamDriver.ReleasePool", `{}`, "PoolID"},
		{"IpamDriver.RequestAddress", `{"PoolID":"p1","Address":"10.0.0"}`, "want an IP address"},
		{"IpamDriver.RequestAddress", `{"PoolID":"p1","Options":{"com.docker.network.endpoint.macaddress":"AkKsEQAC"}}`, "want a MAC"},
		{"IpamDriver.ReleaseAddress", `{"PoolID":"p1","Address":"web"}`, "want an IP address"},
	}
	for _, tt := range tests {
		f := &fake{}
		status, reply := post(t, newTestServer(f, nil), "/"+tt.method, tt.body)
		var got map[string]string
		if err := json.Unmarshal([]byte(reply), &got); err != nil {
			t.Fatalf("%s %.80s: reply %q: %v", tt.method, tt.body, reply, err)
		}
		key := "Err"
		if strings.HasPrefix(tt.method, "Ipam") {
			key = "Error"
		}
		if status != 200 || !strings.Contains(got[key], tt.want) || strings.Contains(got[key], "\n") {
			t.Errorf("%s %.80s: reply %d %s, want 200 with %q in %s", tt.method, tt.body, status, reply, tt.want, key)
		}
		if len(reply) > 400 {
			t.Errorf("%s: reply of %d bytes for a bad request", tt.method, len(reply))
		}
		if calls := f.taken(); calls != nil {
			t.Errorf("%s %.80s: reached the driver: %v", tt.method, tt.body, calls)
		}
	}
}
