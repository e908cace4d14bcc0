//go:build kernel

package firewall

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// A namespace is a network namespace of a test's own.
type namespace struct {
	name string
	h    netns.NsHandle
}

func newNamespace(t testing.TB, name string) *namespace {
	t.Helper()
	n := &namespace{name: name}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		n.h, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("network namespace %s: %v (the kernel tests need root)", name, err)
	}
	t.Cleanup(func() { n.h.Close() })
	n.address(t, "lo")
	return n
}

// do runs f on a thread in the namespace.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(n.h); err != nil {
			panic(err)
		}
		f()
	}()
	<-done
}

func (n *namespace) run(t testing.TB, command ...string) string {
	t.Helper()
	return n.input(t, "", command...)
}

func (n *namespace) input(t testing.TB, input string, command ...string) string {
	t.Helper()
	var out []byte
	var err error
	n.do(func() {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", n.name, strings.Join(command, " "), err, out)
	}
	return string(out)
}

func (n *namespace) sysctl(t testing.TB, path, value string) {
	t.Helper()
	var err error
	n.do(func() { err = os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
	if err != nil {
		t.Fatalf("%s: sysctl %s=%s: %v", n.name, path, value, err)
	}
}

// serve answers on a port with the client's address, until the test ends.
func (n *namespace) serve(t testing.TB, network, address string) {
	t.Helper()
	var err error
	if strings.HasPrefix(network, "udp") {
		var c net.PacketConn
		n.do(func() { c, err = net.ListenPacket(network, address) })
		if err != nil {
			t.Fatalf("%s: listen %s %s: %v", n.name, network, address, err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte(n.name+" "+host(from.String())), from)
			}
		}()
		return
	}
	var l net.Listener
	n.do(func() { l, err = net.Listen(network, address) })
	if err != nil {
		t.Fatalf("%s: listen %s %s: %v", n.name, network, address, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, n.name+" "+host(c.RemoteAddr().String()))
			c.Close()
		}
	}()
}

func host(addrPort string) string { return netip.MustParseAddrPort(addrPort).Addr().String() }

// ask connects and returns who answered and whose address that one saw; "" if
// nobody did.
func (n *namespace) ask(network, address string) (answer string) {
	n.do(func() {
		d := net.Dialer{Timeout: patience}
		if strings.HasPrefix(network, "ip") {
			answer = ping(network, address)
			return
		}
		if network == "sctp-socket" {
			answer = connectSCTP(address)
			return
		}
		if strings.HasPrefix(network, "sctp") {
			answer = askSCTP(network, address)
			return
		}
		c, err := d.DialContext(context.Background(), network, address)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if strings.HasPrefix(network, "udp") {
			_, _ = c.Write([]byte("?"))
			buf := make([]byte, 1500)
			k, _ := c.Read(buf)
			answer = string(buf[:k])
			return
		}
		b, _ := io.ReadAll(c)
		answer = string(b)
	})
	return answer
}

// ping sends one echo request (RFC 792, RFC 4443) and returns who answered.
func ping(network, address string) string {
	c, err := net.Dial(network, address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	request, reply := []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}, byte(0)
	if network == "ip6:ipv6-icmp" { // the kernel puts in the checksum
		request, reply = []byte{128, 0, 0, 0, 0, 1, 0, 1}, 129
	}
	if _, err = c.Write(request); err != nil {
		return ""
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := c.(*net.IPConn).ReadFrom(buf) // without the IPv4 header
		if err != nil {
			return ""
		}
		if n > 0 && buf[0] == reply {
			return address
		}
	}
}

// flavours are the two kinds of iptables programs.
var flavours = []string{"nft", "legacy"}

// useFlavour puts programs of a flavour first in PATH, under the names that
// everybody calls.
func useFlavour(t testing.TB, flavour string) {
	t.Helper()
	multi := "/usr/sbin/xtables-" + flavour + "-multi"
	if _, err := os.Stat(multi); err != nil {
		t.Fatalf("iptables of flavour %s: %v", flavour, err)
	}
	dir := t.TempDir()
	for _, name := range []string{
		"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore",
	} {
		if err := os.Symlink(multi, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}
