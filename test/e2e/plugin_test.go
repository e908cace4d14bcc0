//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestManagedPlugin leads the managed plugin through its life, with a container
// that is to answer after each step.
func TestManagedPlugin(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // has no plugin
		}
		h := own(t, lab.Config{Name: "own", Engine: world.tools.Engine(engine)})
		h.StartEngine(t)
		h.InstallPlugin(t)
		refusesWhy(t, h)
		network(t, h, lab.Plugin, "n1", "--ipam-driver", lab.Plugin, "--subnet", subnet("1"))
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--restart", "always")
		answers := func(step string) {
			t.Helper()
			if a := neighbour(h).asks(t, "tcp", at(h.IP, 8080)); a.Name != "a1" || a.From != lab.Neighbour {
				t.Errorf("%s: %q answered and saw %s", step, a.Name, a.From)
			}
		}
		answers("run")
		eventually(t, "the port's container has its name", func() bool {
			rows, err := h.Listed("ports")
			return err == nil && len(rows) > 0 && rows[0]["container"] == "a1"
		})
		if out := h.DockerErr(t, "plugin", "disable", "fairway"); !strings.Contains(out, "in use") {
			t.Errorf("disable while a network is there: %q, want: in use", out)
		}
		inSwarm(t, h, engine == newest)

		before := h.PluginPID(t)
		h.Sh(t, "kill -9 "+before)
		eventually(t, "the engine has started the daemon again", func() bool {
			_, err := h.Listed("networks")
			return err == nil && h.PluginPID(t) != before
		})
		answers("daemon killed")
		h.RestartEngine(t)
		answers("engine restarted")
		h.Docker(t, "plugin", "disable", "--force", "fairway")
		answers("disabled")
		h.Docker(t, "plugin", "enable", "fairway")
		serve(t, h, "b1", "--network", "n1", "--publish", "8081:80")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)

		h.RemovePlugin(t) // an upgrade without a registry
		h.InstallPlugin(t)
		answers("made anew")
		if engine == newest { // each takes seconds, and hangs on no version
			h.Reboot(t)
			h.Sh(t, "touch /etc/resolv.conf")
			h.StartEngine(t)
			answers("rebooted")
		} else {
			replaced(t, h)
			answers("plugin again")
		}

		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		nothingOfOurs(t, h)
		h.Docker(t, "plugin", "disable", "fairway")
		h.Docker(t, "plugin", "rm", "fairway")
		want(t, "the plugin's process", h.PluginPID(t), "")
	})
}

// refusesWhy checks that a plugin that can't start says why, and starts once it
// can. What stands in the documents about its own file is tried in passing.
func refusesWhy(t *testing.T, h *lab.Host) {
	t.Helper()
	set := func(level string) {
		t.Helper()
		h.Docker(t, "plugin", "disable", "fairway")
		h.Docker(t, "plugin", "set", "fairway", "FAIRWAY_LOG_LEVEL="+level)
		h.Docker(t, "plugin", "enable", "fairway")
	}
	set("loud")
	const reason = `environment FAIRWAY_LOG_LEVEL="loud": want error, warning, info, debug or trace`
	if out := h.DockerErr(t, "network", "create", "--driver", lab.Plugin, "n0"); !strings.Contains(out, reason) {
		t.Errorf("with a wrong setting: %q, want: %s", out, reason)
	}
	set("debug")
	h.Sh(t, `"/var/lib/docker/plugins/$(docker plugin inspect -f '{{.Id}}' fairway)/rootfs/fairway" status --check ready --wait 10s`)
}

// inSwarm checks a network of the plugin on a node of a swarm and, if asked for,
// one that a service uses.
func inSwarm(t *testing.T, h *lab.Host, service bool) {
	t.Helper()
	h.Docker(t, "swarm", "init", "--advertise-addr", h.IP)
	network(t, h, lab.Plugin, "n2", "--subnet", subnet("2"))
	serve(t, h, "s1", "--network", "n2", "--publish", "8082:80")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8082), "s1", lab.Neighbour)
	h.Docker(t, "rm", "--force", "s1")
	if service {
		serviceIn(t, h)
	}
	h.Docker(t, "swarm", "leave", "--force")
	h.Docker(t, "network", "rm", "n2")
}

// serviceIn runs a service on a network that each node makes with the plugin.
func serviceIn(t *testing.T, h *lab.Host) {
	t.Helper()
	h.Docker(t, "network", "create", "--config-only", "--subnet", subnet("3"), "config3")
	network(t, h, lab.Plugin, "n3", "--scope", "swarm", "--config-from", "config3")
	h.Docker(t, "service", "create", "--detach", "--no-resolve-image", "--name", "s3", "--hostname", "s3",
		"--network", "n3", lab.Image, "probe", "serve", "tcp:80")
	var address string
	eventually(t, "the service's task has an address", func() bool {
		address = h.Docker(t, "network", "inspect", "--format", "{{range .Containers}}{{.IPv4Address}}{{end}}", "n3")
		address, _, _ = strings.Cut(address, "/")
		return address != ""
	})
	machine(h.Machine).reaches(t, "tcp", at(address, 80), "s3", "")
	h.Docker(t, "service", "rm", "s3")
	eventually(t, "the service's network is let go", func() bool {
		_, err := h.TryDocker("network", "rm", "n3")
		return err == nil
	})
	eventually(t, "the service's network is gone", func() bool {
		rows, err := h.Listed("networks")
		return err == nil && len(rows) == 2
	})
	h.Docker(t, "network", "rm", "config3")
}

// replaced has the service take the plugin's place, and the plugin the
// service's.
func replaced(t *testing.T, h *lab.Host) {
	t.Helper()
	h.RemovePlugin(t)
	h.StartFairway(t, "--replace-plugin")
	h.RestartEngine(t) // it asks at the removed plugin's socket until then
	neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	serve(t, h, "c1", "--network", "n1", "--publish", "8083:80")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8083), "c1", lab.Neighbour)
	h.StopFairway(t)
	h.InstallPlugin(t)
	serve(t, h, "d1", "--network", "n1", "--publish", "8084:80")
	neighbour(h).reaches(t, "tcp", at(h.IP, 8084), "d1", lab.Neighbour)
}
