package plugin

import (
	"context"
	"net/netip"

	"fairway/driver"

	"github.com/docker/go-plugins-helpers/network"
)

// done is the reply of a method that has nothing to tell.
type done struct{}

func (s *Server) activate(context.Context, *call) (any, error) {
	if s.WithoutMAC {
		return activateReply{Implements: []string{"IpamDriver"}}, nil
	}
	return activateReply{Implements: []string{"NetworkDriver", "IpamDriver"}}, nil
}

// networkCapabilities are kept by dockerd until it restarts, so they are the
// same in every release. Networks are local to a host for Docker; what they
// connect may be global.
func (s *Server) networkCapabilities(context.Context, *call) (any, error) {
	return networkCapabilities{
		CapabilitiesResponse: network.CapabilitiesResponse{
			Scope: network.LocalScope, ConnectivityScope: network.GlobalScope,
		},
		GwAllocChecker: true,
	}, nil
}

// allocateNetwork answers a Swarm manager, which asks drivers of global scope
// only: there is nothing to allocate.
func (s *Server) allocateNetwork(_ context.Context, c *call) (any, error) {
	req, err := decode[network.AllocateNetworkRequest](c.body)
	if err != nil {
		return nil, err
	}
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	return network.AllocateNetworkResponse{Options: map[string]string{}}, nil
}

func (s *Server) freeNetwork(_ context.Context, c *call) (any, error) {
	_, err := decodeDeleteNetwork(c.body)
	return done{}, err
}

// discover is told of the nodes of a Swarm. Nothing depends on them.
func (s *Server) discover(_ context.Context, c *call) (any, error) {
	_, err := decode[network.DiscoveryNotification](c.body)
	return done{}, err
}

func (s *Server) gwAllocCheck(ctx context.Context, c *call) (any, error) {
	n, err := decodeGatewayCheck(c.body)
	if err != nil {
		return nil, err
	}
	n.Engine = c.engine
	skip4, skip6, err := s.networks.CheckGateway(ctx, n)
	return gatewayCheckReply{SkipIPv4: skip4, SkipIPv6: skip6}, err
}

func (s *Server) createNetwork(ctx context.Context, c *call) (any, error) {
	n, err := decodeCreateNetwork(c.body)
	if err != nil {
		return nil, err
	}
	c.note("network", n.ID)
	n.Engine = c.engine
	return done{}, s.networks.CreateNetwork(ctx, n)
}

func (s *Server) deleteNetwork(ctx context.Context, c *call) (any, error) {
	id, err := decodeDeleteNetwork(c.body)
	if err != nil {
		return nil, err
	}
	c.note("network", id)
	return done{}, s.networks.DeleteNetwork(ctx, id)
}

func (s *Server) createEndpoint(ctx context.Context, c *call) (any, error) {
	e, given, err := decodeCreateEndpoint(c.body)
	if err != nil {
		return nil, err
	}
	c.note("network", e.Network).note("endpoint", e.ID)
	e.Engine = c.engine
	chosen, err := s.networks.CreateEndpoint(ctx, e)
	if err != nil {
		return nil, err
	}
	if chosen.MAC == "" {
		chosen.MAC = e.MAC
	}
	return network.CreateEndpointResponse{Interface: unasked(chosen, given)}, nil
}

// unasked returns what was chosen of an endpoint's addresses, less what Docker
// gave: it takes a field that it gave for a modification, even with the same
// value, and undoes the endpoint. Nil if nothing is left.
func unasked(chosen driver.EndpointReply, given network.EndpointInterface) *network.EndpointInterface {
	var i network.EndpointInterface
	if given.MacAddress == "" {
		i.MacAddress = chosen.MAC
	}
	if given.Address == "" && chosen.IPv4.IsValid() {
		i.Address = chosen.IPv4.String()
	}
	if given.AddressIPv6 == "" && chosen.IPv6.IsValid() {
		i.AddressIPv6 = chosen.IPv6.String()
	}
	if i == (network.EndpointInterface{}) {
		return nil
	}
	return &i
}

func (s *Server) deleteEndpoint(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodeEndpoint)
	if err != nil {
		return nil, err
	}
	return done{}, s.networks.DeleteEndpoint(ctx, ref.network, ref.endpoint)
}

func (s *Server) endpointInfo(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodeEndpoint)
	if err != nil {
		return nil, err
	}
	info, err := s.networks.EndpointInfo(ctx, ref.network, ref.endpoint)
	if info == nil {
		info = map[string]any{}
	}
	return infoReply{Value: info}, err
}

func (s *Server) join(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodeJoin)
	if err != nil {
		return nil, err
	}
	j, err := s.networks.Join(ctx, ref.network, ref.endpoint, ref.sandbox, ref.publish.Ports...)
	if err != nil {
		return nil, err
	}
	return newJoinReply(j), nil
}

func newJoinReply(j driver.Joined) joinReply {
	r := joinReply{
		Gateway:               addrText(j.Gateway),
		GatewayIPv6:           addrText(j.Gateway6),
		DisableGatewayService: j.DisableGatewayService,
	}
	if j.SrcName != "" {
		r.InterfaceName = &interfaceName{SrcName: j.SrcName, DstPrefix: j.DstPrefix, DstName: j.DstName}
	}
	for _, route := range j.Routes {
		static := &network.StaticRoute{Destination: route.Destination.String(), RouteType: routeConnected}
		if route.NextHop.IsValid() {
			static.RouteType, static.NextHop = routeNextHop, route.NextHop.String()
		}
		r.StaticRoutes = append(r.StaticRoutes, static)
	}
	return r
}

// addrText returns "" for the invalid address.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (s *Server) leave(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodeEndpoint)
	if err != nil {
		return nil, err
	}
	return done{}, s.networks.Leave(ctx, ref.network, ref.endpoint)
}

func (s *Server) publish(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodePublish)
	if err != nil {
		return nil, err
	}
	return done{}, s.networks.Publish(ctx, ref.network, ref.endpoint, ref.publish)
}

func (s *Server) unpublish(ctx context.Context, c *call) (any, error) {
	ref, err := c.reference(decodeEndpoint)
	if err != nil {
		return nil, err
	}
	return done{}, s.networks.Unpublish(ctx, ref.network, ref.endpoint)
}
