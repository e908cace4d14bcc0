//go:build kernel

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPing sends from sandboxes without any program in them.
func TestPing(t *testing.T) {
	w := newWard(t)
	w.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.99.0.0/24","Gateway":"10.99.0.1/24"}],`+
		`"IPv6Data":[{"AddressSpace":"x","Pool":"fd00:99::/64","Gateway":"fd00:99::1/64"}]}`)
	w.endpoint(t, "n1", "box", "10.99.0.2/24", "")
	w.endpoint(t, "n1", "box2", "10.99.0.3/24", "")
	w.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"inner","Options":{"com.docker.network.internal":true,"com.docker.network.generic":{}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.94.0.0/24","Gateway":"10.94.0.1/24"}]}`)
	w.endpoint(t, "inner", "shut", "10.94.0.2/24", "")
	for _, c := range []struct {
		args, harm, undo string
		received, mtu    int
		reason           string
	}{
		{args: "box box2", received: 2, mtu: 1500},
		{args: "box box2 -6", received: 2, mtu: 1500},
		{args: "host box", received: 2, mtu: 1500},
		{args: "box 198.51.100.1", received: 2, mtu: 1500},
		{args: "box host", received: 2, mtu: 1500},
		// A router on the way that says nothing of what it drops.
		{args: "box 198.51.100.1", harm: "iptables -I FORWARD -m length --length 1301:65535 -j DROP", undo: "iptables -D FORWARD 1", received: 2, mtu: 1300},
		{args: "shut box2", received: 0, reason: "network inner is internal"},
		{args: "box box2", harm: "ip -n box2 link set eth0 down", received: 0, undo: "ip -n box2 link set eth0 up", reason: "nothing here stops it"},
	} {
		if c.harm != "" {
			w.sh(t, c.harm)
		}
		out, err := w.try(t, "fairway ping --json -c 2 --wait 150ms "+c.args)
		if c.undo != "" {
			w.sh(t, c.undo)
		}
		var got pinged
		if e := json.Unmarshal([]byte(out), &got); e != nil {
			t.Fatalf("ping %s: %v, %v\n%s", c.args, err, e, out)
		}
		holdJSON(t, "ping", []byte(out))
		if got.Received != c.received || got.MTU != c.mtu || !strings.Contains(got.Reason, c.reason) || (err != nil) != (c.received == 0) {
			t.Errorf("ping %s: %+v, exit %v: want %d replies, %d bytes, %q", c.args, got, err, c.received, c.mtu, c.reason)
		}
	}
}
