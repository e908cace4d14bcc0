//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// firewalldRoot lays a writable layer over firewalld's tree, on the host's
// network and with its /run, so that the host's daemons find D-Bus there.
const firewalldRoot = `
b=/usr/bin/busybox
mkdir -p /run/fd /run/dbus
$b mount -t tmpfs none /run/fd
mkdir /run/fd/upper /run/fd/work /run/fd/root
$b mount -t overlay -o lowerdir=/engines/firewalld,upperdir=/run/fd/upper,workdir=/run/fd/work none /run/fd/root
for d in run dev proc sys; do $b mount --bind /$d /run/fd/root/$d; done
cat >/run/bus.conf <<X
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="*"/><allow send_destination="*"/><allow receive_type="*"/></policy>
</busconfig>
X
`

// TestFirewalld starts the real firewalld under a running network: published
// ports and the way out stay, over its reload too; a network that is made
// later gets into the zone, and the zone is empty when the networks are gone.
func TestFirewalld(t *testing.T) {
	if world.driver == "bridge" {
		t.Skip("Docker looks for firewalld at its start only")
	}
	if out, err := exec.CommandContext(t.Context(), "../engines/prepare", "firewalld").CombinedOutput(); err != nil {
		t.Fatalf("prepare firewalld: %v\n%s", err, out)
	}
	each(t, []string{newest}, func(t *testing.T, engine string) {
		h := running(t, engine)
		a1 := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		passes := func() {
			t.Helper()
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP6, 8080), "a1", lab.Neighbour6)
			a1.pings(t, lab.Neighbour, true)
		}
		passes()
		h.Sh(t, firewalldRoot)
		_, stopBus := h.Start(t, "sh", "-c", "echo; exec chroot /run/fd/root dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile")
		defer stopBus()
		_, stop := h.Start(t, "sh", "-c", "echo; exec chroot /run/fd/root firewalld --nofork --nopid")
		defer stop()
		eventually(t, "the bridge is in the zone", func() bool { return zone(h) == bridgeOf(t, h, "n1") })
		passes()
		h.Exec(t, "chroot", "/run/fd/root", "firewall-cmd", "--reload")
		passes()
		network(t, h, "fairway", "n2")
		if got := zone(h); !strings.Contains(got, bridgeOf(t, h, "n2")) {
			t.Errorf("zone fairway after network create: %q, want %s in it", got, bridgeOf(t, h, "n2"))
		}
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		if got := zone(h); got != "" {
			t.Errorf("zone fairway without networks: %q, want none", got)
		}
		nothingOfOurs(t, h)
	})
}

// zone returns the links in firewalld's zone fairway.
func zone(h *lab.Host) string {
	out, err := h.Try("chroot", "/run/fd/root", "firewall-cmd", "--zone=fairway", "--list-interfaces")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}
