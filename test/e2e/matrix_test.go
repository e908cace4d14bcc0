//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestFirewallMatrix runs the same traffic for each tool that writes rules,
// each engine, and each policy of the FORWARD chain, with fairway's own rules in
// nftables, and in iptables.
func TestFirewallMatrix(t *testing.T) {
	t.Parallel()
	for _, iptables := range []string{"nft", "legacy"} {
		for _, engine := range ends {
			for _, c := range []struct{ policy, backend string }{
				{"DROP", "nftables"}, {"ACCEPT", "nftables"}, {"DROP", "iptables"}, {"ACCEPT", "iptables"},
			} {
				t.Run(strings.Join([]string{iptables, engine, c.policy, c.backend}, "/"), func(t *testing.T) {
					t.Parallel()
					h := own(t, lab.Config{
						Name: "fw", Engine: world.tools.Engine(engine), Iptables: iptables, Forward: c.policy,
						Fairway: []string{"--firewall", c.backend},
					})
					firewall(t, h, iptables, c.policy)
				})
			}
		}
	}
}

func firewall(t *testing.T, h *lab.Host, iptables, policy string) {
	// The engine first: it decides the policy by whether forwarding is on.
	h.StartEngine(t)
	drivers := []string{"bridge"}
	if world.driver == "fairway" {
		h.StartFairway(t)
		drivers = append(drivers, "fairway")
	}
	if out := h.Exec(t, "iptables", "--version"); !strings.Contains(out, map[string]string{"nft": "nf_tables", "legacy": "legacy"}[iptables]) {
		t.Fatalf("iptables is %s, want %s", out, iptables)
	}
	want(t, "FORWARD", lines(h.Exec(t, "iptables", "-S", "FORWARD"))[0], "-P FORWARD "+policy)
	h.Baseline(t, drivers...)

	lan0(t, h)
	network(t, h, world.driver, "n2", "--subnet", subnet("2"))
	a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--publish", "8053:53/udp")
	b := serve(t, h, "b1", "--network", "n1")
	c := serve(t, h, "c1", "--network", "n2")
	d := serve(t, h, "d1", "--network", "bridge", "--publish", "8081:80")
	aIP, dIP := ip4(t, h, "a1", "n1"), ip4(t, h, "d1", "bridge")

	for _, p := range []party{a, c, d} {
		p.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		p.reaches(t, "tcp", at(h.IP, 8080), "a1", "")
	}
	b.reaches(t, "tcp", "a1:80", "a1", ip4(t, h, "b1", "n1"))
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	neighbour(h).reaches(t, "udp", at(h.IP, 8053), "a1", lab.Neighbour)
	machine(h.Machine).reaches(t, "tcp", "127.0.0.1:8080", "a1", "")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "d1", "")
	a.reaches(t, "tcp", at(h.IP, 8081), "d1", "")

	// Closed: between networks, docker0's ports that are not published, ours
	// from the LAN whatever the policy.
	c.isShutOut(t, "tcp", at(aIP, 80))
	d.isShutOut(t, "tcp", at(aIP, 80))
	a.isShutOut(t, "tcp", at(dIP, 81))
	a.isShutOut(t, "tcp", at(dIP, 80))
	if world.driver == "fairway" {
		h.LAN.Route(t, subnet4(world.driver), h)
		neighbour(h).isShutOut(t, "tcp", at(aIP, 80))
		neighbour(h).isShutOut(t, "tcp", at(aIP, 81))
	}

	// An administrator's word in DOCKER-USER is the last.
	h.Exec(t, "iptables", "-I", "DOCKER-USER", "-s", lab.Neighbour, "-j", "DROP")
	neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
	h.Exec(t, "iptables", "-D", "DOCKER-USER", "-s", lab.Neighbour, "-j", "DROP")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)

	// After a restart of the engine, which writes its chains anew.
	h.RestartEngine(t)
	h.Docker(t, "start", "a1", "d1")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
	a.isShutOut(t, "tcp", at(ip4(t, h, "d1", "bridge"), 81))
	d.isShutOut(t, "tcp", at(ip4(t, h, "a1", "n1"), 80))
	h.Clean(t)
}
