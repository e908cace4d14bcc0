//go:build kernel

package firewall

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/nat/guard"
)

// A segment is a bridge of the host with two containers, whose ports are
// guarded once their guard is told so. The bridge learns: a forged MAC address
// that came through would show.
type segment struct {
	host, attacker, victim *namespace
	guard                  *guard.Guard
	in, out                int // packet sockets: the victim's link, the attacker's
	serial                 uint32
}

const (
	hostIP, hostIP6         = "172.30.1.1", "fd00:1::1"
	victimIP, victimIP6     = "172.30.1.2", "fd00:1::2"
	attackerIP, attackerIP6 = "172.30.1.3", "fd00:1::3"
	virtualIP, virtualIP6   = "172.30.1.100", "fd00:1::100"
	attackerLL              = "fe80::ff:fe00:3"
	strangerIP, strangerIP6 = "172.30.1.77", "fd00:1::77"
)

func hostMAC() net.HardwareAddr     { return mac("02:00:00:00:00:01") }
func victimMAC() net.HardwareAddr   { return mac("02:00:00:00:00:02") }
func attackerMAC() net.HardwareAddr { return mac("02:00:00:00:00:03") }
func strangerMAC() net.HardwareAddr { return mac("02:00:00:00:00:77") }
func broadcast() net.HardwareAddr   { return mac("ff:ff:ff:ff:ff:ff") }
func allNodes() net.HardwareAddr    { return mac("33:33:00:00:00:01") }

// guarded returns what the guard holds for the two containers.
func (s *segment) guarded(also ...netip.Addr) []nat.Guarded {
	var out []nat.Guarded
	for _, c := range []struct {
		port, id string
		mac      net.HardwareAddr
		ips      []string
	}{
		{"fwv2", "victim", victimMAC(), []string{victimIP, victimIP6}},
		{"fwv3", "attacker", attackerMAC(), []string{attackerIP, attackerIP6}},
	} {
		g := nat.Guarded{Port: c.port, ID: c.id, MACs: []net.HardwareAddr{c.mac}, Addresses: also}
		for _, ip := range c.ips {
			g.Addresses = append(g.Addresses, netip.MustParseAddr(ip))
		}
		out = append(out, g)
	}
	return out
}

func newSegment(t *testing.T) *segment {
	t.Helper()
	s := &segment{host: newNamespace(t, "host"), attacker: newNamespace(t, "attacker"), victim: newNamespace(t, "victim")}
	words := func(n *namespace, lines string) {
		for line := range strings.Lines(lines) {
			if line = strings.TrimSpace(line); line != "" {
				n.run(t, strings.Fields(line)...)
			}
		}
	}
	// br_netfilter drops and trims packets of its own accord.
	for _, tables := range []string{"iptables", "ip6tables", "arptables"} {
		s.host.sysctl(t, "net/bridge/bridge-nf-call-"+tables, "0")
	}
	words(s.host, `
		ip link add fwb0 address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0
		ip link set fwb0 up
		ip address add 172.30.1.1/24 dev fwb0
		ip address add fd00:1::1/64 dev fwb0 nodad`)
	for _, c := range []struct {
		n         *namespace
		port, num string
	}{{s.victim, "fwv2", "2"}, {s.attacker, "fwv3", "3"}} {
		s.host.run(t, "ip", "link", "add", c.port, "type", "veth", "peer", "name", "c"+c.port, "address", "02:00:00:00:00:0"+c.num)
		s.host.give(t, "c"+c.port, c.n)
		words(s.host, "ip link set "+c.port+" master fwb0 up")
		words(c.n, `
			ip link set c`+c.port+` name eth0
			ip link set eth0 up
			ip address add 172.30.1.`+c.num+`/24 dev eth0
			ip address add fd00:1::`+c.num+`/64 dev eth0 nodad`)
	}
	s.host.do(func() {
		var err error
		if s.guard, err = guard.New(nat.Options{Instance: "test"}); err != nil {
			t.Error(err)
		}
	})
	s.in, s.out = s.victim.packets(t), s.attacker.packets(t)
	for i := 0; !s.passes(t, nil); i++ {
		if i == 100 {
			t.Fatal("the bridge's ports don't forward")
		}
	}
	return s
}

// packets returns a packet socket on eth0.
func (n *namespace) packets(t *testing.T) (fd int) {
	t.Helper()
	var err error
	n.do(func() {
		var link *net.Interface
		if link, err = net.InterfaceByName("eth0"); err != nil {
			return
		}
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
		}
		if err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// passes sends a frame as the attacker, and behind it one that always passes: it
// reports whether the first one had come when the second one does. A nil frame
// asks about the second one alone.
func (s *segment) passes(t *testing.T, frame []byte) bool {
	t.Helper()
	s.serial++
	last := ether(victimMAC(), attackerMAC(), 0x88b5, binary.BigEndian.AppendUint32([]byte("serial"), s.serial))
	hello := ether(broadcast(), victimMAC(), 0x88b5, []byte("the bridge finds the victim again"))
	s.send(t, sent{s.out, frame}, sent{s.in, hello}, sent{s.out, last})
	bare := untagged(frame)
	got := frame == nil
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		n, err := unix.Read(s.in, buf)
		switch {
		case err == unix.EAGAIN && frame == nil:
			return false
		case err != nil:
		case bytes.Equal(buf[:n], last):
			return got
		case frame != nil && (bytes.Equal(buf[:n], frame) || bytes.Equal(buf[:n], bare)):
			got = true
		}
	}
	t.Fatal("what always passes didn't")
	return false
}

// A sent is a frame and the packet socket that sends it.
type sent struct {
	by    int
	frame []byte
}

// send sends frames one after the other from one processor: their order holds.
func (s *segment) send(t *testing.T, frames ...sent) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: its processor is fixed
		var cpu unix.CPUSet
		cpu.Set(0)
		err := unix.SchedSetaffinity(0, &cpu)
		for _, f := range frames {
			if f.frame != nil && err == nil {
				_, err = unix.Write(f.by, f.frame)
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// give puts a link of the host's into another namespace.
func (n *namespace) give(t *testing.T, link string, to *namespace) {
	t.Helper()
	var err error
	n.do(func() {
		var l netlink.Link
		if l, err = netlink.LinkByName(link); err == nil {
			err = netlink.LinkSetNsFd(l, int(to.h))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// untagged is what is left of a frame once the receiver has taken off its tag.
func untagged(f []byte) []byte {
	if len(f) < 18 || f[12] != 0x81 && f[12] != 0x88 {
		return f
	}
	return append(append([]byte{}, f[:12]...), f[16:]...)
}

func (s *segment) apply(t *testing.T, ports ...nat.Guarded) {
	t.Helper()
	s.host.do(func() {
		if err := s.guard.Apply(t.Context(), ports...); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

func (s *segment) denied(t *testing.T) (counts map[string]uint64) {
	t.Helper()
	var err error
	s.host.do(func() { counts, err = s.guard.Denied(t.Context()) })
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
