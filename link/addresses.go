package link

import (
	"context"
	"fmt"
	"net/netip"
)

// Addresses returns the host's own addresses in a namespace.
func (c *Conn) Addresses(_ context.Context, namespace string) (map[netip.Addr]bool, error) {
	s, done, err := c.in(namespace)
	if err != nil {
		return nil, fmt.Errorf("link: list addresses: %w", err)
	}
	defer done()
	all, err := s.addresses()
	if err != nil {
		return nil, fmt.Errorf("link: list addresses: %w", err)
	}
	out := map[netip.Addr]bool{}
	for a := range all {
		out[a.prefix.Addr()] = true
	}
	return out, nil
}
