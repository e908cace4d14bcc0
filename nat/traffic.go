package nat

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// Traffic is what goes by a published port: the connections that are tracked
// now, and what they carried, in both directions, since each began.
type Traffic struct {
	Connections    uint64
	Bytes, Packets uint64 // of layer 3; nothing is known of them unless Counted
	Counted        bool   // the host counts: net.netfilter.nf_conntrack_acct
}

// A PortOf is a port of an endpoint.
type PortOf struct {
	Endpoint string // ID
	Port     Port
}

// Traffic reads the table of connections once, and returns what goes by each of
// the endpoints' ports; nothing is in it for a port that nobody uses.
func (Connections) Traffic(ctx context.Context, endpoints []Endpoint) (out map[PortOf]Traffic, counted bool, err error) {
	by, owner := through{}, map[netip.Addr]string{}
	for _, e := range endpoints {
		for _, p := range e.Ports {
			if p.HostPort != 0 {
				by.add(p)
				owner[p.Target] = e.ID
			}
		}
	}
	out, counted = map[PortOf]Traffic{}, counts()
	for _, family := range trackedFamilies() {
		err := eachEntry(ctx, family, 0, func(e entry) {
			p, ok := by.find(e)
			if !ok {
				return
			}
			k := PortOf{owner[p.Target], p}
			t := out[k]
			t.Connections++
			t.Bytes += e.bytes
			t.Packets += e.packets
			t.Counted = counted
			out[k] = t
		})
		if err != nil {
			return nil, false, fmt.Errorf("nat: list connections: %w", err)
		}
	}
	return out, counted, nil
}

// counts reports whether the host counts bytes and packets of connections.
func counts() bool {
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_acct")
	return err == nil && strings.TrimSpace(string(text)) == "1"
}
