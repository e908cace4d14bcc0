package main

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/admin"
	"fairway/cluster"
	"fairway/store"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// cutOff is a cluster's host without etcd, that knows of segments bone and
// worn, and of networks old and dual on segments worn and twin.
func cutOff(t *testing.T) shownCluster {
	t.Helper()
	records := store.NewRecords()
	for key, value := range map[string]string{
		"hosts/a":       `{"name":"a","advertise":"192.0.2.1"}`,
		"segments/bone": `{"name":"bone","vni":9,"port":4789,"subnets":[{"prefix":"10.40.0.0/16","gateway":"10.40.0.1","block":26}]}`,
		"segments/worn": `{"name":"worn","vni":8,"port":4789,"subnets":[{"prefix":"10.41.0.0/16","gateway":"10.41.0.1","block":26}]}`,
		"networks/old":  `{"name":"old","segment":"worn"}`,
		"networks/dual": `{"name":"dual","segment":"twin","ipv6":true,"pools":[{"subnet":"10.43.0.0/16","gateway":"10.43.0.9"},{"subnet":"fd00:43::/64","gateway":""}]}`,
		"networks/bad":  `{`,
	} {
		records.Cluster[key] = store.ClusterEntry{Key: key, Value: []byte(value), Created: 1, Revision: 1}
	}
	local := netip.MustParseAddr("192.0.2.1")
	c, err := cluster.New(cluster.Options{
		Dial: func() (*clientv3.Client, error) { return nil, nil }, Prefix: "/fairway/test/", Self: cluster.Host{Name: "a", Advertise: local},
	}, records)
	if err != nil {
		t.Fatal(err)
	}
	return shownCluster{c, &overlays{host: overlayHost("instance", local)}, "test"}
}

// What can't be is refused before anything is written down.
func TestWantRefusals(t *testing.T) {
	s := cutOff(t)
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	v4, v6 := []netip.Prefix{prefix("10.42.0.0/16")}, prefix("fd00:42::/64")
	for _, c := range []struct {
		ask  admin.WantedNetwork
		says string
	}{
		{admin.WantedNetwork{Name: "none", Segment: "new", Subnets: v4}, `network name "none": is one of Docker's own`},
		{admin.WantedNetwork{Name: "web", Segment: "new"}, "segment new: want --subnet: no host of the cluster has named an IPv4 subnet yet"},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: []netip.Prefix{v6}}, "segment new: want --subnet: no host of the cluster has named an IPv4"},
		{admin.WantedNetwork{Name: "web", Segment: "bone", IPv6: true}, "segment bone: want --subnet: no host of the cluster has named an IPv6 subnet yet"},
		{admin.WantedNetwork{Name: "web", Segment: "bone", Subnets: v4}, "subnet 10.42.0.0/16: segment bone has 10.40.0.0/16: name that one, or leave --subnet out"},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Gateways: []netip.Addr{addr("10.43.0.1")}}, "gateway 10.43.0.1: want an address of a subnet that is named, too"},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Gateways: []netip.Addr{addr("10.42.0.1"), addr("10.42.0.2")}}, "gateway 10.42.0.2: subnet 10.42.0.0/16 has gateway 10.42.0.1 already"},
		{admin.WantedNetwork{Name: "web", Segment: "UP", Subnets: v4}, `option segment="UP": want at most 63 of a-z`},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Options: map[string]string{"mtu": "9O00"}}, `option mtu="9O00": want bytes from 1280`},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Options: map[string]string{"snat": "x"}}, `option snat="x"`},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Options: map[string]string{"nonsense": "x"}}, `option nonsense="x": unknown`},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Options: map[string]string{"mode": "bridge"}}, `option mode="bridge": leave it out`},
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: v4, Hosts: []string{"b"}}, "host b: not of this cluster, which has a"},
		{admin.WantedNetwork{Name: "web", Segment: "worn"}, "segment worn: is network old already"},
		// What is good fails for want of etcd alone.
		{admin.WantedNetwork{Name: "web", Segment: "new", Subnets: append(v4, v6), Gateways: []netip.Addr{addr("10.42.0.9")}, Internal: true, Hosts: []string{"a", "a"}}, "network web: etcd can't be reached"},
		{admin.WantedNetwork{Name: "web", Segment: "bone"}, "network web: etcd can't be reached"},
		{admin.WantedNetwork{Name: "old", Segment: "worn", Subnets: v4}, "network old: etcd can't be reached"},
	} {
		err := s.WantNetwork(t.Context(), c.ask)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", c.ask, err, c.says)
		}
	}
	if err := s.UnwantNetwork(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "network web: is none of the cluster's") {
		t.Error(err)
	}
	var names []string
	for _, n := range s.ClusterNetworks().Networks {
		names = append(names, n.Name)
	}
	if d := cmp.Diff([]string{"bad", "dual", "old"}, names); d != "" {
		t.Errorf("the cluster's networks: -want +got\n%s", d)
	}
}

// Subnets that a network has needn't be named again.
func TestKeepPools(t *testing.T) {
	s := cutOff(t)
	for name, c := range map[string]struct {
		ask  cluster.Network
		want string
	}{
		"none named":      {cluster.Network{Name: "dual", Segment: "twin"}, "10.43.0.0/16 gateway 10.43.0.9"},
		"none, with IPv6": {cluster.Network{Name: "dual", Segment: "twin", IPv6: true}, "10.43.0.0/16 gateway 10.43.0.9, fd00:43::/64 gateway invalid IP"},
		"another":         {cluster.Network{Name: "dual", Segment: "twin", Pools: []cluster.Pool{{Subnet: netip.MustParsePrefix("10.44.0.0/16")}}}, "10.44.0.0/16 gateway invalid IP"},
		"another segment": {cluster.Network{Name: "dual", Segment: "new"}, ""},
		"a new one":       {cluster.Network{Name: "new", Segment: "twin"}, ""},
	} {
		s.keepPools(&c.ask)
		var got []string
		for _, p := range c.ask.Pools {
			got = append(got, p.Subnet.String()+" gateway "+p.Gateway.String())
		}
		if d := cmp.Diff(c.want, strings.Join(got, ", ")); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

// How a network is on each host: what the host says counts if it is about what is
// wanted now.
func TestOnHosts(t *testing.T) {
	n := cluster.Network{Name: "web", Segment: "bone"}
	now := n.Revision()
	hosts := []cluster.HostState{
		{Host: cluster.Host{Name: "a"}, Alive: true}, {Host: cluster.Host{Name: "b"}}, {Host: cluster.Host{Name: "c"}, Alive: true}, {Host: cluster.Host{Name: "d"}},
	}
	on := map[string]cluster.NetworkReport{
		"a": {Revision: now, State: "made"}, "b": {Revision: now, State: "waiting", Why: "for it"}, "c": {Revision: "older", State: "made"},
	}
	for name, c := range map[string]struct {
		state cluster.NetworkState
		want  string
	}{
		"for all":         {cluster.NetworkState{Network: n, Seen: 5, On: on}, "a made , b waiting for it, c pending changes it, d away makes it"},
		"for some":        {cluster.NetworkState{Network: cluster.Network{Name: "web", Segment: "bone", Hosts: []string{"a", "gone"}}, Seen: 5, On: on}, "a made , b away removes it, c pending removes it, gone away makes it"},
		"removed":         {cluster.NetworkState{Network: cluster.Network{Name: "web", Removed: true}, Seen: 5, On: map[string]cluster.NetworkReport{"a": {State: "waiting", Why: "db"}, "c": {Revision: now, State: "made"}}}, "a waiting db, c pending removes it"},
		"lost by etcd":    {cluster.NetworkState{Network: cluster.Network{Name: "web"}, On: map[string]cluster.NetworkReport{"a": {State: "left", Why: "lost"}}}, "a left lost"},
		"can't be read":   {cluster.NetworkState{Network: cluster.Network{Name: "web"}, Seen: 5, Damaged: true, On: map[string]cluster.NetworkReport{"a": {Revision: now, State: "made"}}}, "a made "},
		"nobody has said": {cluster.NetworkState{Network: n, Seen: 5}, "a pending makes it, b away makes it, c pending makes it, d away makes it"},
	} {
		var got []string
		for _, o := range onHosts(c.state, hosts) {
			why := strings.TrimPrefix(strings.TrimSuffix(o.Why, " when it is back"), "nothing is heard of its daemon: it ")
			got = append(got, o.Host+" "+o.State+" "+why)
		}
		if d := cmp.Diff(c.want, strings.Join(got, ", ")); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}
