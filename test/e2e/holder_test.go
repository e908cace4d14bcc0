//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// hostHolder is how a process of the host is called: by its container or unit,
// where this machine has it in one.
const hostHolder = `(process "probe" \(pid \d+\)|unit ".+"|container [0-9a-f]{12}|container ".+")`

// TestPortHolder checks that whoever wants a port that is taken is told who has
// it, and what becomes of a port that is taken while the daemon is down.
func TestPortHolder(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // Docker's own names nobody
		}
		h := running(t, engine)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		refusal(t, h, "8080:80", `\(by container "a1" of network "n1"\)`)
		for _, p := range []struct{ proto, addr string }{{"tcp", "0.0.0.0:8081"}, {"udp", ":8081"}} {
			_, stop := h.Start(t, "probe", "hold", p.proto, p.addr)
			refusal(t, h, "8081:80/"+p.proto, `\(by `+hostHolder+`\)`)
			stop()
		}

		h.StopFairway(t)
		_, stop := h.Start(t, "probe", "hold", "tcp", "0.0.0.0:8080")
		h.StartFairway(t)
		if by := takenBy(t, h, 8080); !regexp.MustCompile("^" + hostHolder + "$").MatchString(by) {
			t.Errorf("taken while the daemon was down: taken by %q, want %s", by, hostHolder)
		}
		if out := h.Fairway(t, "ports"); !strings.Contains(out, "TAKEN BY") {
			t.Errorf("fairway ports has no column TAKEN BY:\n%s", out)
		}
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		stop()
		by := "?"
		for end := time.Now().Add(45 * time.Second); by != "" && time.Now().Before(end); time.Sleep(time.Second) {
			by = takenBy(t, h, 8080)
		}
		if by != "" {
			t.Fatalf("free for 45 s, but taken by %q", by)
		}
		if out, err := h.Try("timeout", "1", "probe", "hold", "tcp", "0.0.0.0:8080"); err == nil || !strings.Contains(out, "in use") {
			t.Errorf("a process takes the port again: %q, want: address already in use", out)
		}
		h.Docker(t, "rm", "--force", "a1")
		h.Clean(t)
	})
}

// refusal checks what docker says of a port that somebody has. The search for
// the holder is bounded in time, and a container's name comes by the engine: a
// busy machine has a few attempts.
func refusal(t *testing.T, h *lab.Host, publish, holder string) {
	t.Helper()
	want := regexp.MustCompile("port is already allocated " + holder)
	var out string
	for range 5 {
		out = h.DockerErr(t, runArgs("z1", "--network", "n1", "--publish", publish)...)
		h.Docker(t, "rm", "--force", "z1")
		if want.MatchString(out) {
			return
		}
	}
	t.Errorf("publish %s: %q, want %s", publish, out, want)
}

// takenBy returns what fairway ports says of a port.
func takenBy(t *testing.T, h *lab.Host, port int) string {
	t.Helper()
	rows, err := h.Listed("ports")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if by, ok := r["taken_by"].(string); ok && r["host_port"] == float64(port) {
			return by
		}
	}
	return ""
}
