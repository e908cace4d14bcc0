package plugin

import (
	"context"

	fairwayipam "fairway/ipam"

	"github.com/docker/go-plugins-helpers/ipam"
)

// addressCapabilities are kept by dockerd until it restarts. It tells the MAC
// with each address, which DHCP needs; pools are on record here, so they need not
// be told again when it starts.
func (s *Server) addressCapabilities(context.Context, *call) (any, error) {
	return addressCapabilities{RequiresMACAddress: !s.WithoutMAC, RequiresRequestReplay: false}, nil
}

func (s *Server) addressSpaces(context.Context, *call) (any, error) {
	if s.WithoutMAC {
		return ipam.AddressSpacesResponse{
			LocalDefaultAddressSpace: fairwayipam.SpaceIPvlan, GlobalDefaultAddressSpace: fairwayipam.SpaceIPvlan,
		}, nil
	}
	return ipam.AddressSpacesResponse{
		LocalDefaultAddressSpace:  fairwayipam.SpaceLocal,
		GlobalDefaultAddressSpace: fairwayipam.SpaceGlobal,
	}, nil
}

func (s *Server) requestPool(ctx context.Context, c *call) (any, error) {
	p, err := decodeRequestPool(c.body)
	if err != nil {
		return nil, err
	}
	p.Engine = c.engine
	got, err := s.addresses.RequestPool(ctx, p)
	if err != nil {
		return nil, err
	}
	c.note("pool", got.ID).note("subnet", got.Prefix.String())
	return ipam.RequestPoolResponse{PoolID: got.ID, Pool: got.Prefix.String(), Data: map[string]string{}}, nil
}

func (s *Server) releasePool(ctx context.Context, c *call) (any, error) {
	pool, err := decodeReleasePool(c.body)
	if err != nil {
		return nil, err
	}
	c.note("pool", pool)
	return done{}, s.addresses.ReleasePool(ctx, pool)
}

func (s *Server) requestAddress(ctx context.Context, c *call) (any, error) {
	a, err := decodeRequestAddress(c.body)
	if err != nil {
		return nil, err
	}
	c.note("pool", a.Pool)
	a.Engine = c.engine
	got, err := s.addresses.RequestAddress(ctx, a)
	if err != nil {
		return nil, err
	}
	c.note("address", got.String())
	return ipam.RequestAddressResponse{Address: got.String(), Data: map[string]string{}}, nil
}

func (s *Server) releaseAddress(ctx context.Context, c *call) (any, error) {
	pool, ip, err := decodeReleaseAddress(c.body)
	if err != nil {
		return nil, err
	}
	c.note("pool", pool).note("address", ip.String())
	return done{}, s.addresses.ReleaseAddress(ctx, pool, ip)
}
