//go:build kernel

package link

import "testing"

// TestCountersInside: those of our links in a sandbox are found by the endpoint
// that they are marked with, whatever they are called there; others' aren't.
func TestCountersInside(t *testing.T) {
	c := withParent(t)
	m := testMacvlan(1)
	m.Alias = Mark(c.instance, "e1", "web:1")
	must(t, c.Apply(t.Context(), Set{m}))
	path, _ := newSandbox(t)
	run(t, "ip", "link", "set", "fwi1", "netns", path, "name", "eth0")
	inside(t, path, func() {
		run(t, "ip", "link", "add", "theirs", "type", "veth", "peer", "name", "theirs2")
		run(t, "ip", "link", "set", "eth0", "up") // it says so to the LAN by IPv6
		run(t, "ip", "address", "add", "172.30.0.1/24", "dev", "eth0")
		run(t, "bash", "-c", "for i in 1 2 3; do echo x >/dev/udp/172.30.0.255/9 || :; done; echo x >/dev/udp/172.30.0.7/9 || :")
	})
	got, err := c.CountersInside(t.Context(), path)
	must(t, err)
	if len(got) != 1 || got["e1"].TxPackets == 0 || got["e1"].TxBytes == 0 {
		t.Errorf("counted %+v, want what e1 has sent", got)
	}
	if _, err := c.CountersInside(t.Context(), path+"9"); err == nil {
		t.Error("a sandbox that isn't there has counters")
	}
}
