package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"fairway/admin"
	"fairway/cluster"
	"fairway/store"
)

// unclustered is why segments stay as they are.
const unclustered = "the daemon runs without --cluster: it goes on with what it knew of the other hosts"

// remotes returns what is known of other hosts' endpoints in a segment, as of a
// revision of etcd's. Without a cluster that is what the last daemon knew.
func (o *overlays) remotes(segment string) ([]cluster.Remote, int64) {
	if o.cluster != nil {
		return o.cluster.Remotes(segment)
	}
	return o.saved.Remotes(segment)
}

// spans reports whether this host has networks that span hosts.
func spans(networks []store.Network) bool {
	return slices.ContainsFunc(networks, func(n store.Network) bool { return n.Overlay.Segment != "" })
}

// goOn has segments served without a cluster, if there are any.
func (o *overlays) goOn(all store.Records) {
	o.saved = cluster.NewSaved(all, o.log)
	if o.alone = spans(slices.Collect(maps.Values(all.Networks))); o.alone {
		o.log.Warn("overlay: " + unclustered)
	}
}

// savedCluster is one that this host was in, as operators see it.
type savedCluster struct {
	*overlays
	name string
}

// ClusterHosts implements admin.Cluster.
func (s savedCluster) ClusterHosts() admin.ClusterHosts {
	out := admin.ClusterHosts{Cluster: s.name, Self: s.saved.Self().Name, Hosts: shownHosts(s.saved.Hosts())}
	if spans(s.driver.Networks()) { // else it has left
		out.Trouble, out.Alarms = unclustered, s.narrow()
	}
	return out
}

// ClusterNetworks implements admin.Cluster.
func (s savedCluster) ClusterNetworks() admin.ClusterNetworks {
	hosts := s.ClusterHosts()
	return admin.ClusterNetworks{Cluster: hosts.Cluster, Self: hosts.Self, Networks: []admin.ClusterNetwork{}, Trouble: hosts.Trouble}
}

// ForgetHost implements admin.Cluster.
func (savedCluster) ForgetHost(context.Context, string) error { return inNone() }

// WantNetwork implements admin.Cluster.
func (savedCluster) WantNetwork(context.Context, admin.WantedNetwork) error { return inNone() }

// UnwantNetwork implements admin.Cluster.
func (savedCluster) UnwantNetwork(context.Context, string) error { return inNone() }

func inNone() error {
	return errors.New("this host is in no cluster: its daemon runs without --cluster")
}
