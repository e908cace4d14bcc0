package plugin

import (
	"fmt"
	"net/netip"

	"fairway/driver"
	"fairway/store"

	"github.com/docker/go-plugins-helpers/network"
)

// A reference names a network, an endpoint of it, and what is asked of them.
type reference struct {
	network, endpoint string
	sandbox           string             // Join only
	publish           driver.PublishSpec // ProgramExternalConnectivity; Join: the ports
}

func newReference(network, endpoint string) (reference, error) {
	if err := checkID("NetworkID", network); err != nil {
		return reference{}, err
	}
	if err := checkID("EndpointID", endpoint); err != nil {
		return reference{}, err
	}
	return reference{network: network, endpoint: endpoint}, nil
}

func decodeGatewayCheck(body []byte) (driver.NetworkSpec, error) {
	req, err := decode[gatewayCheckRequest](body)
	if err != nil {
		return driver.NetworkSpec{}, err
	}
	return networkSpec(createNetworkRequest{Options: req.Options})
}

func decodeCreateNetwork(body []byte) (driver.NetworkSpec, error) {
	req, err := decode[createNetworkRequest](body)
	if err != nil {
		return driver.NetworkSpec{}, err
	}
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return driver.NetworkSpec{}, err
	}
	return networkSpec(req)
}

func networkSpec(req createNetworkRequest) (n driver.NetworkSpec, err error) {
	n.ID = req.NetworkID
	if n.Options, err = req.Options.generic(); err != nil {
		return driver.NetworkSpec{}, err
	}
	if n.Internal, err = req.Options.boolean(keyInternal, false); err != nil {
		return driver.NetworkSpec{}, err
	}
	if n.IPv4, err = req.Options.boolean(keyEnableIPv4, true); err != nil {
		return driver.NetworkSpec{}, err
	}
	if n.IPv6, err = req.Options.boolean(keyEnableIPv6, false); err != nil {
		return driver.NetworkSpec{}, err
	}
	for _, pools := range []struct {
		family
		data []ipamData
	}{{ipv4, req.IPv4Data}, {ipv6, req.IPv6Data}} {
		for _, d := range pools.data {
			s, err := d.subnet(pools.family)
			if err != nil {
				return driver.NetworkSpec{}, err
			}
			n.Subnets = append(n.Subnets, s)
		}
	}
	return n, nil
}

func (d ipamData) subnet(f family) (store.Subnet, error) {
	prefix, err := parsePrefix("Pool", d.Pool, f)
	if err != nil {
		return store.Subnet{}, err
	}
	if !prefix.IsValid() {
		return store.Subnet{}, fmt.Errorf("malformed request: Pool %q: want %s address with a prefix length", "", f)
	}
	gateway, err := parseAddr("Gateway", d.Gateway, f)
	if err != nil {
		return store.Subnet{}, err
	}
	s := store.Subnet{Space: d.AddressSpace, Prefix: prefix.Masked(), Gateway: gateway}
	for name, text := range d.AuxAddresses {
		a, err := parseAddr("AuxAddresses", text, f)
		if err != nil {
			return store.Subnet{}, err
		}
		if !a.IsValid() {
			continue
		}
		if s.Aux == nil {
			s.Aux = make(map[string]netip.Addr, len(d.AuxAddresses))
		}
		s.Aux[name] = a
	}
	return s, nil
}

func decodeDeleteNetwork(body []byte) (id string, err error) {
	req, err := decode[network.DeleteNetworkRequest](body)
	if err != nil {
		return "", err
	}
	return req.NetworkID, checkID("NetworkID", req.NetworkID)
}

// decodeCreateEndpoint also says which address fields Docker filled in by
// Interface: those must not come back in the reply.
func decodeCreateEndpoint(body []byte) (e driver.EndpointSpec, given network.EndpointInterface, err error) {
	req, err := decode[createEndpointRequest](body)
	if err != nil {
		return e, given, err
	}
	if _, err = newReference(req.NetworkID, req.EndpointID); err != nil {
		return e, given, err
	}
	ports, err := req.Options.ports()
	if err != nil { // checked early; ProgramExternalConnectivity brings them again
		return e, given, err
	}
	e = driver.EndpointSpec{ID: req.EndpointID, Network: req.NetworkID, Options: req.Options.texts(), Ports: len(ports)}
	if e.IPv4, err = parsePrefix("Interface.Address", req.Interface.Address, ipv4); err != nil {
		return driver.EndpointSpec{}, given, err
	}
	if e.IPv6, err = parsePrefix("Interface.AddressIPv6", req.Interface.AddressIPv6, ipv6); err != nil {
		return driver.EndpointSpec{}, given, err
	}
	if e.MAC, err = endpointMAC(req); err != nil {
		return driver.EndpointSpec{}, given, err
	}
	return e, req.Interface, nil
}

// endpointMAC returns the address that was asked for in either of its two places.
func endpointMAC(req createEndpointRequest) (string, error) {
	mac, err := parseMAC("Interface.MacAddress", req.Interface.MacAddress)
	if err != nil {
		return "", err
	}
	option, err := req.Options.mac()
	if err != nil {
		return "", err
	}
	switch {
	case mac == "":
		return option, nil
	case option != "" && option != mac:
		return "", fmt.Errorf("malformed request: Interface.MacAddress %s and option %s=%s: want the same", mac, keyMAC, option)
	}
	return mac, nil
}

func decodeEndpoint(body []byte) (reference, error) {
	req, err := decode[network.InfoRequest](body)
	if err != nil {
		return reference{}, err
	}
	return newReference(req.NetworkID, req.EndpointID)
}

func decodeJoin(body []byte) (reference, error) {
	req, err := decode[joinRequest](body)
	if err != nil {
		return reference{}, err
	}
	ref, err := newReference(req.NetworkID, req.EndpointID)
	if err != nil {
		return reference{}, err
	}
	if err := checkSandbox(req.SandboxKey); err != nil {
		return reference{}, err
	}
	if ref.publish.Ports, err = req.Options.ports(); err != nil {
		return reference{}, err
	}
	ref.sandbox = req.SandboxKey
	return ref, nil
}

func decodePublish(body []byte) (reference, error) {
	req, err := decode[publishRequest](body)
	if err != nil {
		return reference{}, err
	}
	ref, err := newReference(req.NetworkID, req.EndpointID)
	if err != nil {
		return reference{}, err
	}
	if ref.publish.Ports, err = req.Options.ports(); err != nil {
		return reference{}, err
	}
	if ref.publish.IPv6Elsewhere, err = req.Options.boolean(keyNoProxy6To4, false); err != nil {
		return reference{}, err
	}
	return ref, nil
}
