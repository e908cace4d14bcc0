//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// TestNothingGetsIn floods what isn't published, from the LAN by routing and
// from other networks, while somebody flushes all rules again and again: with
// the daemon alive, stopped and killed no datagram arrives.
func TestNothingGetsIn(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // they arrive
		}
		for _, backend := range []string{"nftables", "iptables"} {
			t.Run(backend, func(t *testing.T) {
				t.Parallel()
				h := own(t, lab.Config{Name: "flood-" + backend, Engine: world.tools.Engine(engine), Fairway: []string{"--firewall", backend}})
				h.StartFairway(t)
				h.StartEngine(t)
				nothingGetsIn(t, h)
			})
		}
	})
}

func nothingGetsIn(t *testing.T, h *lab.Host) {
	h.Baseline(t, "bridge", "fairway")
	lan0(t, h, "--ipv6", "--subnet", subnet6(world.driver))
	network(t, h, world.driver, "n2", "--subnet", subnet("2"))
	serve(t, h, "a1", "--network", "n1", "--publish", "8080:80") // and not its 53/udp
	h.LAN.Route(t, subnet4(world.driver), h)
	h.LAN.Route(t, subnet6(world.driver), h)
	floods := []party{neighbour(h), neighbour(h), serve(t, h, "b1", "--network", "n2"), serve(t, h, "c1", "--network", "bridge")}
	to := []string{at(ip4(t, h, "a1", "n1"), 53), at(ip6(t, h, "a1", "n1"), 53), at(ip4(t, h, "a1", "n1"), 53), at(ip4(t, h, "a1", "n1"), 53)}
	flush := `nft flush ruleset; for p in iptables ip6tables; do $p -P FORWARD ACCEPT; done`
	harm := func(seconds int) (arrived int) {
		before := strings.Count(h.Docker(t, "logs", "a1"), "udp ")
		var wait sync.WaitGroup
		for i, f := range floods {
			wait.Go(func() {
				out, err := f.try("probe", "flood", to[i], strconv.Itoa(seconds))
				if err != nil || strings.HasSuffix(out, "\n0 sent") {
					t.Errorf("%s floods %s: %q, %v", f.name, to[i], out, err)
				}
			})
		}
		rounds := 0
		for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); rounds++ {
			h.Sh(t, flush)
		}
		wait.Wait()
		t.Logf("rules were flushed %d times", rounds)
		return strings.Count(h.Docker(t, "logs", "a1"), "udp ") - before
	}
	for _, c := range []struct {
		name  string
		do    func()
		after func()
	}{
		{"alive", func() {}, func() {}},
		{"stopped", func() { h.StopFairway(t) }, func() { h.StartFairway(t) }},
		{"killed", func() { h.KillFairway(t) }, func() {}},
	} {
		c.do()
		if n := harm(2); n != 0 {
			t.Errorf("daemon %s: %d datagrams arrived at what isn't published", c.name, n)
		}
		c.after()
	}
	// It can fail: without the routing rules they do arrive.
	h.Sh(t, "ip rule flush protocol 102; ip -6 rule flush protocol 102")
	if harm(1) == 0 {
		t.Error("no datagram arrives where nothing is in the way")
	}
	h.StartFairway(t)
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	neighbour(h).isShutOut(t, "udp", to[0])
	if err := h.Engine().RemoveAll(); err != nil {
		t.Fatal(err)
	}
	nothingOfOurs(t, h)
}
