package ipam

import (
	"net/netip"
	"slices"
)

// A queue holds released addresses in the order of their release. An item may
// be outdated: its address has got another version since. Who reads tells.
type queue struct {
	items []queued
	head  int
}

type queued struct {
	ip netip.Addr
	l  *lease
}

// push puts in an item where its release belongs: nearly always at the end.
func (q *queue) push(ip netip.Addr, l *lease) {
	i := len(q.items)
	for i > q.head && q.items[i-1].l.Released.After(l.Released) {
		i--
	}
	q.items = slices.Insert(q.items, i, queued{ip, l})
}

// front returns the first item; its lease is nil if there is none.
func (q *queue) front() (netip.Addr, *lease) {
	if q.head == len(q.items) {
		return netip.Addr{}, nil
	}
	return q.items[q.head].ip, q.items[q.head].l
}

// pop removes the first item.
func (q *queue) pop() {
	q.items[q.head] = queued{} // lets go of the lease
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head > 64 && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// oldest returns the first address that fits.
func (q *queue) oldest(fits func(netip.Addr, *lease) bool) (netip.Addr, bool) {
	for _, i := range q.items[q.head:] {
		if fits(i.ip, i.l) {
			return i.ip, true
		}
	}
	return netip.Addr{}, false
}
