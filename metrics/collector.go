package metrics

import (
	"context"
	"sync"
	"sync/atomic"

	"fairway/store"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// A collector reads what the daemon runs at each scrape.
type collector struct {
	source      pointer
	byContainer atomic.Bool
	log         logrus.FieldLogger
	descs       map[string]*prometheus.Desc

	mu       sync.Mutex // one scrape at a time keeps the totals
	totals   totals
	renewals renewals
}

// What a collector shows; totals by network and by container are two
// descriptions under one name.
type described struct {
	name, help string
	labels     []string
}

// Names of metrics.
const (
	nameUp         = "fairway_up"
	nameNetworks   = "fairway_networks"
	nameEndpoints  = "fairway_endpoints"
	namePools      = "fairway_pool_addresses"
	namePorts      = "fairway_published_ports"
	nameWaiting    = "fairway_waiting_ports"
	nameRepairs    = "fairway_reconcile_repairs_total"
	nameFailing    = "fairway_reconcile_failing"
	nameSound      = "fairway_reconcile_last_success_timestamp_seconds"
	nameStore      = "fairway_store_size_bytes"
	nameDrift      = "fairway_reconcile_drift"
	nameRemotes    = "fairway_segment_remote_endpoints"
	nameHosts      = "fairway_segment_remote_hosts"
	nameForeign    = "fairway_segment_denied_packets_total"
	nameRxBytes    = "fairway_endpoint_receive_bytes_total"
	nameTxBytes    = "fairway_endpoint_transmit_bytes_total"
	nameRxPackets  = "fairway_endpoint_receive_packets_total"
	nameTxPackets  = "fairway_endpoint_transmit_packets_total"
	nameDrops      = "fairway_endpoint_drops_total"
	nameLeases     = "fairway_dhcp_leases"
	nameRenewals   = "fairway_dhcp_renewals_total"
	nameFinding    = "fairway_doctor_finding"
	nameExamined   = "fairway_doctor_last_look_timestamp_seconds"
	labelContainer = "container"
)

func descriptions() []described {
	traffic := []string{"network", labelContainer}
	return []described{
		{nameUp, "1 once the daemon has restored its networks, 0 before.", nil},
		{nameNetworks, "Networks, by mode.", []string{"mode"}},
		{nameEndpoints, "Containers' attachments, by network.", []string{"network", "mode"}},
		{namePools, "Addresses of fairway's IPAM, by subnet; state is used, quarantined (released a moment ago) or free.", []string{"space", "pool", "state"}},
		{namePorts, "Published ports, by network and protocol.", []string{"network", "proto"}},
		{nameWaiting, "Ports that are to be published once they are free.", nil},
		{nameRepairs, "What others had changed in the kernel and was repaired; kind is links (with addresses, sysctls), rules, or entries (of other hosts' endpoints).", []string{"kind"}},
		{nameFailing, "1 while the kernel can't be made as recorded: fairway status says why.", nil},
		{nameSound, "When the kernel was found, or made, as recorded last, in Unix time.", nil},
		{nameStore, "Size of the file of records.", nil},
		{nameDrift, "Entries of other hosts' endpoints that the last look found different from the records, by segment; 0 when all is quiet.", []string{"segment"}},
		{nameRemotes, "Endpoints that other hosts have in a segment, the hosts' own among them.", []string{"segment"}},
		{nameHosts, "Other hosts that have endpoints in a segment.", []string{"segment"}},
		{nameForeign, "VXLAN packets that were dropped: not from a host of the segment.", nil},
		{nameRxBytes, "Bytes that containers received on their links.", traffic},
		{nameTxBytes, "Bytes that containers sent on their links.", traffic},
		{nameRxPackets, "Packets that containers received on their links.", traffic},
		{nameTxPackets, "Packets that containers sent on their links.", traffic},
		{nameDrops, "Packets that were dropped; reason is antispoof (not the container's own to send) or link (a full queue).", append(traffic, "reason")},
		{nameLeases, "Leases of DHCP servers that containers have, by network and state (fairway leases).", []string{"network", "state"}},
		{nameRenewals, "Leases that a DHCP server has renewed (result renewed), or that were lost.", []string{"network", "result"}},
		{nameFinding, "What fairway doctor finds wrong, by code; severity is bad or warning. It looks every 5 minutes while metrics are read.", []string{"code", "severity"}},
		{nameExamined, "When the doctor looked last, in Unix time.", nil},
	}
}

func newCollector(log logrus.FieldLogger) *collector {
	c := &collector{log: log, descs: map[string]*prometheus.Desc{}, totals: newTotals(), renewals: newRenewals()}
	for _, d := range descriptions() {
		c.descs[d.name] = prometheus.NewDesc(d.name, d.help, d.labels, nil)
	}
	return c
}

// Describe sends what Collect may send.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions() {
		to <- c.descs[d.name]
	}
}

// Collect sends all metrics as they are now.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.source.Load()
	if s == nil {
		c.send(to, nameUp, prometheus.GaugeValue, 0)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(to, nameUp, prometheus.GaugeValue, 1)
	networks := (*s).Networks()
	endpoints := (*s).Endpoints()
	c.counts(to, networks, endpoints)
	c.traffic(ctx, to, *s, networks, endpoints)
	for _, p := range (*s).Pools() {
		state := func(name string, n float64) {
			c.send(to, namePools, prometheus.GaugeValue, n, p.Space, p.Subnet.String(), name)
		}
		state("used", float64(p.Used))
		state("quarantined", float64(p.Quarantined))
		state("free", max(0, p.Size-float64(p.Used)-float64(p.Quarantined)))
	}
	c.leases(to, networks, (*s).Leases())
	c.findings(to, *s)
	c.send(to, nameWaiting, prometheus.GaugeValue, float64((*s).WaitingPorts()))
	k := (*s).Kernel()
	c.send(to, nameRepairs, prometheus.CounterValue, float64(k.RepairedLinks), "links")
	c.send(to, nameRepairs, prometheus.CounterValue, float64(k.RepairedRules), "rules")
	c.segments(to, (*s).Segments(ctx))
	failing := 0.0
	if k.Failing {
		failing = 1
	}
	c.send(to, nameFailing, prometheus.GaugeValue, failing)
	if !k.Sound.IsZero() {
		c.send(to, nameSound, prometheus.GaugeValue, float64(k.Sound.UnixMilli())/1000)
	}
	if size, err := (*s).StoreSize(); err != nil {
		c.log.Warn(err)
	} else {
		c.send(to, nameStore, prometheus.GaugeValue, float64(size))
	}
}

func (c *collector) send(to chan<- prometheus.Metric, name string, kind prometheus.ValueType, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(c.descs[name], kind, v, labels...)
}

// segments sends how the overlay networks are.
func (c *collector) segments(to chan<- prometheus.Metric, s Segments) {
	c.send(to, nameRepairs, prometheus.CounterValue, float64(s.Repaired), "entries")
	c.send(to, nameForeign, prometheus.CounterValue, float64(s.Denied))
	for _, seg := range s.Each {
		c.send(to, nameDrift, prometheus.GaugeValue, float64(seg.Drift), seg.Name)
		c.send(to, nameRemotes, prometheus.GaugeValue, float64(seg.Endpoints), seg.Name)
		c.send(to, nameHosts, prometheus.GaugeValue, float64(seg.Hosts), seg.Name)
	}
}

// counts sends how many networks, endpoints and ports there are.
func (c *collector) counts(to chan<- prometheus.Metric, networks []store.Network, endpoints []store.Endpoint) {
	modes := map[string]float64{}
	members := map[[2]string]float64{} // by name and mode
	of := map[string]store.Network{}
	for _, n := range networks {
		modes[n.Mode]++
		members[[2]string{label(n), n.Mode}] += 0 // a network without containers has a series, too
		of[n.ID] = n
	}
	ports := map[[2]string]float64{}
	for _, e := range endpoints {
		n, ok := of[e.Network]
		if !ok {
			continue
		}
		members[[2]string{label(n), n.Mode}]++
		for _, p := range e.Published {
			ports[[2]string{label(n), protocol(p.Proto)}]++
		}
	}
	for mode, n := range modes {
		c.send(to, nameNetworks, prometheus.GaugeValue, n, mode)
	}
	for of, n := range members {
		c.send(to, nameEndpoints, prometheus.GaugeValue, n, of[0], of[1])
	}
	for of, n := range ports {
		c.send(to, namePorts, prometheus.GaugeValue, n, of[0], of[1])
	}
}

// traffic sends what went over the links.
func (c *collector) traffic(ctx context.Context, to chan<- prometheus.Metric, s Source, networks []store.Network, endpoints []store.Endpoint) {
	links, err := s.Traffic(ctx)
	if err != nil {
		c.log.Warn(err)
		return // half a truth would be a counter that goes back
	}
	denied := s.Denied(ctx)
	now := map[string]reading{}
	uncounted := map[string]bool{} // networks whose containers' links aren't on the host
	for _, e := range endpoints {
		uncounted[e.Network] = true
	}
	for _, e := range endpoints {
		if t, ok := links[e.HostLink]; ok && e.HostLink != "" {
			t.Denied = denied[e.HostLink]
			now[e.ID] = reading{e.Network, t}
			delete(uncounted, e.Network)
		}
	}
	sums := c.totals.add(networks, now)
	if c.byContainer.Load() {
		c.byEach(to, networks, endpoints, now)
		return
	}
	byName := map[string]Traffic{}
	for _, n := range networks {
		if uncounted[n.ID] && sums[n.ID] == (Traffic{}) {
			continue
		}
		byName[label(n)] = byName[label(n)].plus(sums[n.ID])
	}
	for name, t := range byName {
		c.sendTraffic(to, t, name, "")
	}
}

// byEach sends a series of each container.
func (c *collector) byEach(to chan<- prometheus.Metric, networks []store.Network, endpoints []store.Endpoint, now map[string]reading) {
	names := map[string]string{}
	for _, n := range networks {
		names[n.ID] = label(n)
	}
	sums := map[[2]string]Traffic{}
	for _, e := range endpoints {
		if r, ok := now[e.ID]; ok && names[e.Network] != "" {
			of := [2]string{names[e.Network], valid(e.Container, e.ID)}
			sums[of] = sums[of].plus(r.Traffic)
		}
	}
	for of, t := range sums {
		c.sendTraffic(to, t, of[0], of[1])
	}
}

func (c *collector) sendTraffic(to chan<- prometheus.Metric, t Traffic, network, container string) {
	for name, v := range map[string]uint64{
		nameRxBytes: t.ReceivedBytes, nameTxBytes: t.SentBytes, nameRxPackets: t.ReceivedPackets, nameTxPackets: t.SentPackets,
	} {
		c.send(to, name, prometheus.CounterValue, float64(v), network, container)
	}
	c.send(to, nameDrops, prometheus.CounterValue, float64(t.Dropped), network, container, "link")
	c.send(to, nameDrops, prometheus.CounterValue, float64(t.Denied), network, container, "antispoof")
}
