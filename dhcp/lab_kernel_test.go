//go:build kernel

package dhcp

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"fairway/store"
)

// TestMain lets the tests run side by side: most of their time they wait for
// servers to do something.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// A lan is two namespaces with a link between them: the test's own thread is on
// the host, whose link is eth0; the servers are on the other side, at 192.0.2.1.
type lan struct {
	t      testing.TB
	host   netns.NsHandle
	far    netns.NsHandle
	dir    string
	leases int
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	t.Parallel()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	l := &lan{t: t, dir: t.TempDir()}
	var err error
	if l.far, err = netns.New(); err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	if l.host, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.far.Close(); l.host.Close() })
	l.run("ip", "link", "set", "lo", "up")
	// Who asks and who answers have their link-local addresses at once.
	const noDAD = "echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
	l.run("sh", "-c", noDAD)
	l.farRun("sh", "-c", noDAD)
	l.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.far))
	l.run("ip", "link", "set", "eth0", "up")
	for _, command := range []string{
		"ip link set lo up", "ip link add br0 type bridge", "ip link set lan0 master br0 up", "ip link set br0 up",
		"ip addr add 192.0.2.1/24 dev br0", "ip addr add 2001:db8::1/64 dev br0 nodad",
	} {
		l.farRun(strings.Fields(command)...)
	}
	return l
}

func (l *lan) run(command ...string) {
	l.t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// in runs f on this thread in a namespace.
func (l *lan) in(ns netns.NsHandle, f func()) {
	l.t.Helper()
	if err := netns.Set(ns); err != nil {
		l.t.Fatal(err)
	}
	f()
	if err := netns.Set(l.host); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lan) farRun(command ...string) {
	l.t.Helper()
	l.in(l.far, func() { l.run(command...) })
}

// A server is a dnsmasq.
type server struct {
	cmd *exec.Cmd
	log *os.File
}

// serve starts a dnsmasq on the far side and waits until it listens. Its leases
// are new each time.
func (l *lan) serve(args ...string) *server {
	l.t.Helper()
	l.leases++
	log, err := os.Create(filepath.Join(l.dir, fmt.Sprintf("dnsmasq%d.log", l.leases)))
	if err != nil {
		l.t.Fatal(err)
	}
	args = append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", "--user=root", "--group=root", "--pid-file=",
		"--interface=br0", "--bind-interfaces", "--log-dhcp", "--log-facility=-", "--dhcp-lease-max=5000",
		"--dhcp-leasefile=" + filepath.Join(l.dir, fmt.Sprintf("leases%d", l.leases)),
	}, args...)
	s := &server{cmd: exec.Command("dnsmasq", args...), log: log}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	l.in(l.far, func() { err = s.cmd.Start() })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.stop)
	s.says(l.t, "DHCP, IP range")
	return s
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// said returns all that the server has logged.
func (s *server) said() string {
	text, _ := os.ReadFile(s.log.Name())
	return string(text)
}

// says waits until the server has logged something.
func (s *server) says(t testing.TB, what string) {
	t.Helper()
	for range 600 {
		if strings.Contains(s.said(), what) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the server never said %q:\n%s", what, s.said())
}

// A memory is a store of the test's.
type memory struct {
	mu      sync.Mutex
	records store.Records
}

func newMemory() *memory { return &memory{records: store.NewRecords()} }

func (m *memory) Begin(changes ...store.Change) <-chan error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records.Apply(changes...)
	done := make(chan error, 1)
	done <- nil
	return done
}

// keep records a lease as package ipam does.
func (m *memory) keep(l store.Lease) {
	m.Begin(store.PutLease(l), store.PutAddress(store.Address{Space: l.Space, Subnet: l.Subnet, IP: l.IP}))
}

func (m *memory) leases() (all []store.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.records.Leases {
		all = append(all, l)
	}
	return all
}

// client returns a client on the host that runs until stop, or the test's end.
func (l *lan) client(m *memory, timeout time.Duration) (c *Client, stop func()) {
	l.t.Helper()
	log := logrus.New()
	log.SetOutput(testWriter{l.t})
	c = New(Options{
		Store: m, Instance: "i", Timeout: timeout, Log: log,
		Open: func(link string) (s *Socket, err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread()
				if err = netns.Set(l.host); err == nil {
					s, err = Open(link)
				}
			}()
			<-done
			return s, err
		},
	}, m.records)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(stop)
	return c, stop
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// wish asks for any address of 192.0.2.0/24.
func wish(n int, name string) store.Lease {
	return store.Lease{
		Space: "s", Subnet: netip.MustParsePrefix("192.0.2.0/24"), Parent: "eth0", Name: name,
		MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255),
	}
}

func (l *lan) acquire(c *Client, want store.Lease) store.Lease {
	l.t.Helper()
	got, err := c.Acquire(l.t.Context(), want, want.IP.IsValid())
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

// becomes waits until the first lease is in a state.
func becomes(t testing.TB, c *Client, states ...string) Status {
	t.Helper()
	var last []Status
	for range 600 {
		last = c.Leases()
		if len(last) > 0 && slices.Contains(states, last[0].State) {
			return last[0]
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("leases are %+v, want %v", last, states)
	return Status{}
}
