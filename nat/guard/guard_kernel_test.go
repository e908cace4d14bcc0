//go:build kernel

package guard

import (
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A router advertisement reaches a neighbour from a port that isn't guarded,
// and doesn't from one that is, also behind an extension header.
func TestRouterAdvertisements(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	defer ns.Close()
	run(t, "ip link add br0 type bridge forward_delay 0")
	for _, port := range []string{"fwv1", "fwo1", "out1"} {
		run(t, "ip link add "+port+" type veth peer name c"+port)
		run(t, "ip link set "+port+" master br0 up")
		run(t, "ip link set c"+port+" up")
	}
	run(t, "ip link set br0 up")
	for i := 0; !arrives(t, "cfwo1", "cout1", solicitation(), patience/10) || !arrives(t, "cfwv1", "cout1", solicitation(), patience/10); i++ {
		if i == 20 {
			t.Fatal("the bridge's ports don't forward")
		}
	}
	g := New("i", nil)
	for range 2 { // again: as after a restart
		if err := g.Set(); err != nil {
			t.Fatal(err)
		}
	}
	if whole, err := g.whole(); !whole || err != nil {
		t.Errorf("whole %t, %v; want true", whole, err)
	}
	for _, c := range []struct {
		from   string
		frame  []byte
		passes bool
	}{
		{"cfwo1", advertisement(false), true},
		{"cfwv1", advertisement(false), false},
		{"cfwo1", advertisement(true), true},
		{"cfwv1", advertisement(true), false},
		{"cfwv1", solicitation(), true}, // other ICMPv6 passes
	} {
		wait := patience // for what arrives this isn't waited out
		if !c.passes {
			wait = patience / 10
		}
		if got := arrives(t, c.from, "cout1", c.frame, wait); got != c.passes {
			t.Errorf("ICMPv6 type from %s: arrived %t, want %t", c.from, got, c.passes)
		}
	}
	run(t, "nft flush ruleset")
	if whole, err := g.whole(); whole || err != nil {
		t.Errorf("after a flush: whole %t, %v; want false", whole, err)
	}
}

const patience = 3 * time.Second

func run(t *testing.T, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func advertisement(extended bool) []byte {
	return frame(extended, []byte{routerAdvertisement, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0})
}

func solicitation() []byte { return frame(false, []byte{133, 0, 0, 0, 0, 0, 0, 0}) }

// frame wraps an ICMPv6 message to all nodes. The checksum is left out: what
// is tested looks at the type.
func frame(extended bool, icmp []byte) []byte {
	next := []byte{unix.IPPROTO_ICMPV6}
	if extended {
		icmp = append([]byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, icmp...) // destination options, padded
		next = []byte{60}
	}
	f := []byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(icmp)), next[0], 255}
	f = append(f, net.ParseIP("fe80::9")...)
	f = append(f, net.ParseIP("ff02::1")...)
	return append(f, icmp...)
}

// arrives sends a frame and reports whether it comes out at the other link.
func arrives(t *testing.T, from, to string, frame []byte, wait time.Duration) bool {
	t.Helper()
	in, out := packetSocket(t, to), packetSocket(t, from)
	defer unix.Close(in)
	defer unix.Close(out)
	if _, err := unix.Write(out, frame); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		n, err := unix.Read(in, buf)
		if err == nil && string(buf[:n]) == string(frame) {
			return true
		}
	}
	return false
}

func packetSocket(t *testing.T, name string) int {
	t.Helper()
	link, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all&0xffff)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: link.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}); err != nil {
		t.Fatal(err)
	}
	return fd
}
