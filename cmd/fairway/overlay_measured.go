package main

import (
	"context"
	"errors"

	"fairway/metrics"
	"fairway/overlay"
)

// repairRules returns what repairs the rules of the firewall, as first does, and
// those of who may send VXLAN.
func (o *overlays) repairRules(first func(context.Context) (int, error)) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		n, err := first(ctx)
		m, filterErr := o.plane.RepairFilter(ctx)
		return n + m, errors.Join(err, filterErr)
	}
}

// measured is how the segments of this host are.
func (o *overlays) measured(ctx context.Context) metrics.Segments {
	byVNI := map[uint32]overlay.Status{}
	for _, s := range o.plane.Status() {
		byVNI[s.VNI] = s
	}
	out := metrics.Segments{Repaired: o.plane.Repaired()}
	o.mu.Lock()
	for name, s := range o.open {
		is := byVNI[s.segment.VNI]
		out.Each = append(out.Each, metrics.Segment{Name: name, Endpoints: is.Records, Hosts: len(is.Hosts), Drift: is.Last.Total()})
	}
	o.mu.Unlock()
	var err error
	if out.Denied, err = o.filter.Denied(ctx); err != nil {
		o.log.Warn(err)
	}
	return out
}
