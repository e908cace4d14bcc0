//go:build kernel

package model

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/store"
)

// A real is a ground of one network namespace of this kernel, with the daemon
// as a process of its own. Its engines are this test: none that it knows.
type real struct {
	t        *testing.T
	binary   string
	firewall string // the daemon's backend
	dir      string // state, sockets, sandboxes
	host     netns.NsHandle
	nl       *netlink.Handle
	work     chan func() // done on a thread that is in the host's namespace
	client   *http.Client
	own      string // the instance of the daemon's store
	checker  backend
	seen     *kernel         // see look; nil: nobody looked yet
	guarded  map[string]bool // programs whose FORWARD was seen to drop in this life of the daemon

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	output  *bytes.Buffer
	steps   int
	fault   fault
	boxes   map[string]netns.NsHandle // sandboxes by path
	foreign net.Listener              // a port of the host's
}

// The backends of the firewall.
const (
	onNftables = "nftables"
	onIptables = "iptables"
)

// newReal makes a namespace with what others have on a host.
func newReal(t *testing.T, binary, firewall string) (*real, error) {
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		return nil, err
	}
	g := &real{t: t, binary: binary, firewall: firewall, dir: dir, work: make(chan func()), boxes: map[string]netns.NsHandle{}}
	if g.host, err = newNamespace(); err != nil {
		return nil, err
	}
	go g.serve()
	if g.nl, err = netlink.NewHandleAt(g.host, unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "plugin.sock")
	g.client = &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	return g, g.in(g.furnish)
}

// newNamespace returns a network namespace that lives as long as the handle.
func newNamespace() (netns.NsHandle, error) {
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		made <- result{ns, err}
	}()
	r := <-made
	return r.ns, r.err
}

// serve does work in the host's namespace.
func (g *real) serve() {
	runtime.LockOSThread() // never unlocked
	if err := netns.Set(g.host); err != nil {
		panic(err)
	}
	for f := range g.work {
		f()
	}
}

// in does f in the host's namespace.
func (g *real) in(f func() error) (err error) {
	done := make(chan struct{})
	g.work <- func() { err = f(); close(done) }
	<-done
	return err
}

// furnish makes what others have.
func (g *real) furnish() error {
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/"+path, []byte("0"), 0); err != nil {
			return err
		}
	}
	lo, err := g.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := g.nl.LinkSetUp(lo); err != nil {
		return err
	}
	for _, l := range others() {
		if err := g.add(l); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	if err := os.WriteFile("/proc/sys/"+localnet(crowdedBridge), []byte("1"), 0); err != nil {
		return err
	}
	g.foreign, err = net.Listen("tcp4", fmt.Sprint("0.0.0.0:", foreignPort))
	return err
}

func (g *real) add(k klink) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = k.name, k.mtu
	attrs.HardwareAddr, _ = net.ParseMAC(k.mac)
	l := &netlink.Bridge{LinkAttrs: attrs}
	if err := g.nl.LinkAdd(l); err != nil {
		return err
	}
	if k.alias != "" {
		if err := g.nl.LinkSetAlias(l, k.alias); err != nil {
			return err
		}
	}
	for _, a := range k.addresses {
		if err := g.nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			return err
		}
	}
	if k.up {
		return g.nl.LinkSetUp(l)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (g *real) engine(string) string { return "" }
func (g *real) litter() bool         { return false }
func (g *real) full() bool           { return false }

// boot starts the daemon and waits until it serves, or has ended.
func (g *real) boot(func(before, after store.Records)) error {
	if err := g.in(g.start); err != nil {
		return err
	}
	ask := request{method: "EndpointOperInfo", network: "none", endpoint: "none"}
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		if _, err := g.try(ask); err == nil {
			return nil
		}
		if !g.lives() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.fault.kind == noFault {
				return fmt.Errorf("the daemon has ended:\n%s", g.output)
			}
			return nil
		}
	}
	return fmt.Errorf("the daemon does not serve:\n%s", g.output)
}

// start runs the daemon. It is called in the host's namespace, which the
// process inherits.
func (g *real) start() error {
	names, toNames, err := os.Pipe()
	if err != nil {
		return err
	}
	answers, toAnswers, err := os.Pipe()
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(g.dir, name) }
	cmd := exec.Command(g.binary, "daemon", "--config", "/dev/null", "--socket", at("plugin.sock"),
		"--admin-socket", at("admin.sock"), "--state-dir", at("state"), "--docker-socket", "", "--firewall", g.firewall)
	cmd.Env = append(os.Environ(), "STEP_HOOK_FDS=3,4", "TEST_OPEN_TABLE=1") // for tamper
	cmd.ExtraFiles = []*os.File{answers, toNames}
	output := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &unix.SysProcAttr{} // no Pdeathsig: it would come with the end of a thread
	if err := cmd.Start(); err != nil {
		return err
	}
	answers.Close()
	toNames.Close()
	exited := make(chan struct{})
	g.mu.Lock()
	g.cmd, g.exited, g.output = cmd, exited, output
	g.mu.Unlock()
	g.guarded = map[string]bool{}
	go g.answer(names, toAnswers)
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	return nil
}

// answer says to each step what is to become of it.
func (g *real) answer(names io.ReadCloser, answers io.WriteCloser) {
	defer names.Close()
	defer answers.Close()
	r := bufio.NewReader(names)
	for {
		if _, err := r.ReadString('\n'); err != nil {
			return
		}
		g.mu.Lock()
		g.steps++
		answer := "go\n"
		// After a step is before the next.
		if g.fault.kind == dieBefore && g.steps == g.fault.step || g.fault.kind == dieAfter && g.steps == g.fault.step+1 {
			answer = "die\n"
		}
		g.mu.Unlock()
		if _, err := io.WriteString(answers, answer); err != nil {
			return
		}
	}
}

func (g *real) arm(f fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps, g.fault = 0, f
}

func (g *real) taken() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.steps
}

func (g *real) lives() bool {
	g.mu.Lock()
	exited := g.exited
	g.mu.Unlock()
	if exited == nil {
		return false
	}
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

func (g *real) kill() {
	g.mu.Lock()
	cmd, exited := g.cmd, g.exited
	g.mu.Unlock()
	_ = cmd.Process.Kill()
	<-exited
}

// post sends a request. A daemon that doesn't answer has died, or it is an
// error.
func (g *real) post(r request) outcome {
	o, err := g.try(r)
	if err == nil {
		return o
	}
	g.mu.Lock()
	exited := g.exited
	g.mu.Unlock()
	select {
	case <-exited:
		return outcome{lost: true}
	case <-time.After(30 * time.Second):
		return outcome{refused: "no answer: " + err.Error()}
	}
}

func (g *real) try(r request) (outcome, error) {
	resp, err := g.client.Post("http://fairway"+r.path(), "", bytes.NewReader(r.body()))
	if err != nil {
		return outcome{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return outcome{}, err
	}
	return read(resp.StatusCode, body), nil
}

// quiesce can't be asked for from outside: check waits.
func (g *real) quiesce() error { return nil }

// repair starts the daemon anew: its timer is too slow for a test.
func (g *real) repair() error {
	g.mu.Lock()
	cmd, exited := g.cmd, g.exited
	g.mu.Unlock()
	_ = cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-exited:
	case <-time.After(40 * time.Second):
		g.kill()
		return fmt.Errorf("the daemon does not stop:\n%s", g.output)
	}
	return g.boot(nil)
}

func (g *real) restarts() bool { return true }

// records reads a copy of the store, since the daemon has it locked.
func (g *real) records() (r store.Records, err error) {
	g.seen = nil
	dir, err := os.MkdirTemp(g.dir, "copy")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	if err := copyUsed(filepath.Join(dir, "fairway.db"), filepath.Join(g.dir, "state", "fairway.db")); err != nil {
		return r, err
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return r, err
	}
	defer s.Close()
	g.own = s.Instance()
	return s.Records()
}

// copyUsed copies a store's file without the room that it keeps at the end, which
// is most of it, and zeros.
func copyUsed(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.Create(to)
	if err != nil {
		return err
	}
	defer copied.Close()
	part, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(source, part)
		if err == io.EOF || bytes.Equal(part[:n], zeros[:n]) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if _, err := copied.Write(part[:n]); err != nil {
			return err
		}
	}
}

func (g *real) memory() ([]store.Network, []store.Endpoint, bool) { return nil, nil, false }

func (g *real) sandbox(id string) string { return filepath.Join(g.dir, id) }

// makeSandbox makes a namespace whose path is a symbolic link to this process's
// handle: it ends with the handle.
func (g *real) makeSandbox(path string) {
	ns, err := newNamespace()
	if err == nil {
		err = os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(ns)), path)
	}
	if err != nil {
		panic(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.boxes[path] = ns
}

// killSandbox ends a namespace and waits until its links are gone.
func (g *real) killSandbox(path string) {
	g.mu.Lock()
	ns, ok := g.boxes[path]
	delete(g.boxes, path)
	g.mu.Unlock()
	if !ok {
		return
	}
	var hosts []int
	for _, l := range linksAt(ns) {
		if l.Type() == "veth" {
			hosts = append(hosts, l.Attrs().ParentIndex)
		}
	}
	_ = os.Remove(path)
	ns.Close()
	for _, index := range hosts {
		for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(2 * time.Millisecond) {
			if _, err := g.nl.LinkByIndex(index); err != nil {
				break
			}
		}
	}
}

func (g *real) alive(path string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.boxes[path]
	return ok
}

func linksAt(ns netns.NsHandle) []netlink.Link {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil
	}
	defer h.Close()
	links, _ := h.LinkList()
	return links
}

func (g *real) box(path string) (netns.NsHandle, *netlink.Handle, error) {
	g.mu.Lock()
	ns, ok := g.boxes[path]
	g.mu.Unlock()
	if !ok {
		return ns, nil, unix.ENOENT
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	return ns, h, err
}

func (g *real) moveIn(sandbox string, e *dep) bool {
	ns, h, err := g.box(sandbox)
	if err != nil {
		return false
	}
	defer h.Close()
	l, err := g.nl.LinkByName(e.src)
	if err != nil || g.nl.LinkSetNsFd(l, int(ns)) != nil {
		return false
	}
	if l, err = h.LinkByName(e.src); err != nil {
		return false
	}
	name := ""
	for i := 0; name == ""; i++ {
		if _, err := h.LinkByName(fmt.Sprint(e.prefix, i)); err != nil {
			name = fmt.Sprint(e.prefix, i)
		}
	}
	mac, _ := net.ParseMAC(e.mac)
	err = errors.Join(h.LinkSetDown(l), h.LinkSetName(l, name), h.LinkSetHardwareAddr(l, mac))
	for _, a := range []netip.Prefix{e.v4, e.v6} {
		if a.IsValid() {
			err = errors.Join(err, h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}))
		}
	}
	return errors.Join(err, h.LinkSetUp(l)) == nil
}

func (g *real) moveOut(sandbox string, e *dep) {
	_, h, err := g.box(sandbox)
	if err != nil {
		return
	}
	defer h.Close()
	links, _ := h.LinkList()
	for _, l := range links {
		if (l.Type() == "veth" || l.Type() == "macvlan") && l.Attrs().HardwareAddr.String() == e.mac {
			_ = errors.Join(h.LinkSetDown(l), h.LinkSetName(l, e.src), h.LinkSetNsFd(l, int(g.host)))
		}
	}
}

// A backend can compare the kernel with what is wanted.
type backend interface {
	Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error)
	Close() error
}

// check returns the backend that the daemon has, too. It is called in the host's
// namespace.
func (g *real) check() (b backend, err error) {
	if g.checker != nil {
		return g.checker, nil
	}
	if g.firewall == onIptables {
		b, err = iptables.New(context.Background(), nat.Options{Instance: g.own})
	} else {
		b, err = nftables.New(context.Background(), nftables.Options{Options: nat.Options{Instance: g.own}, Open: true})
	}
	if err == nil {
		g.checker = b
	}
	return b, err
}

// checkFirewall has the backend compare the kernel with what is wanted.
func (g *real) checkFirewall(want nat.State) error {
	return g.in(func() error {
		f, err := g.check()
		if err != nil {
			return err
		}
		repairs, err := f.Reconcile(context.Background(), want)
		if err != nil {
			return err
		}
		if len(repairs) > 0 {
			return finalError{fmt.Errorf("I5: %v", repairs)}
		}
		return g.checkGuard()
	})
}

// checkGuard: a host that forwards drops what isn't ours.
func (g *real) checkGuard() error {
	for program, path := range map[string]string{"iptables": "net/ipv4/ip_forward", "ip6tables": "net/ipv6/conf/all/forwarding"} {
		on, err := os.ReadFile("/proc/sys/" + path)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(on)) == "0" || g.guarded[program] {
			continue
		}
		out, err := exec.Command(program, "-S", "FORWARD").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, out)
		}
		if !strings.HasPrefix(string(out), "-P FORWARD DROP") {
			return fmt.Errorf("I5: the host forwards for others' sake: %s", out)
		}
		g.guarded[program] = true
	}
	return nil
}

// checkPorts: nobody else gets a port that is published.
func (g *real) checkPorts(want map[portKey]string) error {
	return g.in(func() error {
		for k, id := range want {
			at := netip.AddrPortFrom(k.ip, k.port).String()
			var c io.Closer
			var err error
			if k.proto == unix.IPPROTO_UDP {
				c, err = net.ListenPacket("udp", at)
			} else {
				c, err = net.Listen("tcp", at)
			}
			if err == nil {
				c.Close()
				return fmt.Errorf("I9: port %s of %s is free", k, id)
			}
			if !errors.Is(err, unix.EADDRINUSE) {
				return fmt.Errorf("I9: port %s of %s: %w", k, id, err)
			}
		}
		return nil
	})
}

func (g *real) tell(*world) {}
func (g *real) reboot()     {}

func (g *real) tamper(what, bridge, port string) {
	remove := func(name string) {
		if l, err := g.nl.LinkByName(name); err == nil {
			_ = g.nl.LinkDel(l)
		}
	}
	set := func(name string, do func(netlink.Link) error) {
		if l, err := g.nl.LinkByName(name); err == nil {
			_ = do(l)
		}
	}
	switch what {
	case "flush":
		_ = g.in(func() error {
			return errors.Join(exec.Command("nft", "flush", "table", "inet", "fairway").Run(),
				exec.Command("iptables", "-F").Run(), exec.Command("iptables", "-t", "nat", "-F").Run())
		})
	case "orphan":
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "fwvorphan"
		l := &netlink.Bridge{LinkAttrs: attrs}
		_ = g.nl.LinkAdd(l)
		_ = g.nl.LinkSetAlias(l, link.Mark(g.own, "nobody", ""))
	case "bridge":
		remove(bridge)
	case "down":
		set(bridge, g.nl.LinkSetDown)
	case "port":
		remove(port)
	case "master":
		set(port, g.nl.LinkSetNoMaster)
	case "mtu":
		set(port, func(l netlink.Link) error { return g.nl.LinkSetMTU(l, 576) })
	}
}

func (g *real) end() {
	if g.lives() {
		g.kill()
	}
	for path := range g.boxes {
		g.killSandbox(path)
	}
	if g.foreign != nil {
		g.foreign.Close()
	}
	if g.checker != nil {
		g.checker.Close()
	}
	close(g.work)
	g.nl.Close()
	g.host.Close()
	_ = os.RemoveAll(g.dir)
}
