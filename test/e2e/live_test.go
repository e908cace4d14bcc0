//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// TestLivePorts publishes and unpublishes on running containers, and checks what
// of it outlives what.
func TestLivePorts(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // Docker can't
		}
		h := running(t, engine)
		n := neighbour(h)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		h.Fairway(t, "ports", "add", "a1", "9090:80", "9053:53/udp", "127.0.0.1:9091:80")
		if out, err := h.Try("timeout", "1", "probe", "hold", "tcp", "0.0.0.0:9090"); err == nil || !strings.Contains(out, "in use") {
			t.Errorf("a process takes the port: %q, want: address already in use", out)
		}
		reached := func(when string) {
			t.Helper()
			t.Log(when)
			n.reaches(t, "tcp", at(h.IP, 9090), "a1", lab.Neighbour)
			n.reaches(t, "udp", at(h.IP, 9053), "a1", lab.Neighbour)
			machine(h.Machine).reaches(t, "tcp", "127.0.0.1:9091", "a1", "")
			n.reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		}
		reached("at once")
		h.Docker(t, "restart", "--time", "0", "a1")
		reached("container started again")
		h.KillFairway(t)
		h.StartFairway(t)
		reached("daemon killed")
		wantPort(t, h, 9090, "reachable_from", "all")
		wantPort(t, h, 9091, "reachable_from", "this host")
		wantPort(t, h, 9090, "live", "true")

		// Who else wants a port is told who has it, either way round.
		refused := func(want string, args ...string) {
			t.Helper()
			out, err := h.Try(append([]string{"fairway", "ports"}, args...)...)
			if err == nil || !strings.Contains(out+fmt.Sprint(err), want) {
				t.Errorf("fairway ports %q: %s, %v: want %s", args, out, err, want)
			}
		}
		serve(t, h, "b1", "--network", "n1")
		refused(`port is already allocated (by container "a1" of network "n1")`, "add", "b1", "9090:80")
		refused(`port is already allocated (by container "a1" of network "n1")`, "add", "b1", "9092:80", "8080:80")
		n.isShutOut(t, "tcp", at(h.IP, 9092))
		refusal(t, h, "9090:80", `\(by container "a1" of network "n1"\)`)
		refused(`container "zz": is not running on a network of fairway's`, "add", "zz", "9092:80")
		// On two networks it is the one that -p is on, or the one that is named.
		network(t, h, world.driver, "n2", "--subnet", subnet("2"))
		h.Docker(t, "network", "connect", "n2", "a1")
		eventually(t, "the container is known on its second network", func() bool {
			_, err := h.Try("fairway", "ports", "add", "a1", "9093:80", "--network", "n2")
			return err == nil
		})
		h.Fairway(t, "ports", "add", "a1", "9094:81")
		wantPort(t, h, 9093, "network_name", "n2")
		wantPort(t, h, 9094, "network_name", "n1")
		h.Docker(t, "network", "disconnect", "n2", "a1")
		h.Docker(t, "network", "rm", "n2")
		refused(`port 9099/tcp: is not published; want one of`, "remove", "a1", "9099")

		// What goes by a port is counted.
		h.Sh(t, "echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct")
		n.reaches(t, "tcp", at(h.IP, 9090), "a1", lab.Neighbour)
		if row := regexp.MustCompile(`(?m)^\* +tcp +9090 .* all +[1-9]\d* +[1-9]\d* +\S+ +\S+$`); !row.MatchString(h.Fairway(t, "ports", "--stats")) {
			t.Errorf("fairway ports --stats:\n%s\nwant a row %s", h.Fairway(t, "ports", "--stats"), row)
		}

		h.Fairway(t, "ports", "remove", "a1", "9090", "8080")
		n.isShutOut(t, "tcp", at(h.IP, 9090))
		n.isShutOut(t, "tcp", at(h.IP, 8080))
		n.reaches(t, "udp", at(h.IP, 9053), "a1", lab.Neighbour)
		h.Docker(t, "restart", "--time", "0", "a1")
		n.reaches(t, "udp", at(h.IP, 9053), "a1", lab.Neighbour)
		n.isShutOut(t, "tcp", at(h.IP, 9090))
		n.isShutOut(t, "tcp", at(h.IP, 8080))

		// A port that somebody takes while the container is stopped waits.
		h.Docker(t, "stop", "--time", "0", "a1")
		_, free := h.Start(t, "probe", "hold", "udp", "0.0.0.0:9053")
		h.Docker(t, "start", "a1")
		machine(h.Machine).reaches(t, "tcp", "127.0.0.1:9091", "a1", "")
		eventually(t, "the taken port is shown", func() bool {
			return strings.Contains(h.Fairway(t, "ports"), "nobody: Bind for 0.0.0.0:9053 failed: port is already allocated")
		})
		free()

		h.Docker(t, "rm", "--force", "a1")
		h.Fairway(t, "ports", "add", "b1", "9090:80", "9053:53/udp")
		n.reaches(t, "tcp", at(h.IP, 9090), "b1", lab.Neighbour)
		h.Docker(t, "rm", "--force", "b1")
		h.Clean(t)
	})
}

// wantPort checks a value that fairway ports shows of a port.
func wantPort(t *testing.T, h *lab.Host, port int, key, want string) {
	t.Helper()
	rows, err := h.Listed("ports")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r["host_port"] == float64(port) {
			if got := fmt.Sprint(r[key]); got != want {
				t.Errorf("port %d: %s is %q (%v), want %q", port, key, got, r["why"], want)
			}
			return
		}
	}
	t.Errorf("port %d isn't listed: %v", port, rows)
}

// eventually waits for what comes by itself, as long as the daemon may take.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Errorf("%s: not within %v", what, 2*patience)
}
