//go:build e2e

package e2e

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestSpoofing: a container that says it is the gateway changes no neighbour's
// mind, and is seen to try; with antispoof=false it does. It has NET_RAW, as
// every container has.
func TestSpoofing(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // it knows nothing of this
		}
		for _, guarded := range []bool{true, false} {
			var args []string
			if !guarded {
				args = []string{"--opt", "antispoof=false"}
			}
			lan0(t, h, args...)
			victim := serve(t, h, "b1", "--network", "n1")
			serve(t, h, "a1", "--network", "n1")
			gateway := addr4(world.driver, 1)
			victim.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
			thief := inNetwork(t, h, "a1", "n1", "MacAddress")
			forged := arpReply(t, thief, gateway, inNetwork(t, h, "b1", "n1", "MacAddress"), ip4(t, h, "b1", "n1"))
			stolen, frames := false, 0.0
			for ; frames < 20 && !stolen; frames++ { // the kernel protects an entry for its first second
				h.Docker(t, "exec", "a1", "probe", "frame", "eth0", forged)
				stolen = strings.Contains(mustTry(t, victim, "ip", "neigh", "show", gateway, "dev", "eth0"), thief)
			}
			if stolen == guarded {
				t.Errorf("antispoof=%t: %.0f frames changed the victim's entry of the gateway: %t", guarded, frames, stolen)
			}
			denied := map[any]any{}
			rows, err := h.Listed("endpoints")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				denied[r["ipv4"].(string)] = r["denied"]
			}
			a, b := denied[ip4(t, h, "a1", "n1")+"/24"], denied[ip4(t, h, "b1", "n1")+"/24"]
			if guarded && (a != frames || b != 0.0) || !guarded && (a != nil || b != nil) {
				t.Errorf("antispoof=%t: denied %v of a1, %v of b1 (%v)", guarded, a, b, denied)
			}
			if guarded {
				eventually(t, "a1's attempt at the log", func() bool {
					return strings.Contains(h.Log("fairway", 50), "the container sends from addresses that aren't its own")
				})
			}
			tidy(t, h)
		}
	})
}

// TestVirtualAddress: an address moves between two containers as keepalived
// moves it, allowed or with antispoof=false.
func TestVirtualAddress(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return
		}
		virtual := addr4(world.driver, 200)
		for _, option := range []string{"allow_addresses=" + virtual, "antispoof=false"} {
			lan0(t, h, "--opt", option)
			client := serve(t, h, "c1", "--network", "n1")
			for _, name := range []string{"a1", "b1"} {
				serve(t, h, name, "--network", "n1", "--cap-add", "NET_ADMIN")
				h.Docker(t, "exec", name, "ip", "addr", "add", virtual+"/32", "dev", "eth0")
				h.Docker(t, "exec", name, "arping", "-U", "-c", "1", "-I", "eth0", "-s", virtual, virtual)
				for _, p := range []party{client, machine(h.Machine)} {
					p.reaches(t, "tcp", at(virtual, 80), name, "")
				}
				h.Docker(t, "exec", name, "ip", "addr", "del", virtual+"/32", "dev", "eth0")
			}
			_, _ = h.Try("conntrack", "-D", "--orig-dst", virtual) // fairway knows nothing of this address
			tidy(t, h)
		}
	})
}

// arpReply returns a frame that says who has an address, for probe.
func arpReply(t *testing.T, sender, senderIP, target, targetIP string) string {
	t.Helper()
	mac := func(s string) []byte {
		m, err := net.ParseMAC(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	from, to := mac(sender), mac(target)
	f := append(append([]byte{}, to...), from...)
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	f = append(append(f, from...), netip.MustParseAddr(senderIP).AsSlice()...)
	f = append(append(f, to...), netip.MustParseAddr(targetIP).AsSlice()...)
	return hex.EncodeToString(f)
}
