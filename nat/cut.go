package nat

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Cut removes the tracked connections that came by the ports of e, which are
// published no more, to its containers. What goes another way stays.
func (Connections) Cut(ctx context.Context, e Endpoint) error {
	for _, family := range trackedFamilies() {
		by := through{}
		for _, p := range e.Ports {
			if p.HostPort != 0 && p.Target.Is6() == (family == unix.AF_INET6) {
				by.add(p)
			}
		}
		if len(by) == 0 {
			continue
		}
		err := deleteMatching(ctx, family, 0, func(e entry) bool {
			_, ok := by.find(e)
			return ok
		})
		if err != nil {
			return fmt.Errorf("nat: cut connections of endpoint %s: %w", e.ID, err)
		}
	}
	return nil
}

// A flowKey is what a translated connection tells of the port that it came by.
type flowKey struct {
	proto  uint8
	port   uint16         // the host's
	target netip.AddrPort // the container's
}

// through matches the connections that came by published ports: several have the
// same key if they are published on several addresses of the host.
type through map[flowKey][]Port

func (t through) add(p Port) {
	k := flowKey{p.Proto, p.HostPort, netip.AddrPortFrom(p.Target, p.TargetPort)}
	t[k] = append(t[k], p)
}

// keyOf returns the key of a connection that began from outside.
func keyOf(e entry) flowKey { return flowKey{e.proto, e.to.Port(), e.answers} }

// find returns the port that a connection came by.
func (t through) find(e entry) (Port, bool) {
	to := e.to.Addr()
	for _, p := range t[keyOf(e)] {
		if to != p.Target && (p.Host().IsUnspecified() || p.Host() == to) {
			return p, true
		}
	}
	return Port{}, false
}
