//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// TestEngineUpgrade replaces the engine in place, with what it has stored.
func TestEngineUpgrade(t *testing.T) {
	t.Parallel()
	h := running(t, oldest)
	serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--restart", "always")
	serve(t, h, "b1", "--network", "n1")
	h.Upgrade(t, world.tools.Engine(newest))
	if out := h.Docker(t, "version", "--format", "{{.Server.Version}}"); out != world.tools.Engine(newest).Version {
		t.Fatalf("engine %s runs after the upgrade", out)
	}
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	h.Docker(t, "start", "b1")
	container(h, "b1").reaches(t, "tcp4", "a1:80", "a1", "")
	container(h, "b1").reaches(t, "tcp6", "a1:80", "a1", "")
	serve(t, h, "c1", "--network", "n1", "--publish", "8081:80")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "c1", lab.Neighbour)
	want(t, "driver", h.Docker(t, "network", "inspect", "--format", "{{.Driver}}", "n1"), world.driver)
	if err := h.Engine().RemoveAll(); err != nil {
		t.Fatal(err)
	}
	nothingOfOurs(t, h)
}

// TestTwoEngines has two engines use one daemon: neither's endpoints may be
// taken for stale because the other does not know them.
func TestTwoEngines(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		h := running(t, engine)
		two := h.SecondEngine(t)
		two.Docker(t, "network", "create", "--driver", world.driver, "--subnet", subnet("2"), "n2")
		two.Docker(t, runArgs("b1", "--network", "n2", "--publish", "8081:80")...)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		both := func() {
			t.Helper()
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
		}
		both()
		h.KillFairway(t)
		h.StartFairway(t)
		time.Sleep(3 * time.Second) // for what the daemon compares in the background
		both()
		h.RestartEngine(t)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
		h.Docker(t, "start", "a1")
		both()
		out, err := two.Try(runArgs("z1", "--network", "n2", "--publish", "8080:80")...)
		if err == nil || !strings.Contains(out, "port is already allocated") {
			t.Errorf("the other engine's port: %q, %v, want: port is already allocated", out, err)
		}
		if err := two.RemoveAll(); err != nil {
			t.Fatal(err)
		}
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		two.Stop(t)
		h.Clean(t)
	})
}

// TestReboot loses everything but the disks. Containers that are to be always
// there answer again without any command.
func TestReboot(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		h := running(t, engine)
		network(t, h, world.driver, "n2", ours("--subnet", subnet("2"))...)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--restart", "always")
		serve(t, h, "b1", "--network", "n2", "--publish", "8081:80", "--restart", "always")
		serve(t, h, "c1", "--network", "n1", "--publish", "8082:80")
		for range 2 {
			h.Reboot(t)
			if world.driver == "fairway" {
				h.StartFairway(t)
			}
			h.StartEngine(t)
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP6, 8080), "a1", lab.Neighbour6)
			container(h, "a1").reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		}
		h.Docker(t, "start", "c1")
		container(h, "c1").reaches(t, "tcp", "a1:80", "a1", "")
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		nothingOfOurs(t, h)
	})
}

// nothingOfOurs checks a host that has no baseline to compare with: no record
// of fairway's, no link of its, no address of the tests' subnets in any rule.
func nothingOfOurs(t *testing.T, h *lab.Host) {
	t.Helper()
	var left string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		left = h.Sh(t, `
			ip -o link | grep -E 'alias fairway:|: fw[bvi]|: veth' || true
			{ iptables-save; ip6tables-save; nft list table inet fairway; } 2>/dev/null | grep -E '10\.99\.|fd99:|-[io] fw' || true
			ip addr | grep -E ' (10\.99\.|fd99:)' || true`)
		if world.driver == "fairway" {
			for _, what := range []string{"endpoints", "networks", "ports"} {
				rows, err := h.Listed(what)
				if err != nil {
					t.Fatal(err)
				}
				if len(rows) > 0 {
					left += what + " are still listed\n"
				}
			}
		}
		if left == "" {
			return
		}
	}
	t.Errorf("left behind after all was removed:\n%s", left)
}
