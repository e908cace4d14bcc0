package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
)

// A request is one call of the protocol, and what its body says.
type request struct {
	method string // less its driver: "CreateNetwork"
	engine string

	network, endpoint, sandbox string
	shape                      shape    // CreateNetwork: what the user asked for
	subnets                    []subnet // CreateNetwork
	v4, v6                     netip.Prefix
	ports                      string // Join and ProgramExternalConnectivity: "tcp/8080 udp/0"

	holder string // IPAM: the endpoint or network that the address is for; not sent

	pool, space, subPool, name, mac string
	is6, gateway                    bool
	address                         netip.Addr
}

// asker is what a request for an address tells of who asks: the name of the
// container, which has another MAC each time, or the MAC.
func (r request) asker() string {
	return fmt.Sprint(r.engine, " ", r.pool, " ", cmp.Or(r.name, r.mac), " ", r.gateway)
}

// A subnet is a pool as Docker tells the network driver of it.
type subnet struct {
	space   string
	prefix  netip.Prefix
	gateway netip.Addr
	aux     netip.Addr
}

// An outcome is what became of a request.
type outcome struct {
	lost    bool   // nobody knows
	refused string // the daemon's words
	reply   reply
}

func (o outcome) ok() bool { return !o.lost && o.refused == "" }

// A reply is every field that is looked at, of all replies.
type reply struct {
	Err, Error    string
	PoolID, Pool  string
	Address       string
	Interface     *struct{ Address, AddressIPv6, MacAddress string }
	InterfaceName *struct{ SrcName, DstPrefix string }
	Gateway       string
	GatewayIPv6   string

	DisableGatewayService bool
}

func (r request) path() string {
	switch r.method {
	case "RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress":
		return "/IpamDriver." + r.method
	}
	return "/NetworkDriver." + r.method
}

// String is how a failure shows the request.
func (r request) String() string { return r.engine + " " + r.path() + " " + string(r.body()) }

type object = map[string]any

func (r request) body() []byte {
	var v object
	switch r.method {
	case "RequestPool":
		v = object{"AddressSpace": r.space, "Pool": r.pool, "SubPool": r.subPool, "Options": nil, "V6": r.is6}
	case "ReleasePool":
		v = object{"PoolID": r.pool}
	case "RequestAddress":
		v = object{"PoolID": r.pool, "Address": addrText(r.address), "Options": r.addressOptions()}
	case "ReleaseAddress":
		v = object{"PoolID": r.pool, "Address": addrText(r.address)}
	case "CreateNetwork":
		v = r.networkBody()
	case "DeleteNetwork":
		v = object{"NetworkID": r.network}
	case "CreateEndpoint":
		v = object{"NetworkID": r.network, "EndpointID": r.endpoint, "Options": object{}, "Interface": object{
			"Address": prefixText(r.v4), "AddressIPv6": prefixText(r.v6), "MacAddress": r.mac,
		}}
	case "Join":
		options := object{}
		if r.ports != "" {
			options["com.docker.network.portmap"] = portMap(r.ports)
		}
		v = object{"NetworkID": r.network, "EndpointID": r.endpoint, "SandboxKey": r.sandbox, "Options": options}
	case "ProgramExternalConnectivity":
		v = object{"NetworkID": r.network, "EndpointID": r.endpoint, "Options": object{
			"com.docker.network.portmap": portMap(r.ports),
		}}
	default:
		v = object{"NetworkID": r.network, "EndpointID": r.endpoint}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (r request) addressOptions() map[string]string {
	o := map[string]string{}
	if r.gateway {
		o["RequestAddressType"] = "com.docker.network.gateway"
	}
	if r.mac != "" {
		o["com.docker.network.endpoint.macaddress"] = r.mac
	}
	if r.name != "" {
		o["com.docker.network.endpoint.name"] = r.name
	}
	return o
}

func (r request) networkBody() object {
	data := map[bool][]object{false: {}, true: {}}
	for _, s := range r.subnets {
		d := object{"AddressSpace": s.space, "Pool": s.prefix.String()}
		if s.gateway.IsValid() {
			d["Gateway"] = netip.PrefixFrom(s.gateway, s.prefix.Bits()).String()
		}
		if s.aux.IsValid() {
			d["AuxAddresses"] = object{"DefaultGatewayIPv4": netip.PrefixFrom(s.aux, s.prefix.Bits()).String()}
		}
		is6 := s.prefix.Addr().Is6()
		if r.shape.options["host_access"] != "" {
			d["AuxAddresses"] = object{"host": netip.PrefixFrom(nth(s.prefix, 200), s.prefix.Bits()).String()}
		}
		data[is6] = append(data[is6], d)
	}
	options := object{
		"com.docker.network.generic":     r.shape.options,
		"com.docker.network.enable_ipv4": r.shape.v4 != "",
		"com.docker.network.enable_ipv6": r.shape.v6 != "",
	}
	if r.shape.internal {
		options["com.docker.network.internal"] = true
	}
	return object{"NetworkID": r.network, "Options": options, "IPv4Data": data[false], "IPv6Data": data[true]}
}

// portMap reads "tcp/8080 udp/0": host ports, each for the container's port 80.
func portMap(ports string) []object {
	out := []object{}
	for i, word := range strings.Fields(ports) {
		proto, host := byte(6), 0
		name, _, _ := strings.Cut(word, "/")
		if _, err := fmt.Sscanf(word, name+"/%d", &host); err != nil {
			panic(err)
		}
		if name == "udp" {
			proto = 17
		}
		out = append(out, object{"Proto": proto, "Port": 80 + i, "HostPort": host, "HostPortEnd": host})
	}
	return out
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// post sends a request to a daemon in this process. One that dies meanwhile
// answers nothing.
func (d *daemon) post(r request) outcome {
	w := httptest.NewRecorder()
	d.servers[r.engine].ServeHTTP(w, httptest.NewRequest(http.MethodPost, r.path(), strings.NewReader(string(r.body()))))
	if !d.lives() {
		return outcome{lost: true}
	}
	return read(w.Code, w.Body.Bytes())
}

// read takes a reply as dockerd does.
func read(code int, body []byte) (o outcome) {
	if err := json.Unmarshal(body, &o.reply); err != nil || code != http.StatusOK {
		return outcome{refused: fmt.Sprintf("%d %s", code, body)}
	}
	o.refused = o.reply.Err + o.reply.Error
	return o
}
