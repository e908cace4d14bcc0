//go:build e2e

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// overlayFleet makes, changes and removes a network on all hosts by commands on
// one of them, while one is away and while it is in use.
func overlayFleet(t *testing.T, hosts []*lab.Host) {
	a, b, c := hosts[0], hosts[1], hosts[2]
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				out, _ := a.Try("fairway", "network", "ls")
				t.Fatalf("not so after a minute: %s\n%s", what, out)
			}
		}
	}
	lists := func(h *lab.Host, says ...string) func() bool {
		return func() bool {
			for line := range strings.Lines(h.Fairway(t, "network", "ls")) {
				all := true
				for _, s := range says {
					all = all && strings.Contains(line, s)
				}
				if all {
					return true
				}
			}
			return false
		}
	}
	has := func(h *lab.Host, internal string) func() bool {
		return func() bool {
			out, err := h.TryDocker("network", "inspect", "--format", "{{.Internal}} {{.Driver}} {{.Labels.tier}}", "fleet")
			return err == nil && strings.TrimSpace(out) == internal+" fairway 1"
		}
	}
	create := []string{"network", "create", "fleet", "--subnet", "10.99.42.0/24", "--subnet", "fd99:42::/64", "--label", "tier=1", "--wait", "1m"}

	if _, err := a.Try("fairway", "network", "create", "none", "--subnet", "10.99.42.0/24"); err == nil || !strings.Contains(err.Error(), "one of Docker's own") {
		t.Errorf("a network of Docker's own name: %v", err)
	}
	if _, err := a.Try("fairway", "network", "create", "fleet", "--subnet", "10.99.42.0/24", "-o", "mtu=9O00"); err == nil || !strings.Contains(err.Error(), `option mtu="9O00"`) {
		t.Errorf("a wrong option: %v", err)
	}
	c.Docker(t, "network", "create", "--internal", "fleet") // a user's own is in the way
	if _, err := a.Try("fairway", "network", "create", "fleet", "--subnet", "10.99.42.0/24", "--label", "tier=1", "--wait", "1s"); err == nil || !strings.Contains(err.Error(), "isn't the cluster's") {
		t.Errorf("with a network in the way: %v", err)
	}
	c.Docker(t, "network", "rm", "fleet")
	if out := b.Fairway(t, create...); strings.Count(out, " made ") != 3 {
		t.Errorf("fairway network create:\n%s", out)
	}
	for _, h := range hosts {
		if !has(h, "false")() {
			t.Errorf("%s: no such network", h.Name)
		}
	}
	serve(t, b, "fleet-b", "--network", "fleet")
	onC := serve(t, c, "fleet-c", "--network", "fleet")
	for _, ip := range []string{ip4(t, b, "fleet-b", "fleet"), ip6(t, b, "fleet-b", "fleet")} {
		onC.reaches(t, "tcp", net.JoinHostPort(ip, "80"), "fleet-b", "")
	}
	c.Docker(t, "rm", "--force", "fleet-c")

	// It changes while a host is away, and in use there.
	b.StopFairway(t)
	_, err := a.Try(append([]string{"fairway"}, append(create, "--internal")...)...)
	if err == nil || !strings.Contains(err.Error(), "it changes it when it is back") || strings.Count(err.Error(), " made  ") != 2 {
		t.Errorf("with a host away: %v", err)
	}
	if !has(a, "true")() || !has(c, "true")() || !has(b, "false")() {
		t.Error("the network didn't change on the hosts that are there, or did on the one that isn't")
	}
	b.StartFairway(t)
	until("b waits for its container", lists(c, " b ", "waiting", "container fleet-b is attached"))
	if !has(b, "false")() {
		t.Error("b changed a network that is in use")
	}
	b.Docker(t, "rm", "--force", "fleet-b")
	until("b has changed it", lists(c, " b ", " made "))
	if !has(b, "true")() {
		t.Error("b says that it has changed the network, and hasn't")
	}

	// It is removed, by name of --hosts and at all, while a container is attached.
	serve(t, b, "fleet-b", "--network", "fleet")
	if out := c.Fairway(t, "network", "create", "fleet", "--ipv6", "--label", "tier=1", "--internal", "--hosts", "b,c", "--wait", "1m"); strings.Contains(out, "waiting") {
		t.Errorf("for fewer hosts:\n%s", out)
	}
	until("a has none", func() bool { _, err := a.TryDocker("network", "inspect", "fleet"); return err != nil })
	_, err = a.Try("fairway", "network", "rm", "fleet")
	if err == nil || !strings.Contains(err.Error(), "container fleet-b is attached") {
		t.Errorf("removed while in use: %v", err)
	}
	b.Docker(t, "rm", "--force", "fleet-b")
	b.KillFairway(t) // before or after it removes the network
	b.StartFairway(t)
	until("nobody speaks of it", func() bool { return !strings.Contains(a.Fairway(t, "network", "ls"), "fleet") })
	for _, h := range hosts {
		if out := h.Docker(t, "network", "ls", "--quiet", "--filter", "label=fairway.cluster"); out != "" {
			t.Errorf("%s: left behind: %s", h.Name, out)
		}
	}
}
