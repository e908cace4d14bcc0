//go:build kernel

package overlay

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A VNI or a UDP port that somebody else has is refused in one line, and nothing is
// left behind.
func TestTaken(t *testing.T) {
	l := newUnderlay(t, 1, false)
	h := l.hosts[0]
	h.join(0, nil, false)
	h.do(func() {
		must(t, h.plane.Close(t.Context(), testVNI))
		must(t, h.conn.Remove(t.Context(), h.network.Links()))
		must(t, h.conn.Quiesce(t.Context()))
		refused := func(errno unix.Errno, want string) {
			t.Helper()
			err := h.conn.Apply(t.Context(), h.network.Links())
			if !errors.Is(err, errno) || err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			must(t, h.conn.Quiesce(t.Context()))
			if out := run(t, "ip", "-o", "link"); strings.Contains(out, "fw") {
				t.Errorf("left behind: %s", out)
			}
		}
		u, err := net.ListenPacket("udp", ":4789")
		must(t, err)
		refused(unix.EADDRINUSE, "link: add vxlan fwx1 to fwb1: UDP port 4789 is in use on this host: address already in use")
		u.Close()
		run(t, "ip", "link", "add", "theirs", "up", "type", "vxlan", "id", "8388615", "dstport", "4789")
		refused(unix.EEXIST, "link: add vxlan fwx1 to fwb1: VNI 8388615 on UDP port 4789 belongs to another link of this host: file exists (A VXLAN device with the specified VNI already exists)")
		run(t, "ip", "link", "del", "theirs")
		// Another program's segments on the same port, as Swarm's, are no trouble.
		run(t, "ip", "link", "add", "theirs", "up", "type", "vxlan", "id", "4097", "dstport", "4789", "local", "192.0.2.1")
		must(t, h.conn.Apply(t.Context(), h.network.Links()))
	})
}
