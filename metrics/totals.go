package metrics

import "fairway/store"

// totals are what the endpoints of each network have carried, with those that
// are gone: a counter must not go back when a container stops. Of one that is
// gone it holds what was read last.
type totals struct {
	last map[string]reading // by endpoint
	gone map[string]Traffic // of endpoints that were removed, and links made anew; by network
}

type reading struct {
	network string
	Traffic
}

func newTotals() totals { return totals{last: map[string]reading{}, gone: map[string]Traffic{}} }

// add takes what was read now, and returns the total of each network.
func (t *totals) add(networks []store.Network, now map[string]reading) map[string]Traffic {
	for id, old := range t.last {
		r, there := now[id]
		if !there || r.less(old.Traffic) {
			t.gone[old.network] = t.gone[old.network].plus(old.Traffic)
		}
	}
	t.last = now
	sum, known := map[string]Traffic{}, map[string]bool{}
	for _, n := range networks {
		known[n.ID] = true
		sum[n.ID] = t.gone[n.ID]
	}
	for id := range t.gone {
		if !known[id] {
			delete(t.gone, id)
		}
	}
	for _, r := range now {
		if known[r.network] {
			sum[r.network] = sum[r.network].plus(r.Traffic)
		}
	}
	return sum
}
