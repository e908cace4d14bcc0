//go:build kernel

package firewall

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forbidden is a port of containers that nobody published.
const forbidden = 4444

// count returns how many packets arrived at the forbidden port so far.
func (n *namespace) count(t *testing.T) *atomic.Int64 {
	t.Helper()
	var c net.PacketConn
	var err error
	n.do(func() { c, err = net.ListenPacket("udp", ":4444") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	got := new(atomic.Int64)
	go func() {
		for buf := make([]byte, 64); ; got.Add(1) {
			if _, _, err := c.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	return got
}

// An attack sends one packet to a forbidden port.
type attack struct {
	name string
	sent atomic.Int64
	send func() error
}

// dialled is an attack by routing.
func (n *namespace) dialled(t *testing.T, name, to string) *attack {
	t.Helper()
	var c net.Conn
	var err error
	n.do(func() { c, err = net.Dial("udp", to) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &attack{name: name, send: func() error { _, err := c.Write([]byte("!")); return err }}
}

// spoofed is an attack with a source address of somebody else's (raw(7)).
func (n *namespace) spoofed(t *testing.T, from, to string) *attack {
	t.Helper()
	var fd int
	var err error
	n.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	p := []byte{0x45, 0, 0, 29, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	p = append(append(p, src.AsSlice()...), dst.AsSlice()...)
	for _, field := range []uint16{53, forbidden, 9, 0} {
		p = binary.BigEndian.AppendUint16(p, field)
	}
	p = append(p, '!')
	return &attack{name: "as " + from + " to " + to, send: func() error { return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: dst.As4()}) }}
}

// flood sends every attack about 1,000 times a second until the context ends.
func flood(ctx context.Context, attacks []*attack) {
	var wg sync.WaitGroup
	for _, a := range attacks {
		wg.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if a.send() == nil { // else an ICMP error for the one before
					a.sent.Add(1)
				}
			}
		})
	}
	wg.Wait()
}

// flush is what takes away all rules of a backend's kind.
func (k backend) flush() string {
	if k.name == viaOpen.name {
		return "nft flush ruleset"
	}
	return "for p in iptables ip6tables; do for t in filter mangle nat raw; do $p -t $t -F; done; $p -P FORWARD ACCEPT; done"
}

// TestUnroutable: while somebody takes the rules away again and again, with the
// daemon putting them back or not, and while somebody takes the policy-routing
// rules away, no packet gets to what isn't published. With neither, all do.
func TestUnroutable(t *testing.T) { eachOpen(t, testUnroutable) }

func testUnroutable(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, nil)
	for _, link := range []string{"fwa", "fwb"} {
		w.host.sysctl(t, "net/ipv4/conf/"+link+"/rp_filter", "1") // as many distributions have it
	}
	arrived := w.a1.count(t)
	attacks := []*attack{
		w.lan.dialled(t, "by routing", "172.30.1.2:4444"),
		w.lan.dialled(t, "by routing, IPv6", "[2001:db8:a::2]:4444"),
		w.b1.dialled(t, "from another network", "172.30.1.2:4444"),
		w.b1.dialled(t, "from another network, IPv6", "[2001:db8:a::2]:4444"),
		w.d1.dialled(t, "from docker0", "172.30.1.2:4444"),
		w.lan.spoofed(t, "172.30.1.3", "172.30.1.2"),   // a neighbour of the network
		w.lan.spoofed(t, "172.30.2.2", "172.30.1.2"),   // a container of another
		w.lan.spoofed(t, "172.17.0.2", "172.30.1.2"),   // one of Docker's
		w.lan.spoofed(t, "198.51.100.9", "172.30.1.2"), // anybody
	}
	for _, c := range []struct {
		name  string
		harm  string
		again bool // the daemon repairs each time
		time  time.Duration
	}{
		{"rules flushed, repaired", kind.flush(), true, 3 * time.Second},
		{"rules flushed, nobody repairs", kind.flush(), false, time.Second},
		{"policy-routing rules gone, repaired", "ip rule flush protocol 102; ip -6 rule flush protocol 102", true, time.Second},
		{"routes gone, repaired", "ip route flush table 4000; ip -6 route flush table 4000", true, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			fw.reconcile(t, s)
			before, asked, answered := arrived.Load(), 0, 0
			ctx, stop := context.WithTimeout(t.Context(), c.time)
			defer stop()
			var wg sync.WaitGroup
			wg.Go(func() { flood(ctx, attacks) })
			wg.Go(func() {
				for ; ctx.Err() == nil; asked++ {
					if w.lan.ask("tcp", "192.0.2.1:8080") != "" {
						answered++
					}
				}
			})
			rounds := 0
			for ctx.Err() == nil {
				w.shell(t, c.harm)
				if c.again {
					fw.reconcile(t, s)
				}
				rounds++
			}
			wg.Wait()
			t.Logf("%d rounds; to the published port %d connections, %d answered", rounds, asked, answered)
			if n := arrived.Load() - before; n != 0 {
				t.Errorf("%d forbidden packets arrived", n)
			}
		})
	}
	fw.reconcile(t, s)
	check(t, w.common())
	w.shell(t, "ip rule flush protocol 102; ip -6 rule flush protocol 102;"+kind.flush())
	for _, a := range attacks { // the test can fail
		before := arrived.Load()
		for range 10 {
			_ = a.send()
		}
		if !eventually(func() bool { return arrived.Load() > before }) {
			t.Errorf("%s: nothing arrives where nothing is in the way; %d were sent", a.name, a.sent.Load())
		}
	}
}

// shell runs a command whose failure doesn't matter.
func (w *world) shell(t *testing.T, command string) {
	t.Helper()
	w.host.do(func() {
		if err := exec.Command("sh", "-c", command).Run(); err != nil {
			t.Logf("%s: %v", command, err)
		}
	})
}

func eventually(f func() bool) bool {
	for range 2000 {
		if f() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// TestHostWithoutRules: what the host itself sends gets to its containers, and
// Docker's own bridge is as reachable as before, whatever happens to the rules.
func TestHostWithoutRules(t *testing.T) { eachOpen(t, testHostWithoutRules) }

func testHostWithoutRules(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, nil)
	w.shell(t, kind.flush())
	check(t, []probe{
		{"host to container", w.host, "tcp", "172.30.1.2:81", "a1 172.30.1.1"},
		{"host to container, IPv6", w.host, "tcp", "[2001:db8:a::2]:81", "a1 2001:db8:a::1"},
		{"neighbour to Docker's container", w.lan, "tcp", "172.17.0.2:80", "d1 192.0.2.2"},
		{"neighbour to container", w.lan, "tcp", "172.30.1.2:81", ""},
		{"container to its neighbour", w.a1, "tcp", "172.30.1.3:81", "a2 172.30.1.2"},
		{"container to host", w.a1, "ip4:icmp", "172.30.1.1", "172.30.1.1"},
	})
	fw.reconcile(t, s)
	fw.remove(t, s)
	for _, family := range []string{"-4", "-6"} {
		rules := w.host.run(t, "ip", family, "rule")
		if left := rules + w.host.run(t, "sh", "-c", "ip "+family+" route show table 4000 2>/dev/null || true"); strings.Contains(left, "4000") || strings.Contains(left, "unreachable") {
			t.Errorf("removal left\n%s", left)
		}
	}
}
