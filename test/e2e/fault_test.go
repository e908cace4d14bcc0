//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// longestWait is how long a connection may wait for an answer while a daemon
// dies and comes back: the data path is the kernel's, so this is only the
// noise of a busy machine.
const longestWait = 500 * time.Millisecond

// running makes a host of its own for a test, with fairway, an engine, a
// network n1 and a baseline from before the network.
func running(t *testing.T, engine string, dockerd ...string) *lab.Host {
	t.Helper()
	h := own(t, lab.Config{Name: "own", Engine: world.tools.Engine(engine), Docker: dockerd})
	drivers := []string{"bridge"}
	if world.driver == "fairway" {
		h.StartFairway(t)
		drivers = append(drivers, "fairway")
	}
	h.StartEngine(t)
	h.Baseline(t, drivers...)
	lan0(t, h, "--ipv6", "--subnet", subnet6(world.driver))
	return h
}

// each runs a test for each engine; it makes its hosts itself.
func each(t *testing.T, engines []string, test func(t *testing.T, engine string)) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// talk keeps a connection busy; the function it returns checks that it came
// through.
func talk(t *testing.T, m *lab.Machine, addr string, seconds string, prefix ...string) func() {
	t.Helper()
	b, _ := m.Start(t, append(prefix, "probe", "talk", addr, seconds)...)
	return func() {
		t.Helper()
		out := b.Wait(t)
		_, rest, _ := strings.Cut(out, "longest wait ")
		d, err := time.ParseDuration(strings.ReplaceAll(strings.TrimSpace(rest), " ", ""))
		if err != nil {
			t.Fatalf("talk to %s: %q", addr, out)
		}
		if d > longestWait {
			t.Errorf("talk to %s: an answer took %v, want at most %v: %s", addr, d, longestWait, out)
		}
	}
}

// TestKillDaemon kills fairway while connections run through it.
func TestKillDaemon(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		h := running(t, engine)
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--publish", "8053:53/udp")
		b := serve(t, h, "b1", "--network", "n1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		b.reaches(t, "tcp", "a1:80", "a1", "")
		done := []func(){
			talk(t, h.LAN.Neighbour, at(h.IP, 8080), "5"),
			talk(t, h.Machine, at(ip4(t, h, "a1", "n1"), 80), "5", "docker", "exec", "b1"),
			talk(t, h.Machine, lab.Outside+":7", "5", "docker", "exec", "a1"),
		}
		h.KillFairway(t)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour) // new ones too
		h.StartFairway(t)
		h.KillFairway(t)
		h.StartFairway(t)
		h.StopFairway(t)
		neighbour(h).reaches(t, "udp", at(h.IP, 8053), "a1", lab.Neighbour)
		h.StartFairway(t)
		for _, check := range done {
			check()
		}
		// All is managed as before.
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		serve(t, h, "c1", "--network", "n1", "--publish", "8081:80").reaches(t, "tcp", "b1:80", "b1", "")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "c1", lab.Neighbour)
		a.reaches(t, "tcp6", "c1:80", "c1", "")
		if out := h.DockerErr(t, runArgs("z1", "--network", "n1", "--publish", "8080:80")...); !strings.Contains(out, "port is already allocated") {
			t.Errorf("a port of before the crash is given again: %q", out)
		}
		h.Docker(t, "restart", "a1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Clean(t)
	})
}

// TestRemoveWhileDown removes containers and networks while the daemon is
// dead: what dockerd has forgotten must go when it is back.
func TestRemoveWhileDown(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		h := running(t, engine)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		serve(t, h, "b1", "--network", "n1")
		h.KillFairway(t)
		// dockerd tries a dead plugin for 15 s at each call.
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = h.TryDocker("rm", "--force", "a1") })
		wait.Wait()
		h.StartFairway(t)
		serve(t, h, "c1", "--network", "n1", "--publish", "8080:80")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "c1", lab.Neighbour)
		h.Clean(t)
	})
}

// TestEngineRestart restarts dockerd, without and with live-restore.
func TestEngineRestart(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		h := running(t, engine)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--restart", "always")
		serve(t, h, "b1", "--network", "n1", "--publish", "8081:80")
		h.RestartEngine(t)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8081))
		h.Docker(t, "start", "b1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
		container(h, "b1").reaches(t, "tcp", "a1:80", "a1", "")

		// Killed, it tells the driver nothing of what it ends at its start.
		h.Engine().Kill()
		h.StartEngine(t)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Docker(t, "start", "b1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
		h.Clean(t)
	})
}

func TestLiveRestore(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		h := running(t, engine, "--live-restore")
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--restart", "always")
		serve(t, h, "b1", "--network", "n1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		container(h, "b1").reaches(t, "tcp", "a1:80", "a1", "")
		pid := h.Docker(t, "inspect", "--format", "{{.State.Pid}}", "a1")
		check := talk(t, h.LAN.Neighbour, at(h.IP, 8080), "6")
		h.RestartEngine(t)
		check()
		want(t, "process of a1", h.Docker(t, "inspect", "--format", "{{.State.Pid}}", "a1"), pid)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		serve(t, h, "c1", "--network", "n1").reaches(t, "tcp", "a1:80", "a1", "")
		h.Docker(t, "restart", "a1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Clean(t)
	})
}
