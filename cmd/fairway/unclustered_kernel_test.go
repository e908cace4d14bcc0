//go:build kernel

package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairway/admin"
	"fairway/cluster"
	"fairway/store"
)

// lastRun writes the records of a daemon that was in a cluster and had a segment,
// with an endpoint of another host.
func lastRun(t *testing.T, dir string) {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entry := func(key string, revision int64, value any) store.Change {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return store.PutCluster(store.ClusterEntry{Key: key, Value: text, Created: revision, Revision: revision})
	}
	subnet := netip.MustParsePrefix("10.40.0.0/16")
	err = <-s.Begin(
		store.PutNetwork(store.Network{
			ID: strings.Repeat("a", 64), Mode: "overlay", Link: "fwb1", MAC: "02:66:77:80:00:07", MTU: 1450, IPv4: true,
			Options:       map[string]string{"mode": "overlay", "segment": "backbone"},
			Subnets:       []store.Subnet{{Space: "x", Prefix: subnet, Gateway: netip.MustParseAddr("10.40.0.1")}},
			HostAddresses: []netip.Addr{netip.MustParseAddr("10.40.1.1")},
			Overlay:       store.Overlay{Segment: "backbone", VNI: 1<<23 + 7, Port: 4789, Link: "fwx1", MAC: "02:00:00:00:01:01"},
		}),
		entry("self", 0, map[string]any{"name": "a", "advertise": "192.0.2.1"}),
		entry("hosts/a", 5, cluster.Host{Name: "a", Advertise: netip.MustParseAddr("192.0.2.1"), MTU: 1500}),
		entry("hosts/b", 6, cluster.Host{Name: "b", Advertise: netip.MustParseAddr("192.0.2.2"), MTU: 1480}),
		entry("members/backbone/a", 7, map[string]any{"host": "a"}),
		entry("members/backbone/b", 8, map[string]any{"host": "b"}),
		entry("endpoints/backbone/b/e1", 9, cluster.Endpoint{ID: "e1", MAC: "02:00:00:00:02:02", IPv4: netip.MustParseAddr("10.40.2.2")}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A daemon that was restarted without --cluster serves its segments as the last one
// knew them, and says so. What others do to the rules of who may send VXLAN is made
// good at once, long before the daemon looks by itself. Uplinks that carry less than
// the segment needs are told of.
func TestUnclustered(t *testing.T) {
	dir := openDir(t)
	lastRun(t, filepath.Join(dir, "state"))
	h := daemonIn(t, dir, "nftables", "ip link add lan up type bridge; ip address add 192.0.2.1/24 dev lan")
	has := func(what, script string, words ...string) {
		t.Helper()
		var out string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			out = h.run(t, "("+script+") 2>&1 || true")
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) }) {
				return
			}
		}
		t.Fatalf("%s: want %q in\n%s", what, words, out)
	}
	entries := func() {
		t.Helper()
		has("the way to the other host's container", "bridge fdb show dev fwx1; ip neigh show dev fwb1",
			"02:00:00:00:02:02 dst 192.0.2.2", "10.40.2.2 lladdr 02:00:00:00:02:02")
	}
	members := func() {
		t.Helper()
		has("who may send", "nft list table inet fairway-overlay", "192.0.2.2", "chain vxlan", "from anybody else")
	}
	entries()
	members()
	for _, harm := range []string{"nft flush ruleset", "nft delete table inet fairway-overlay", "nft flush chain inet fairway-overlay vxlan", "nft flush set inet fairway-overlay members4"} {
		h.run(t, harm)
		members()
	}
	h.run(t, "bridge fdb del 02:00:00:00:02:02 dev fwx1 self; ip neigh flush dev fwb1 nud permanent")
	entries()
	status, err := admin.NewClient(filepath.Join(dir, "admin.sock")).Status(t.Context())
	if err != nil || status.Cluster == nil || status.Cluster.Hosts != 2 || !strings.Contains(status.Cluster.Trouble, "without --cluster") {
		t.Errorf("status: %+v, %v", status.Cluster, err)
	}
	h.run(t, "ip link set lan mtu 1400")
	hosts, err := admin.NewClient(filepath.Join(dir, "admin.sock")).ClusterHosts(t.Context())
	if err != nil || len(hosts.Alarms) != 2 || !strings.Contains(hosts.Alarms[0], "that of host b carries 1480") || !strings.Contains(hosts.Alarms[1], "that of this host carries 1400") {
		t.Errorf("uplinks that carry too little: %q, %v", hosts.Alarms, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	doctor := h.run(t, childCommand+"=1 "+self+" doctor --admin-socket "+filepath.Join(dir, "admin.sock")+" FW021 || true")
	if !strings.Contains(doctor, "fwx1: 1450 bytes here need 1500 on the way to other hosts, 1400 on lan") {
		t.Errorf("doctor: %s", doctor)
	}
}
