//go:build kernel

package firewall

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/nat/proxy"
)

// carryCommand has the test's program be a carrier: sockets are made by any
// thread of a process, so that it needs one of its own in the host's namespace.
const carryCommand = "carry"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == carryCommand {
		if err := carry(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// carry holds ports and serves on them with the daemon's own packages, until the
// input ends. Each line of it is an owner and what it publishes from then on, as
// tcp=192.0.2.1:8080=172.30.1.2:80; each is answered by a line.
func carry(in io.Reader, out io.Writer) error {
	p, err := proxy.New(proxy.Options{Allow: asItself})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = p.Run(ctx) }()
	ports := nat.NewPorts(nil, p)
	defer ports.Close()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.Fields(lines.Text())
		var want []nat.Request
		for _, w := range words[1:] {
			f := strings.Split(w, "=")
			at, to := netip.MustParseAddrPort(f[1]), netip.MustParseAddrPort(f[2])
			proto := uint8(unix.IPPROTO_TCP)
			if f[0] == "udp" {
				proto = unix.IPPROTO_UDP
			}
			want = append(want, nat.Request{Proto: proto, HostIPs: []netip.Addr{at.Addr()}, Targets: []netip.AddrPort{to}, First: at.Port()})
		}
		answer := "ok"
		if _, err := ports.Reserve(ctx, words[0], want); err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(out, answer)
	}
	return nil
}

// asItself is the driver's decision for endpoints of fwa: see driver.MayCarry.
func asItself(link string, client, container netip.Addr) (bool, bool) {
	return true, client.Is6() == container.Is6() && (link == "eth0" || link == "fwb")
}

// A carrier is such a process.
type carrier struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (w *world) carrier(t testing.TB) *carrier {
	t.Helper()
	c := &carrier{cmd: exec.Command(os.Args[0], carryCommand)}
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.host.do(func() { err = c.cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		in.Close()
		_ = c.cmd.Wait()
	})
	return c
}

// publish makes ports all that an owner has.
func (c *carrier) publish(t testing.TB, owner string, ports ...string) {
	t.Helper()
	fmt.Fprintln(c.in, owner, strings.Join(ports, " "))
	if answer, err := c.out.ReadString('\n'); err != nil || answer != "ok\n" {
		t.Fatalf("publish %v: %q, %v", ports, answer, err)
	}
}
