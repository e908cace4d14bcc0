//go:build kernel

package link

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newConn returns a Conn in a fresh network namespace. The test's thread is in
// it, and is thrown away when the test ends.
func newConn(t testing.TB) *Conn {
	t.Helper()
	newNamespace(t)
	return connect(t, "0123abcd")
}

// connect returns a Conn in the namespace that the test is in.
func connect(t testing.TB, instance string) *Conn {
	t.Helper()
	c, err := New(Options{Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Quiesce(ctx); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// newNamespace moves the test's thread into a fresh network namespace.
func newNamespace(t testing.TB) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	h, err := netns.New()
	if err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	t.Cleanup(func() { h.Close() })
	run(t, "ip", "link", "set", "lo", "up")
	return h
}

// newSandbox returns the path of another fresh network namespace, and a way to
// end it.
func newSandbox(t testing.TB) (path string, end func()) {
	t.Helper()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	h, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	open := true
	end = func() {
		if open {
			h.Close()
			open = false
		}
	}
	t.Cleanup(end)
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h)), end
}

// inside runs f on the test's thread in the namespace at path.
func inside(t testing.TB, path string, f func()) {
	t.Helper()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	h, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := netns.Set(h); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err)
		}
	}()
	f()
}

// run runs a command in the namespace of the test's thread.
func run(t testing.TB, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// runIn runs a command in the namespace of a Conn, for subtests: they have
// threads of their own.
func runIn(t testing.TB, c *Conn, command ...string) {
	t.Helper()
	must(t, c.thread.in(c.own.ns, func() error {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
		return nil
	}))
}

// network returns what a network and one endpoint of it want.
func network(c *Conn) Set {
	return append(Set{testBridge(c)},
		Address{Link: "fwb1", Prefix: netip.MustParsePrefix("172.30.0.1/24")},
		Address{Link: "fwb1", Prefix: netip.MustParsePrefix("fd00:30::1/64")},
		Sysctl{Path: "net/ipv4/conf/fwb1/route_localnet", Value: "1", Reset: "0"},
	)
}

func testBridge(c *Conn) Bridge {
	return Bridge{
		Name: "fwb1", Alias: Mark(c.instance, "n1", ""), MAC: mac("02:00:00:00:0b:01"), MTU: 1400, IPv6: true,
	}
}

// endpoint returns what the endpoint of a number wants in the network.
func endpoint(c *Conn, i int) Set {
	v := testVeth(c, i)
	return Set{
		v,
		Neighbour{Link: "fwb1", IP: netip.AddrFrom4([4]byte{172, 30, byte(i >> 8), byte(2 + i)}), MAC: v.PeerMAC},
		Neighbour{Link: "fwb1", IP: netip.MustParseAddr(fmt.Sprintf("fd00:30::%x", 2+i)), MAC: v.PeerMAC},
	}
}

func testVeth(c *Conn, i int) Veth {
	return Veth{
		Name: fmt.Sprintf("fwv%d", i), Peer: fmt.Sprintf("fwi%d", i), Master: "fwb1", MTU: 1400,
		PeerMAC: mac(fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)),
		Alias:   Mark(c.instance, fmt.Sprintf("e%d", i), ""),
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names returns the names of all links but lo.
func names(t testing.TB, c *Conn) (out []string) {
	t.Helper()
	links, err := c.own.links()
	must(t, err)
	for _, l := range links {
		if l.name != "lo" {
			out = append(out, l.name)
		}
	}
	return out
}
