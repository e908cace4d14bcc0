package nat

import (
	"context"
	"fmt"
	"net/netip"
)

// Count reads the table of connections once, and returns how many each of the
// addresses has, whoever began them. One between two of them is both's.
func (Connections) Count(ctx context.Context, addresses []netip.Addr) (map[netip.Addr]uint64, error) {
	wanted := make(map[netip.Addr]bool, len(addresses))
	for _, a := range addresses {
		wanted[a] = true
	}
	out := map[netip.Addr]uint64{}
	for _, family := range trackedFamilies() {
		err := eachEntry(ctx, family, 0, func(e entry) {
			from, to := e.from.Addr(), e.answers.Addr()
			if wanted[from] {
				out[from]++
			}
			if wanted[to] && to != from {
				out[to]++
			}
		})
		if err != nil {
			return nil, fmt.Errorf("nat: list connections: %w", err)
		}
	}
	return out, nil
}
