//go:build kernel && vm

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A switched LAN is a VLAN-aware bridge of somebody else's with a machine on its
// trunk port, which is in VLANs 12, 40 and 41 with an address in each:
// 10.ID.0.50.
type switched struct {
	*Conn
	machine string // its namespace
}

func newSwitched(t *testing.T) switched {
	t.Helper()
	c := withLAN(t)
	machine, _ := newSandbox(t)
	run(t, "ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
	run(t, "bridge", "vlan", "add", "dev", "port0", "vid", "10-20")
	run(t, "bridge", "vlan", "add", "dev", "port0", "vid", "40-41")
	run(t, "ip", "link", "set", "lan0", "netns", machine)
	inside(t, machine, func() {
		run(t, "ip", "link", "set", "lan0", "up")
		run(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore") // an address counts on its own link only
		for _, id := range []int{12, 40, 41} {
			tagged(t, "lan0", id, 50)
		}
	})
	return switched{c, machine}
}

// tagged makes a link of a VLAN on another with the address 10.ID.0.host.
func tagged(t *testing.T, on string, id, host int) {
	t.Helper()
	name := fmt.Sprintf("%s.%d", on, id)
	run(t, "ip", "link", "add", "link", on, "name", name, "type", "vlan", "id", fmt.Sprint(id))
	run(t, "ip", "addr", "add", fmt.Sprintf("10.%d.0.%d/24", id, host), "dev", name)
	run(t, "ip", "link", "set", name, "up")
}

// port returns a port whose other end is made in a sandbox, with an address in
// the VLAN of frames without a tag.
func (s switched) port(t *testing.T, n int, v PortVLANs) Veth {
	t.Helper()
	p := theirPort(n)
	p.Sandbox, _ = newSandbox(t)
	p.VLANs, p.Learning = v, true
	p.Inside.Addresses = nil
	if v.Access != 0 {
		p.Inside.Addresses = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", v.Access, n))}
	}
	return p
}

// reaches says whether one echo of a number is answered, each within 2 s.
func reaches(t *testing.T, from, to string, echoes int) (ok bool) {
	t.Helper()
	inside(t, from, func() { ok = exec.Command("busybox", "ping", "-c", strconv.Itoa(echoes), "-W", "2", to).Run() == nil })
	return ok
}

func (s switched) check(t *testing.T, what, from, to string, want bool) {
	t.Helper()
	echoes := 1
	if want {
		echoes = 3
	}
	if got := reaches(t, from, to, echoes); got != want {
		t.Errorf("%s: reaches %s: %t, want %t\n%s", what, to, got, want, run(t, "bridge", "vlan"))
	}
}

// TestPortVLANs has ports in VLANs, untagged and tagged, and nobody hears of
// another one's.
func TestPortVLANs(t *testing.T) {
	s := newSwitched(t)
	before := bridgeAsSeen(t)
	office := s.port(t, 1, PortVLANs{Access: 40})
	office2 := s.port(t, 2, PortVLANs{Access: 40})
	other := s.port(t, 3, PortVLANs{Access: 41})
	other.Inside.Addresses = []netip.Prefix{netip.MustParsePrefix("10.40.0.3/24")} // as if it were in 40
	trunk := s.port(t, 4, PortVLANs{Tagged: []VLANRange{{10, 20}}})
	office.Learning = false // a static entry of the forwarding database in each VLAN
	want := Set{office, office2, other, trunk}
	must(t, s.Apply(t.Context(), want))
	clean(t, s.Conn, want)
	if after := bridgeAsSeen(t); after != before {
		t.Errorf("the bridge was\n%s\nand is\n%s", before, after)
	}
	inside(t, trunk.Sandbox, func() {
		run(t, "ip", "link", "set", "eth0", "up")
		tagged(t, "eth0", 12, 4)
		tagged(t, "eth0", 40, 4)
	})
	all := func(when string) {
		t.Helper()
		s.check(t, when+": VLAN 40", office.Sandbox, "10.40.0.50", true)
		s.check(t, when+": VLAN 40, two containers", office2.Sandbox, "10.40.0.1", true)
		s.check(t, when+": another VLAN", other.Sandbox, "10.40.0.1", false)
		s.check(t, when+": trunk", trunk.Sandbox, "10.12.0.50", true)
		s.check(t, when+": not in the trunk", trunk.Sandbox, "10.40.0.50", false)
	}
	all("made")

	run(t, "bridge", "vlan", "del", "dev", "fwv1", "vid", "40")
	run(t, "bridge", "vlan", "add", "dev", "fwv4", "vid", "40")
	repairs, err := s.Reconcile(t.Context(), want)
	must(t, err)
	if len(repairs) != 2 || !strings.HasSuffix(repairs[0].What, "VLANs were none") {
		t.Errorf("repairs %v, want those of two ports", repairs)
	}
	clean(t, s.Conn, want)
	all("repaired")

	run(t, "ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "0")
	p := s.port(t, 5, PortVLANs{Access: 40})
	if err := s.Apply(t.Context(), Set{p}); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a port in a VLAN of a bridge that looks at none: %v, want EOPNOTSUPP", err)
	}
	run(t, "ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")

	run(t, "ip", "link", "del", "br0")
	clean(t, s.Conn, want)
	run(t, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0", "vlan_filtering", "1")
	run(t, "ip", "link", "set", "port0", "master", "br0")
	run(t, "ip", "link", "set", "br0", "up")
	run(t, "bridge", "vlan", "add", "dev", "port0", "vid", "10-20")
	run(t, "bridge", "vlan", "add", "dev", "port0", "vid", "40-41")
	if repairs, err = s.Reconcile(t.Context(), want); err != nil || len(repairs) != 4 {
		t.Errorf("repairs %v, %v, want all four ports", repairs, err)
	}
	all("bridge gone and back")
}

// TestProbeInVLAN asks a VLAN that the host itself isn't in.
func TestProbeInVLAN(t *testing.T) {
	s := newSwitched(t)
	taken, free := netip.MustParseAddr("10.40.0.50"), netip.MustParseAddr("10.40.0.51")
	for _, c := range []struct {
		vlan uint16
		ip   netip.Addr
		want bool
	}{{40, taken, true}, {40, free, false}, {41, taken, false}} {
		got := false
		for range 5 { // an emulated machine may take its time
			ip, by, err := s.Probe(t.Context(), Segment{Link: "br0", VLAN: c.vlan}, mac("02:00:00:00:00:01"), c.ip)
			must(t, err)
			if got = ip.IsValid() && len(by) == 6; got == c.want && got {
				break
			}
			if !c.want && got {
				break
			}
		}
		if got != c.want {
			t.Errorf("VLAN %d: %s is taken: %t, want %t", c.vlan, c.ip, got, c.want)
		}
	}
	must(t, s.Quiesce(t.Context()))
	if got := names(t, s.Conn); len(got) != 2 {
		t.Errorf("left %v", got)
	}
}
