package plugin

import (
	"errors"
	"net/netip"
	"testing"

	"fairway/driver"
	"fairway/link"

	"github.com/google/go-cmp/cmp"
)

// What engines send, by PROTOCOL 1.3 and 2.1, and what becomes of it.
func TestNetworkCalls(t *testing.T) {
	const (
		net = `"NetworkID":"n1"`
		ref = `"NetworkID":"n1","EndpointID":"e1"`
	)
	tests := []struct {
		name, method, body string
		fake               *fake
		call, reply        string
	}{
		{
			name: "capabilities", method: "GetCapabilities",
			reply: `{"Scope":"local","ConnectivityScope":"global","GwAllocChecker":true}`,
		},
		{
			name: "swarm manager", method: "AllocateNetwork",
			body: `{` + net + `,"Options":{"a":"b"},"IPv4Data":[],"IPv6Data":[]}`, reply: `{"Options":{}}`,
		},
		{name: "swarm manager frees", method: "FreeNetwork", body: `{` + net + `}`, reply: `{}`},
		{
			name: "a node appears", method: "DiscoverNew",
			body:  `{"DiscoveryType":1,"DiscoveryData":{"Address":"192.0.2.1","BindAddress":"","Self":true}}`,
			reply: `{}`,
		},
		{name: "a node goes", method: "DiscoverDelete", body: `{"DiscoveryType":1,"DiscoveryData":{}}`, reply: `{}`},
		{
			name: "28 asks for gateways", method: "GwAllocCheck",
			body:  `{"Options":{"com.docker.network.enable_ipv4":false,"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{"mtu":"1400"}}}`,
			call:  `CheckGateway {ID: Engine: Options:map[mtu:1400] Internal:false IPv4:false IPv6:true Subnets:[]}`,
			reply: `{"SkipIPv4":true,"SkipIPv6":false}`,
		},
		{
			name: "20.10 creates: nothing of IPv4, aux, internal", method: "CreateNetwork",
			body: `{` + net + `,"Options":{"com.docker.network.enable_ipv6":false,"com.docker.network.generic":{"com.docker.network.bridge.name":"br0"},"com.docker.network.internal":true},` +
				`"IPv4Data":[{"AddressSpace":"LocalDefault","Pool":"172.28.0.0/16","Gateway":"172.28.0.1/16","AuxAddresses":{"DefaultGatewayIPv4":"172.28.0.5/16"}}],"IPv6Data":[]}`,
			call:  `CreateNetwork {ID:n1 Engine: Options:map[com.docker.network.bridge.name:br0] Internal:true IPv4:true IPv6:false Subnets:[{Space:LocalDefault Prefix:172.28.0.0/16 Gateway:172.28.0.1 Aux:map[DefaultGatewayIPv4:172.28.0.5]}]}`,
			reply: `{}`,
		},
		{
			name: "28 creates dual stack, no gateway", method: "CreateNetwork",
			body: `{` + net + `,"Options":{"com.docker.network.enable_ipv4":true,"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{}},` +
				`"IPv4Data":[{"AddressSpace":"fairway-local","Pool":"10.1.0.0/24"}],"IPv6Data":[{"AddressSpace":"fairway-local","Pool":"fd00:1::/64","Gateway":"fd00:1::1/64"}]}` + "\n",
			call:  `CreateNetwork {ID:n1 Engine: Options:map[] Internal:false IPv4:true IPv6:true Subnets:[{Space:fairway-local Prefix:10.1.0.0/24 Gateway:invalid IP Aux:map[]} {Space:fairway-local Prefix:fd00:1::/64 Gateway:fd00:1::1 Aux:map[]}]}`,
			reply: `{}`,
		},
		{
			name: "null IPAM, null lists, an option of the future", method: "CreateNetwork",
			body:  `{` + net + `,"Options":{"com.docker.network.future":{"x":[1]},"com.docker.network.generic":null},"IPv4Data":[{"AddressSpace":"null","Pool":"0.0.0.0/0"}],"IPv6Data":null,"Future":1}`,
			call:  `CreateNetwork {ID:n1 Engine: Options:map[] Internal:false IPv4:true IPv6:false Subnets:[{Space:null Prefix:0.0.0.0/0 Gateway:invalid IP Aux:map[]}]}`,
			reply: `{}`,
		},
		{
			name: "create refused", method: "CreateNetwork", body: `{` + net + `}`,
			fake:  &fake{err: errors.New(`option "mtuu"="9": unknown; nearest is "mtu"`)},
			call:  `CreateNetwork {ID:n1 Engine: Options:map[] Internal:false IPv4:true IPv6:false Subnets:[]}`,
			reply: `{"Err":"option \"mtuu\"=\"9\": unknown; nearest is \"mtu\""}`,
		},
		{name: "delete", method: "DeleteNetwork", body: `{` + net + `}`, call: `DeleteNetwork n1`, reply: `{}`},
		{
			name: "endpoint with everything given: nothing comes back", method: "CreateEndpoint",
			body: `{` + ref + `,"Interface":{"Address":"10.1.0.2/24","AddressIPv6":"fd00:1::2/64","MacAddress":"02:42:ac:11:00:02"},` +
				`"Options":{"com.docker.network.endpoint.macaddress":"AkKsEQAC","com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}],` +
				`"com.docker.network.portmap":[{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080}],` +
				`"com.docker.network.endpoint.dnsservers":["1.2.3.4"],"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.log_martians=1","antispoof":"off"}}`,
			fake: &fake{reply: driver.EndpointReply{
				MAC: "02:42:ac:11:00:02", IPv4: netip.MustParsePrefix("10.1.0.2/24"), IPv6: netip.MustParsePrefix("fd00:1::2/64"),
			}},
			call:  `CreateEndpoint {ID:e1 Network:n1 Engine: MAC:02:42:ac:11:00:02 IPv4:10.1.0.2/24 IPv6:fd00:1::2/64 Options:map[antispoof:off com.docker.network.endpoint.sysctls:net.ipv4.conf.IFNAME.log_martians=1] Ports:1}`,
			reply: `{"Interface":null}`,
		},
		{
			name: "endpoint without a MAC gets one", method: "CreateEndpoint",
			body:  `{` + ref + `,"Interface":{"Address":"10.1.0.2/24","AddressIPv6":"","MacAddress":""},"Options":{"com.docker.network.portmap":null}}`,
			fake:  &fake{reply: driver.EndpointReply{MAC: "02:00:00:00:00:01"}},
			call:  `CreateEndpoint {ID:e1 Network:n1 Engine: MAC: IPv4:10.1.0.2/24 IPv6:invalid Prefix Options:map[] Ports:0}`,
			reply: `{"Interface":{"Address":"","AddressIPv6":"","MacAddress":"02:00:00:00:00:01"}}`,
		},
		{
			name: "the MAC only as an option", method: "CreateEndpoint",
			body:  `{` + ref + `,"Interface":{},"Options":{"com.docker.network.endpoint.macaddress":"AkKsEQAC"}}`,
			call:  `CreateEndpoint {ID:e1 Network:n1 Engine: MAC:02:42:ac:11:00:02 IPv4:invalid Prefix IPv6:invalid Prefix Options:map[] Ports:0}`,
			reply: `{"Interface":{"Address":"","AddressIPv6":"","MacAddress":"02:42:ac:11:00:02"}}`,
		},
		{name: "delete endpoint", method: "DeleteEndpoint", body: `{` + ref + `}`, call: `DeleteEndpoint n1 e1`, reply: `{}`},
		{
			name: "info", method: "EndpointOperInfo", body: `{` + ref + `}`,
			fake: &fake{info: map[string]any{"link": "fwv1", "mtu": 1500}},
			call: `EndpointInfo n1 e1`, reply: `{"Value":{"link":"fwv1","mtu":1500}}`,
		},
		{name: "no info", method: "EndpointOperInfo", body: `{` + ref + `}`, call: `EndpointInfo n1 e1`, reply: `{"Value":{}}`},
		{
			name: "join", method: "Join",
			body: `{` + ref + `,"SandboxKey":"/var/run/docker/netns/0123456789ab","Options":{"com.docker.network.portmap":[],"com.docker.network.endpoint.exposedports":[{"Proto":132,"Port":9}]}}`,
			fake: &fake{joined: driver.Joined{
				SrcName: "fwi1", DstPrefix: "eth", DstName: "lan0",
				Gateway: netip.MustParseAddr("10.1.0.1"), Gateway6: netip.MustParseAddr("fd00:1::1"),
				Routes: []link.Route{
					{Destination: netip.MustParsePrefix("10.0.0.0/8"), NextHop: netip.MustParseAddr("10.1.0.9")},
					{Destination: netip.MustParsePrefix("192.0.2.0/24")},
				},
			}},
			call: `Join n1 e1 /var/run/docker/netns/0123456789ab`,
			reply: `{"InterfaceName":{"SrcName":"fwi1","DstPrefix":"eth","DstName":"lan0"},"Gateway":"10.1.0.1","GatewayIPv6":"fd00:1::1",` +
				`"StaticRoutes":[{"Destination":"10.0.0.0/8","RouteType":0,"NextHop":"10.1.0.9"},{"Destination":"192.0.2.0/24","RouteType":1,"NextHop":""}]}`,
		},
		{
			name: "join without a gateway", method: "Join", body: `{` + ref + `,"SandboxKey":"/x","Options":null}`,
			fake: &fake{joined: driver.Joined{SrcName: "fwi1", DstPrefix: "eth", DisableGatewayService: true}},
			call: `Join n1 e1 /x`, reply: `{"InterfaceName":{"SrcName":"fwi1","DstPrefix":"eth"},"DisableGatewayService":true}`,
		},
		{name: "leave", method: "Leave", body: `{` + ref + `}`, call: `Leave n1 e1`, reply: `{}`},
		{
			name: "publish", method: "ProgramExternalConnectivity",
			body: `{` + ref + `,"Options":{"com.docker.network.driver.private.no_proxy_6to4":true,"com.docker.network.endpoint.exposedports":[],"com.docker.network.portmap":[` +
				`{"Proto":6,"IP":"","Port":80,"HostIP":"127.0.0.1","HostPort":8000,"HostPortEnd":8010},` +
				`{"Proto":17,"IP":"","Port":53,"HostIP":"::","HostPort":0,"HostPortEnd":0}]}}`,
			call: `Publish n1 e1 {Ports:[{Proto:6 HostIP:127.0.0.1 HostPort:8000 HostPortEnd:8010 IP:invalid IP Port:80}` +
				` {Proto:17 HostIP::: HostPort:0 HostPortEnd:0 IP:invalid IP Port:53}] IPv6Elsewhere:true}`,
			reply: `{}`,
		},
		{name: "publish nothing", method: "ProgramExternalConnectivity", body: `{` + ref + `,"Options":{}}`, call: `Publish n1 e1 {Ports:[] IPv6Elsewhere:false}`, reply: `{}`},
		{
			name: "port taken", method: "ProgramExternalConnectivity", body: `{` + ref + `}`,
			fake: &fake{err: errors.New("Bind for 0.0.0.0:80 failed: port is already allocated")},
			call: `Publish n1 e1 {Ports:[] IPv6Elsewhere:false}`, reply: `{"Err":"Bind for 0.0.0.0:80 failed: port is already allocated"}`,
		},
		{name: "unpublish", method: "RevokeExternalConnectivity", body: `{` + ref + `}`, call: `Unpublish n1 e1`, reply: `{}`},
		{
			name: "an error without a text is still one", method: "Leave", body: `{` + ref + `}`,
			fake: &fake{err: errors.New("")}, call: `Leave n1 e1`, reply: `{"Err":"unknown error"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.fake
			if f == nil {
				f = &fake{}
			}
			status, reply := post(t, newTestServer(f, nil), "/NetworkDriver."+tt.method, tt.body)
			var want []string
			if tt.call != "" {
				want = []string{tt.call}
			}
			if d := cmp.Diff(want, f.taken()); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			if status != 200 || reply != tt.reply {
				t.Errorf("reply %d %s\nwant  200 %s", status, reply, tt.reply)
			}
		})
	}
}
