//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// TestHealthy: on a host with nothing wrong the doctor finds nothing, whatever
// the engine, and knows containers by their names.
func TestHealthy(t *testing.T) {
	if world.driver == "bridge" {
		t.Skip("it is fairway's")
	}
	on(t, all, func(t *testing.T, h *lab.Host) {
		h.Sh(t, "chmod 700 /var/lib/fairway") // as systemd makes it, and the lab doesn't
		network(t, h, world.driver, "n1", "--subnet", subnet("1"))
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		serve(t, h, "b1", "--network", "n1")
		if found := examined(t, h); len(found) > 0 {
			t.Errorf("a healthy host: %v", found)
		}
		eventually(t, "names are known", func() bool {
			_, err := h.Try("fairway", "trace", "a1", "b1:80")
			if err == nil {
				_, err = h.Try("fairway", "inspect", "n1")
			}
			return err == nil
		})
		known(t, h, "a1", "n1")
		h.Fairway(t, "ping", "-c", "1", "a1", "b1")
		h.Fairway(t, "trace", "outside", h.IP+":8080")
		out, err := h.Try("fairway", "trace", "a1", "b1:8080")
		if err == nil || !strings.Contains(out, "nothing in the container listens") {
			t.Errorf("trace to a port that nobody listens on: %q, %v", out, err)
		}
	})
}

// known checks that inspect tells of a container and its network the same as its
// engine, and that nothing differs; and that events have both names.
func known(t *testing.T, h *lab.Host, container, network string) {
	t.Helper()
	type engine struct {
		Known           bool
		Name, Container string
	}
	var both struct {
		Networks []struct {
			Kernel []struct{ Object, Differs string }
			Engine engine
		}
		Endpoints []struct {
			Record struct {
				ContainerID string `json:"container_id"`
			}
			Kernel []struct{ Object, Differs string }
			Engine engine
			Inside struct{ Links []struct{ Name string } }
		}
	}
	for _, name := range []string{container, network} { // each adds its own
		if err := json.Unmarshal([]byte(h.Fairway(t, "inspect", "--json", name)), &both); err != nil {
			t.Fatal(err)
		}
		switch {
		case name == container && (len(both.Endpoints) != 1 || len(both.Endpoints[0].Inside.Links) == 0):
			t.Fatalf("inspect %s: %+v", name, both)
		case name == container:
			if e := both.Endpoints[0]; !e.Engine.Known || e.Engine.Name != container || e.Engine.Container != e.Record.ContainerID || e.Record.ContainerID == "" {
				t.Errorf("inspect %s: %+v", name, e)
			}
			for _, o := range both.Endpoints[0].Kernel {
				if o.Differs != "" {
					t.Errorf("inspect %s: %+v", name, o)
				}
			}
		case len(both.Networks) != 1 || !both.Networks[0].Engine.Known || both.Networks[0].Engine.Name != network:
			t.Errorf("inspect %s: %+v", name, both.Networks)
		default:
			for _, o := range both.Networks[0].Kernel {
				if o.Differs != "" {
					t.Errorf("inspect %s: %+v", name, o)
				}
			}
		}
	}
	if out := h.Fairway(t, "events", "--kept", "--only", "attach"); !strings.Contains(out, "container="+container+" ") || !strings.Contains(out, "network="+network) {
		t.Errorf("events:\n%s", out)
	}
}

// TestDoctor provokes what takes an engine; the rest is in cmd/fairway.
func TestDoctor(t *testing.T) {
	if world.driver == "bridge" {
		t.Skip("it is fairway's")
	}
	each(t, []string{newest}, func(t *testing.T, engine string) {
		h := running(t, engine, "--live-restore")
		serve(t, h, "a1", "--network", "n1")
		finds := func(code, says string) []finding {
			t.Helper()
			found := examined(t, h, code)
			if len(found) != 1 || !strings.Contains(found[0].Text, says) {
				t.Errorf("%s: found %v, want one that says %q", code, found, says)
			}
			return found
		}
		gone := func(code string) {
			t.Helper()
			eventually(t, code+" is gone", func() bool { return len(examined(t, h, code)) == 0 })
		}
		// FW061: somebody takes a live port while its container is stopped.
		eventually(t, "the container is known", func() bool {
			_, err := h.Try("fairway", "ports", "add", "a1", "9090:80")
			return err == nil
		})
		h.Docker(t, "stop", "--time", "0", "a1")
		_, stop := h.Start(t, "probe", "hold", "tcp", "0.0.0.0:9090")
		h.Docker(t, "start", "a1")
		eventually(t, "the port waits", func() bool { return len(examined(t, h, "FW061")) == 1 })
		finds("FW061", "9090/tcp of container a1")
		stop()
		gone("FW061")
		// FW042: a container is removed while Docker, just started, finds no driver.
		h.StopFairway(t)
		h.StopEngine(t)
		recover := nobody(t, h)
		h.StartEngine(t, "--live-restore")
		h.Docker(t, "rm", "--force", "a1")
		recover()
		h.StartFairway(t)
		found := finds("FW042", `of "a1" on network n1 has no container`)
		if out, err := h.TryDocker("network", "rm", "n1"); err == nil || !strings.Contains(out, "active endpoints") {
			t.Errorf("network rm: %q, %v", out, err)
		}
		for _, f := range found {
			for _, line := range f.Fix {
				h.Sh(t, line)
			}
		}
		gone("FW042") // fairway's own record goes within a minute: Docker told it nothing
		// FW043: the records are older than a network.
		const db = "/var/lib/fairway/fairway.db"
		h.StopFairway(t)
		h.Sh(t, "cp "+db+" /run/older")
		h.StartFairway(t)
		network(t, h, world.driver, "n2", "--subnet", subnet("2"))
		h.StopFairway(t)
		h.Sh(t, "cp /run/older "+db)
		h.StartFairway(t)
		for _, f := range finds("FW043", "network n2") {
			for _, line := range f.Fix {
				h.Sh(t, line)
			}
		}
		gone("FW043")
		// FW046: the engine has lost a network; the daemon, once it runs, sees to it.
		h.StopFairway(t)
		h.StopEngine(t)
		h.Sh(t, "cp /var/lib/docker/network/files/local-kv.db /run/kv; rm /var/lib/docker/network/files/local-kv.db")
		finds("FW044", "docker.sock")
		h.StartEngine(t)
		gone("FW044")
		finds("FW046", "isn't one of Docker's")
		h.StopEngine(t)
		h.Sh(t, "cp /run/kv /var/lib/docker/network/files/local-kv.db")
		h.StartFairway(t)
		h.StartEngine(t)
		gone("FW046")
	})
}

// nobody answers at the driver's socket with errors, until the returned function
// is called: Docker waits for 15 s where nobody answers at all.
func nobody(t *testing.T, h *lab.Host) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", fmt.Sprintf("/proc/%d/root/run/docker/plugins/fairway.sock", h.PID()))
	if err != nil {
		t.Fatal(err)
	}
	s := http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "nobody is here", http.StatusInternalServerError)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	return func() {
		_ = s.Close() // removes the socket
		<-ended
	}
}

// A finding is one of the doctor's.
type finding struct {
	Code, Text string
	Fix        []string
}

// examined returns what the doctor finds.
func examined(t *testing.T, h *lab.Host, codes ...string) []finding {
	t.Helper()
	// For when no daemon says where its engine is.
	out, _ := h.Try(append([]string{"env", "FAIRWAY_DOCKER_SOCKET=/run/docker.sock", "fairway", "doctor", "--json"}, codes...)...)
	var d struct {
		Findings []finding
		Skipped  []struct{ Code, Why string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	for _, s := range d.Skipped {
		t.Logf("%s skipped: %s", s.Code, s.Why)
	}
	return d.Findings
}
