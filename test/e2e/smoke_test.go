//go:build e2e

package e2e

import (
	"testing"

	"fairway/test/e2e/lab"
)

func TestHarness(t *testing.T) {
	on(t, []string{oldest, middle, newest}, func(t *testing.T, h *lab.Host) {
		h.Docker(t, "network", "create", "a")
		h.Docker(t, "run", "-d", "--name", "c", "--network", "a", "-p", "8080:7", lab.Image, "probe", "serve", "tcp:7", "udp:7")
		t.Log(h.Docker(t, "exec", "c", "probe", "ask", "tcp", lab.Outside+":7"))
		t.Log(h.LAN.Neighbour.Exec(t, "probe", "ask", "tcp", h.IP+":8080"))
	})
}
