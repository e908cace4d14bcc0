package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/cluster"
	"fairway/driver"
	"fairway/ipam"
	"fairway/link"
	"fairway/overlay"
	"fairway/resolver"
	"fairway/store"
)

// overlays carries what the cluster says of other hosts to the data plane, and what
// this host has to both.
type overlays struct {
	host    overlay.Host
	cluster *cluster.Cluster // nil: this host is in none
	saved   cluster.Saved    // without one: what it knew of the last
	alone   bool             // without one: there were segments at the start
	plane   *overlay.Plane
	filter  *overlay.Filter
	driver  *driver.Driver
	pools   *ipam.Allocator
	names   *resolver.Resolver
	docker  dockerVersion
	log     logrus.FieldLogger
	wake    chan struct{}

	narrowed []string // as was logged last

	mu   sync.Mutex          // held while the plane is told
	open map[string]*spanned // by segment
}

// spanned is a segment that this host has a network of.
type spanned struct {
	network  string // ID
	segment  overlay.Segment
	locals   map[string]overlay.Local // by endpoint, as the plane was told
	revision int64                    // of the last whole set of other hosts' endpoints
}

// ownID is the ID of the host's own endpoint, among its others in a segment.
const ownID = "host"

// changed says that networks or endpoints came or went. It doesn't wait.
func (o *overlays) changed() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// settle decides what the record of a new overlay network leaves open: with the
// other hosts what all have in common, and the host's own addresses.
func (o *overlays) settle(ctx context.Context, n *store.Network) error {
	v, err := overlay.New(o.host, *n)
	if err != nil {
		return err
	}
	set := v.Settings()
	for _, s := range n.Subnets {
		if !o.pools.InSegment(s.Space, s.Prefix, set.Segment) {
			return fmt.Errorf("option segment=%q: pool %s isn't the segment's, whose addresses all hosts share: add --ipam-driver fairway --ipam-opt segment=%s",
				set.Segment, s.Prefix, set.Segment)
		}
	}
	if o.cluster == nil {
		return fmt.Errorf("option segment=%q: this host is in no cluster: its daemon runs without --cluster", set.Segment)
	}
	want := cluster.Settings{VNI: set.VNI, Port: set.Port}
	if set.Multicast != "" {
		want.Options = map[string]string{"multicast": set.Multicast}
	}
	agreed, err := o.cluster.Settle(ctx, set.Segment, want)
	if err != nil {
		return err
	}
	for _, other := range o.driver.Networks() {
		if other.Overlay.Segment == set.Segment && other.ID != n.ID {
			return fmt.Errorf("option segment=%q: network %s of this host is the segment already", set.Segment, other.ID[:min(12, len(other.ID))])
		}
	}
	own, err := o.takeOwn(ctx, *n)
	if err == nil {
		err = overlay.Settle(o.host, overlay.Agreed{
			VNI: agreed.VNI, Port: agreed.Port, Multicast: agreed.Options["multicast"] == "true", Underlay: o.lowestMTU(set.Segment), Own: own,
		}, n)
	}
	if err != nil {
		o.freeOwn(ctx, *n, own)
	}
	return err
}

// takeOwn takes the addresses of the host's own endpoint, one of each subnet.
func (o *overlays) takeOwn(ctx context.Context, n store.Network) (own []netip.Addr, err error) {
	for _, s := range n.Subnets {
		ip, err := o.pools.TakeHost(ctx, s.Space, s.Prefix)
		if err != nil {
			return own, err
		}
		own = append(own, ip)
	}
	return own, nil
}

func (o *overlays) freeOwn(ctx context.Context, n store.Network, own []netip.Addr) {
	for _, s := range n.Subnets {
		for _, ip := range own {
			if s.Prefix.Contains(ip) {
				if err := o.pools.Free(context.WithoutCancel(ctx), s.Space, s.Prefix, time.Now(), ip); err != nil {
					o.log.Error(err)
				}
			}
		}
	}
}

// lowestMTU is that of the hosts of a segment, this one among them.
func (o *overlays) lowestMTU(segment string) int {
	mtu := o.cluster.Self().MTU
	for _, h := range o.cluster.Members(segment) {
		if h.MTU >= 576 { // nobody's word makes a network unusable
			mtu = min(mtu, h.MTU)
		}
	}
	return mtu
}

// run tells the plane and the cluster of this host's networks and endpoints
// whenever these change, and again in case that something failed, until the
// context ends.
func (o *overlays) run(ctx context.Context) error {
	again := time.NewTicker(5 * time.Second)
	defer again.Stop()
	for {
		if err := o.sync(ctx); err != nil {
			o.log.Error(err)
		}
		o.logNarrow()
		if o.cluster != nil {
			o.cluster.Changed()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.wake:
		case <-again.C:
		}
	}
}

// sync makes what the plane serves the driver's overlay networks, with their
// endpoints.
func (o *overlays) sync(ctx context.Context) (err error) {
	want := map[string]store.Network{}
	for _, n := range o.driver.Networks() {
		if n.Overlay.Segment != "" {
			want[n.Overlay.Segment] = n
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, s := range o.open {
		if want[name].ID != s.network {
			err = errors.Join(err, o.plane.Close(ctx, s.segment.VNI))
			o.names.Close(name)
			delete(o.open, name)
		}
	}
	for name, n := range want {
		err = errors.Join(err, o.serve(ctx, name, n))
	}
	return err
}

// serve has the plane serve one segment, and know of this host's endpoints in it.
// The caller holds o.mu.
func (o *overlays) serve(ctx context.Context, name string, n store.Network) error {
	v, err := overlay.New(o.host, n)
	if err != nil {
		return err
	}
	s := o.open[name]
	if s == nil {
		s = &spanned{network: n.ID, segment: v.Segment(), locals: map[string]overlay.Local{}}
		if err := o.plane.Open(ctx, s.segment); err != nil {
			return err
		}
		o.open[name] = s
		if !v.Settings().NoDNS {
			o.names.Open(namedSegment(n))
		}
		all, revision := o.remotes(name)
		o.replace(name, all, revision)
	}
	locals := map[string]overlay.Local{}
	var named []resolver.Record
	for _, e := range o.driver.Endpoints() {
		if e.Network == n.ID {
			named = append(named, resolver.Record{ID: e.ID, Names: namesOf(e), IPs: addresses(e)})
			locals[e.ID] = overlay.Local{ID: e.ID, MAC: macOf(e.MAC), IPs: addresses(e)}
		}
	}
	o.names.SetLocals(name, named)
	for id := range s.locals {
		if _, ok := locals[id]; !ok {
			err = errors.Join(err, o.plane.Detach(ctx, s.segment.VNI, id))
		}
	}
	for id, l := range locals {
		if old, ok := s.locals[id]; !ok || old.MAC != l.MAC || !slices.Equal(old.IPs, l.IPs) {
			err = errors.Join(err, o.plane.Attach(ctx, s.segment.VNI, l))
		}
	}
	s.locals = locals
	return err
}

func addresses(e store.Endpoint) (out []netip.Addr) {
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			out = append(out, p.Addr())
		}
	}
	return out
}

func macOf(s string) (out link.MAC) {
	mac, _ := net.ParseMAC(s) // the record's was checked
	copy(out[:], mac)
	return out
}

// Endpoints returns this host's endpoints as the other hosts are to see them.
func (o *overlays) Endpoints() map[string][]cluster.Endpoint {
	out := map[string][]cluster.Endpoint{}
	segment := map[string]string{}
	for _, n := range o.driver.Networks() {
		if n.Overlay.Segment == "" {
			continue
		}
		segment[n.ID] = n.Overlay.Segment
		own := cluster.Endpoint{ID: ownID, MAC: n.Overlay.MAC}
		own.IPv4, own.IPv6 = byFamily(n.HostAddresses)
		if own.IPv4.IsValid() || own.IPv6.IsValid() {
			out[n.Overlay.Segment] = append(out[n.Overlay.Segment], own)
		}
	}
	for _, e := range o.driver.Endpoints() {
		if name := segment[e.Network]; name != "" {
			r := cluster.Endpoint{ID: e.ID, MAC: e.MAC, Names: namesOf(e)}
			r.IPv4, r.IPv6 = byFamily(addresses(e))
			out[name] = append(out[name], r)
		}
	}
	return out
}

func byFamily(ips []netip.Addr) (v4, v6 netip.Addr) {
	for _, ip := range ips {
		if ip.Is4() {
			v4 = ip
		} else {
			v6 = ip
		}
	}
	return v4, v6
}

// Replace tells the plane all that other hosts have of a segment.
func (o *overlays) Replace(name string, all []cluster.Remote, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replace(name, all, revision)
}

func (o *overlays) replace(name string, all []cluster.Remote, revision int64) {
	s, ok := o.open[name]
	if !ok {
		return
	}
	named := make([]resolver.Record, len(all))
	for i, r := range all {
		named[i] = namedRemote(r)
	}
	o.names.SetRemotes(name, named)
	ctx := context.Background() // the kernel is not waited for
	set := o.plane.Set
	if revision < s.revision { // etcd was restored: what was newer counts no more
		set = o.plane.Replace
	}
	s.revision = revision
	records := make([]overlay.Record, 0, len(all))
	for _, r := range all {
		if r.Underlay.IsValid() { // else its host's record is yet to come
			records = append(records, recordOf(r))
		}
	}
	if err := set(ctx, s.segment.VNI, records, revision); err != nil {
		o.log.Warn(err)
	}
}

// Change tells the plane what other hosts made and removed in a segment.
func (o *overlays) Change(name string, put, gone []cluster.Remote) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.open[name]
	if !ok {
		return
	}
	ctx := context.Background()
	var err error
	for _, r := range put {
		o.names.Put(name, namedRemote(r))
		if r.Underlay.IsValid() {
			err = errors.Join(err, o.plane.Put(ctx, s.segment.VNI, recordOf(r)))
		}
	}
	for _, r := range gone {
		o.names.Remove(name, namedRemote(r).ID)
		err = errors.Join(err, o.plane.Remove(ctx, s.segment.VNI, recordOf(r).ID, r.Revision))
	}
	if err != nil {
		o.log.Warn(err)
	}
}

// recordOf is an endpoint of another host in the plane's words.
func recordOf(r cluster.Remote) overlay.Record {
	out := overlay.Record{ID: r.Host + "/" + r.ID, MAC: macOf(r.MAC), Host: r.Underlay, Revision: r.Revision}
	for _, ip := range []netip.Addr{r.IPv4, r.IPv6} {
		if ip.IsValid() {
			out.IPs = append(out.IPs, ip)
		}
	}
	return out
}
