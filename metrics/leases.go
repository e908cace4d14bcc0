package metrics

import (
	"maps"

	"fairway/store"

	"github.com/prometheus/client_golang/prometheus"
)

// renewals are what became of leases: a counter of each network must not go back
// when a container gives its lease back.
type renewals struct {
	last map[leaseKey]Lease
	sums map[string]outcome // by network
}

type leaseKey struct {
	endpoint string
	ipv6     bool
}

type outcome struct{ renewed, lost uint64 }

func newRenewals() renewals {
	return renewals{last: map[leaseKey]Lease{}, sums: map[string]outcome{}}
}

// add takes what was read now. Networks that are gone are forgotten.
func (r *renewals) add(networks []store.Network, now []Lease) {
	last := map[leaseKey]Lease{}
	for _, l := range now {
		k := leaseKey{l.Endpoint, l.IPv6}
		last[k] = l
		before := r.last[k]
		if l.Renewed < before.Renewed || l.Losses < before.Losses {
			before = Lease{} // the lease is another one
		}
		sum := r.sums[l.Network]
		sum.renewed += l.Renewed - before.Renewed
		sum.lost += l.Losses - before.Losses
		r.sums[l.Network] = sum
	}
	r.last = last
	known := map[string]bool{}
	for _, n := range networks {
		known[n.ID] = true
	}
	maps.DeleteFunc(r.sums, func(network string, _ outcome) bool { return !known[network] })
}

// leases sends how the leases of each network are, and what became of them. A
// network that never had one has no series.
func (c *collector) leases(to chan<- prometheus.Metric, networks []store.Network, now []Lease) {
	c.renewals.add(networks, now)
	states, sums := map[[2]string]float64{}, map[string]outcome{}
	names := map[string]string{}
	for _, n := range networks {
		names[n.ID] = label(n)
		of, ok := c.renewals.sums[n.ID]
		if !ok {
			continue
		}
		sum := sums[label(n)]
		sums[label(n)] = outcome{sum.renewed + of.renewed, sum.lost + of.lost}
		for _, state := range leaseStates() {
			states[[2]string{label(n), state}] += 0
		}
	}
	for _, l := range now {
		if name, ok := names[l.Network]; ok {
			states[[2]string{name, l.State}]++
		}
	}
	for of, n := range states {
		c.send(to, nameLeases, prometheus.GaugeValue, n, of[0], of[1])
	}
	for name, sum := range sums {
		c.send(to, nameRenewals, prometheus.CounterValue, float64(sum.renewed), name, "renewed")
		c.send(to, nameRenewals, prometheus.CounterValue, float64(sum.lost), name, "lost")
	}
}

// findings sends what the doctor found, by code.
func (c *collector) findings(to chan<- prometheus.Metric, s Source) {
	found, at := s.Findings()
	if at.IsZero() {
		return
	}
	n := map[Finding]float64{}
	for _, f := range found {
		n[f]++
	}
	for f, n := range n {
		c.send(to, nameFinding, prometheus.GaugeValue, n, f.Code, f.Severity)
	}
	c.send(to, nameExamined, prometheus.GaugeValue, float64(at.UnixMilli())/1000)
}
