//go:build kernel

package main

import (
	"encoding/json"
	"testing"

	"fairway/admin"
)

// TestTop sees what goes between containers and the host, on a bridge and on a
// LAN, what is dropped and why, and connections.
func TestTop(t *testing.T) {
	w := newWard(t)
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "web", "box", "10.98.0.2/24", "")
	w.endpoint(t, "web", "idle", "10.98.0.3/24", "")
	w.network(t, "lan", "203.0.113.0/24", "203.0.113.9/24", `"mode":"macvlan","parent":"eth1"`)
	w.endpoint(t, "lan", "far", "203.0.113.7/24", "")
	w.sh(t, `
ip netns add out2; ip link set lan1 netns out2; ip -n out2 link set lan1 up; ip -n out2 address add 203.0.113.2/24 dev lan1
ip -n box address add 10.98.0.99/24 dev eth0; ip -n box route add 10.98.0.3 dev eth0 src 10.98.0.99
send() { timeout 20 ip netns exec $1 bash -c 'while sleep 0.05; do echo x >/dev/udp/'$2'/9; done' >/dev/null 2>&1 & }
send box 10.98.0.1; send box 10.98.0.3; send far 203.0.113.2
sleep 0.3`)
	out := w.sh(t, "fairway top --json --interval 1s")
	holdJSON(t, "top", []byte(out))
	var top topped
	if err := json.Unmarshal([]byte(out), &top); err != nil {
		t.Fatal(err)
	}
	by := map[string]rate{}
	for _, r := range top.Endpoints {
		by[r.ID] = r
	}
	if r := by["box"]; r.ReceivedPackets <= 0 || r.SentPackets < 2 || r.ReceivedBytes < 100 || r.Dropped[admin.DroppedSpoof] <= 0 || r.Connections < 1 {
		t.Errorf("box: %+v", r)
	}
	if r := by["far"]; r.ReceivedPackets <= 0 || r.SentPackets < 2 || r.Dropped[admin.DroppedSpoof] != 0 {
		t.Errorf("far: %+v", r)
	}
	if r, ok := by["idle"]; !ok || r.Connections != 0 || r.Dropped[admin.DroppedSpoof] != 0 {
		t.Errorf("idle: %v, %+v", ok, r)
	}
	if top.Endpoints[0].ID == "idle" {
		t.Error("the idle one comes first")
	}
}
