package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/admin"
	"fairway/cluster"
	"fairway/engine"
	"fairway/fleet"
	"fairway/ipam"
	"fairway/link"
	"fairway/nat"
	"fairway/overlay"
	"fairway/resolver"
	"fairway/store"
)

// newOverlays returns this host's part in the cluster, if it is in one, and the
// data plane of its segments. Driver and allocator are set by the caller, before
// anything of it runs.
func newOverlays(c config, records *store.Store, all store.Records, kernel *link.Conn, log logrus.FieldLogger, step func(string)) (*overlays, error) {
	filter, err := overlay.NewFilter(nat.Options{Instance: records.Instance(), Log: log, Step: step})
	if err != nil {
		return nil, err
	}
	o := &overlays{
		filter: filter, plane: overlay.NewPlane(overlay.PlaneOptions{Kernel: kernel, Filter: filter, Log: log}),
		names: resolver.New(resolver.Options{
			Instance: records.Instance(), Log: log, Servers: func() ([]string, error) { return resolver.ResolvConf(resolvConf) },
		}),
		log: log, wake: make(chan struct{}, 1), open: map[string]*spanned{},
	}
	// Without a cluster, those that are there go on by themselves.
	local := cluster.Advertised(all)
	if c.Cluster.Endpoints != "" {
		if local, err = o.join(c, records, all); err != nil {
			return nil, err
		}
	} else {
		o.goOn(all)
	}
	o.host = overlayHost(records.Instance(), local)
	return o, nil
}

// join makes this host's part in the cluster. It sends nothing yet.
func (o *overlays) join(c config, records *store.Store, all store.Records) (netip.Addr, error) {
	dial, err := c.Cluster.dialOptions()
	if err != nil {
		return netip.Addr{}, err
	}
	name, err := c.Cluster.hostName()
	if err != nil {
		return netip.Addr{}, err
	}
	local, err := c.Cluster.advertise()
	if before := cluster.Advertised(all); err != nil && before.IsValid() {
		o.log.Warnf("%v; goes on with %s", err, before) // the network may not be up yet
		local, err = before, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cluster: %w", err)
	}
	o.cluster, err = cluster.New(cluster.Options{
		Dial:   func() (*clientv3.Client, error) { return cluster.Dial(dial) },
		Prefix: "/fairway/" + c.Cluster.Name + "/", Boot: strings.TrimSpace(string(boot)),
		Self:  cluster.Host{Name: name, Instance: records.Instance(), Advertise: local, MTU: underlayMTU(local), Version: buildInfo().Version},
		Store: records, Addresses: lateAddresses{o}, Endpoints: o.Endpoints, Plane: o, Log: o.log,
	}, all)
	return local, err
}

// lateAddresses is the allocator of an overlays, which is made after it.
type lateAddresses struct{ *overlays }

func (l lateAddresses) SetShare(segment string, subnet netip.Prefix, blocks []netip.Prefix, claims, foreign []netip.Addr) {
	l.pools.SetShare(segment, subnet, blocks, claims, foreign)
}

func (l lateAddresses) Used(segment string, subnet, part netip.Prefix) bool {
	return l.pools.Used(segment, subnet, part)
}

func (l lateAddresses) Spare(segment string, subnet netip.Prefix, most int) int {
	return l.pools.Spare(segment, subnet, most)
}

func (l lateAddresses) Segments() []string { return l.pools.Segments() }

// segments returns what the allocator asks; nil where there is no cluster.
func (o *overlays) segments() ipam.Segments {
	if o.cluster == nil {
		return nil
	}
	return o.cluster
}

// tasks are what runs of it.
func (o *overlays) tasks(c config, remarks func() map[string]string) []task {
	out := []task{{"overlay", o.run}, {"overlay entries", o.plane.Run}, {"names", o.names.Run}}
	if o.cluster != nil {
		k := fleet.New(fleet.Options{
			Cluster: o.cluster, Engine: engine.Editor{Socket: c.DockerSocket}, Name: c.Cluster.Name, Host: o.cluster.Self().Name,
			Remarks: remarks, Log: o.log,
		})
		out = append(out, task{"cluster", o.cluster.Run}, task{"networks of the cluster", k.Run})
	}
	return out
}

// shownCluster is a cluster as operators see it.
type shownCluster struct {
	*cluster.Cluster
	span *overlays
	name string
}

func (s shownCluster) ClusterHosts() admin.ClusterHosts {
	all, trouble := s.Hosts()
	return admin.ClusterHosts{Cluster: s.name, Self: s.Self().Name, Hosts: shownHosts(all), Trouble: trouble, Alarms: append(s.Alarms(), s.span.narrow()...)}
}

func shownHosts(all []cluster.HostState) []admin.ClusterHost {
	out := []admin.ClusterHost{}
	for _, h := range all {
		segments := h.Segments
		if segments == nil {
			segments = []string{}
		}
		out = append(out, admin.ClusterHost{
			Name: h.Name, Address: h.Advertise, Alive: h.Alive, Version: h.Version, Started: h.Started, MTU: h.MTU,
			Segments: segments, Endpoints: h.Endpoints, Instance: h.Instance,
		})
	}
	return out
}

func (s shownCluster) ForgetHost(ctx context.Context, name string) error { return s.Forget(ctx, name) }

// shown returns the cluster for operators; nil where there is none.
func (o *overlays) shown(c config) admin.Cluster {
	switch {
	case o.cluster == nil && o.alone:
		return savedCluster{o, c.Cluster.Name}
	case o.cluster == nil:
		return nil
	}
	return shownCluster{o.cluster, o, c.Cluster.Name}
}
