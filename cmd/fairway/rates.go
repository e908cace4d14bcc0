package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairway/admin"
)

// topped is what fairway top --json prints.
type topped struct {
	Version int `json:"version"`
	// Seconds is the time that the rates are of.
	Seconds   float64 `json:"seconds"`
	Endpoints []rate  `json:"endpoints"`
}

// A rate is what an endpoint's link carried in a time, by the second, as its
// container sees it.
type rate struct {
	ID              string             `json:"id"`
	Container       string             `json:"container,omitempty"`
	Network         string             `json:"network"` // its name, or its ID if that isn't known
	ReceivedBytes   float64            `json:"received_bytes"`
	SentBytes       float64            `json:"sent_bytes"`
	ReceivedPackets float64            `json:"received_packets"`
	SentPackets     float64            `json:"sent_packets"`
	Dropped         map[string]float64 `json:"dropped"`     // packets by reason: "link" (a full queue) or "antispoof"
	Connections     uint64             `json:"connections"` // open now
}

// ratesOf returns what was carried between two looks. Of a link that was made
// anew meanwhile it is what it has carried since; of one that came, nothing.
func ratesOf(before, after admin.Traffic) topped {
	out := topped{Version: admin.Version, Seconds: after.Time.Sub(before.Time).Seconds(), Endpoints: []rate{}}
	out.Seconds = max(out.Seconds, 1e-3)
	was := map[string]admin.Carried{}
	for _, e := range before.Endpoints {
		was[e.ID] = e.Carried
	}
	for _, e := range after.Endpoints {
		w, ok := was[e.ID]
		if !ok {
			w = e.Carried
		}
		if e.ReceivedPackets < w.ReceivedPackets || e.SentPackets < w.SentPackets {
			w = admin.Carried{}
		}
		per := func(now, then uint64) float64 { return float64(max(now, then)-then) / out.Seconds }
		r := rate{
			ID: e.ID, Container: e.Container, Network: cmp.Or(e.NetworkName, e.Network[:min(len(e.Network), 12)]),
			ReceivedBytes: per(e.ReceivedBytes, w.ReceivedBytes), SentBytes: per(e.SentBytes, w.SentBytes),
			ReceivedPackets: per(e.ReceivedPackets, w.ReceivedPackets), SentPackets: per(e.SentPackets, w.SentPackets),
			Dropped: map[string]float64{}, Connections: e.Connections,
		}
		for why, n := range e.Dropped {
			r.Dropped[why] = per(n, w.Dropped[why])
		}
		out.Endpoints = append(out.Endpoints, r)
	}
	return out
}

// drops is how many packets were dropped a second, and mostly why; "" for none.
func (r rate) drops() (n float64, why string) {
	most := 0.0
	for _, reason := range []string{admin.DroppedSpoof, admin.DroppedQueue} {
		d := r.Dropped[reason]
		n += d
		if d > most {
			most, why = d, reason
		}
	}
	return n, why
}

// An order is how fairway top sorts.
type order string

// The orders, which the key s goes through.
const (
	byTraffic     order = "traffic"
	byPackets     order = "packets"
	byDrops       order = "drops"
	byConnections order = "connections"
	byName        order = "name"
)

func orders() []order { return []order{byTraffic, byPackets, byDrops, byConnections, byName} }

// sort puts the busiest first; those that are as busy stay by name.
func (o order) sort(all []rate) {
	value := func(r rate) float64 {
		switch o {
		case byTraffic:
			return r.ReceivedBytes + r.SentBytes
		case byPackets:
			return r.ReceivedPackets + r.SentPackets
		case byDrops:
			n, _ := r.drops()
			return n
		case byConnections:
			return float64(r.Connections)
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b rate) int {
		return cmp.Or(cmp.Compare(value(b), value(a)), strings.Compare(a.Network, b.Network), strings.Compare(a.Container, b.Container))
	})
}

// listRates lists rates in a table.
func (v *view) listRates(t topped) listing {
	l := listing{reply: t, header: []string{"CONTAINER", "NETWORK", "RX/S", "TX/S", "PACKETS/S", "DROPS/S", "REASON", "CONNS"}, words: []int{2, 3}}
	for _, r := range t.Endpoints {
		drops, why := r.drops()
		l.items, l.names = append(l.items, r), append(l.names, v.id(r.ID))
		l.rows = append(l.rows, []string{
			cmp.Or(r.Container, v.id(r.ID)), r.Network, bits(r.ReceivedBytes), bits(r.SentBytes),
			number(r.ReceivedPackets + r.SentPackets), number(drops), why, fmt.Sprint(r.Connections),
		})
	}
	return l
}

// bits writes bytes a second as bits a second, e.g. "412 Mb".
func bits(bytes float64) string { return scaled(8*bytes, " ") + "b" }

// number writes a number of things, e.g. "91k".
func number(n float64) string { return strings.TrimSpace(scaled(n, "")) }

// scaled writes a number with at most three digits and its unit, of powers of 1000.
func scaled(n float64, blank string) string {
	unit := 0
	for ; n >= 999.5 && unit < 5; unit++ {
		n /= 1000
	}
	suffix := blank + strings.TrimSpace(" kMGTP"[unit:unit+1])
	if n < 9.95 && n != float64(int(n)) {
		return fmt.Sprintf("%.1f%s", n, suffix)
	}
	return fmt.Sprintf("%.0f%s", n, suffix)
}

// interval bounds how often fairway top looks.
const (
	shortestInterval = 100 * time.Millisecond
	longestInterval  = time.Hour
)
