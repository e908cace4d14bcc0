//go:build kernel

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/ipam"
	"fairway/store"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// An etcd is a real one, on the loopback.
type etcd struct {
	name   string
	dir    string
	url    string
	peer   string
	others string // the members of a cluster, NAME=PEER; "" for this one alone
	paused bool
	cmd    *exec.Cmd
}

func startEtcd(t testing.TB) *etcd {
	t.Helper()
	e := &etcd{name: "e", dir: filepath.Join(t.TempDir(), "etcd"), url: "http://" + freeAddress(t), peer: "http://" + freeAddress(t)}
	e.start(t)
	t.Cleanup(func() { e.kill() })
	return e
}

// command is how it is run, as often as it is.
func (e *etcd) command() *exec.Cmd {
	cmd := exec.Command("etcd", "--name", e.name, "--data-dir", e.dir, "--listen-client-urls", e.url, "--advertise-client-urls", e.url,
		"--listen-peer-urls", e.peer, "--initial-advertise-peer-urls", e.peer, "--initial-cluster", cmp.Or(e.others, e.name+"="+e.peer),
		"--log-level", "fatal", "--unsafe-no-fsync")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	if out, err := exec.Command("etcd", "--help").CombinedOutput(); err == nil && !contains(out, "unsafe-no-fsync") {
		cmd.Args = cmd.Args[:len(cmd.Args)-1]
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (e *etcd) start(t testing.TB) {
	t.Helper()
	e.cmd = e.command()
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := e.client(t)
	defer client.Close()
	eventually(t, "etcd answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Get(ctx, "x")
		return err == nil
	})
}

func contains(text []byte, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if string(text[i:i+len(word)]) == word {
			return true
		}
	}
	return false
}

func (e *etcd) kill() {
	if e.cmd != nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		e.cmd = nil
	}
}

func (e *etcd) client(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := Dial(DialOptions{Endpoints: []string{e.url}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freeAddress returns an address and port of the loopback that nobody else has. A
// port on 127.0.0.1 could be a client's by the time that a server comes back to it.
func freeAddress(t testing.TB) string {
	t.Helper()
	var err error
	for range 10 {
		at := fmt.Sprintf("127.%d.%d.%d:2379", 1+rand.N(254), rand.N(255), 1+rand.N(254))
		var l net.Listener
		if l, err = net.Listen("tcp", at); err == nil {
			l.Close()
			return at
		}
	}
	t.Fatal(err)
	return ""
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// A wire is the way of one host to etcd, which can be cut.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]bool
}

func newWire(t testing.TB, e *etcd) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: e.url[len("http://"):], open: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(conn)
		}
	}()
	t.Cleanup(func() { l.Close(); w.setCut(true) })
	return w
}

func (w *wire) carry(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer b.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.open[a], w.open[b] = true, true
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() { _, _ = io.Copy(p[0], p[1]); done <- struct{}{} }()
	}
	<-done
	a.Close()
	b.Close()
	<-done
	w.mu.Lock()
	delete(w.open, a)
	delete(w.open, b)
	w.mu.Unlock()
}

func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.open {
		if cut {
			c.Close()
		}
	}
}

// A memory is a store that survives its host.
type memory struct {
	mu      sync.Mutex
	records store.Records
	closed  bool
}

func (m *memory) Begin(changes ...store.Change) <-chan error {
	done := make(chan error, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		done <- store.ErrClosed
		return done
	}
	m.records.Apply(changes...)
	done <- nil
	return done
}

// close makes all that follows come to nothing, or lets it come to something.
func (m *memory) close(closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = closed
}

// A sim is a host in this process: cluster and allocator are the real ones.
type sim struct {
	*Cluster
	name     string
	url      string
	boot     string
	instance string
	underlay string                // advertised; "" for 192.0.2.1
	patience time.Duration         // 0 for 10 s
	heard    func(e *logrus.Entry) // of each line of its log; may be nil
	disk     *memory
	pools    *ipam.Allocator
	plane    *planeLog
	cancel   context.CancelFunc
	ended    chan error

	mu    sync.Mutex
	local map[string][]Endpoint
}

// planeLog is what the data plane of a host would hold.
type planeLog struct {
	mu  sync.Mutex
	has map[string]map[string]Remote // by segment and HOST/ID
}

func (p *planeLog) Replace(segment string, all []Remote, _ int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.has[segment] = map[string]Remote{}
	for _, r := range all {
		p.has[segment][r.Host+"/"+r.ID] = r
	}
}

func (p *planeLog) Change(segment string, put, gone []Remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := at(p.has, segment)
	for _, r := range put {
		if of[r.Host+"/"+r.ID].Revision <= r.Revision {
			of[r.Host+"/"+r.ID] = r
		}
	}
	for _, r := range gone {
		if of[r.Host+"/"+r.ID].Revision <= r.Revision {
			delete(of, r.Host+"/"+r.ID)
		}
	}
}

func (p *planeLog) ids(segment string) (out map[string]Remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out = map[string]Remote{}
	for k, r := range p.has[segment] {
		out[k] = r
	}
	return out
}

func newSim(t testing.TB, name, url string) *sim {
	t.Helper()
	s := &sim{name: name, url: url, boot: "boot", disk: &memory{records: store.NewRecords()}, local: map[string][]Endpoint{}}
	s.run(t)
	return s
}

// run starts the host, with what its disk holds.
func (s *sim) run(t testing.TB) {
	t.Helper()
	records := s.disk.copy().records
	s.plane = &planeLog{has: map[string]map[string]Remote{}}
	log := logTo(t, s.name)
	if s.heard != nil {
		log.AddHook(hook(s.heard))
	}
	var err error
	s.Cluster, err = New(Options{
		Dial: func() (*clientv3.Client, error) {
			return Dial(DialOptions{Endpoints: strings.Split(s.url, ",")})
		},
		Prefix: "/fairway/test/", Boot: s.boot, Store: s.disk, Addresses: s, Plane: s.plane,
		Self: Host{Name: s.name, Instance: cmp.Or(s.instance, "instance-"+s.name), Advertise: netip.MustParseAddr(cmp.Or(s.underlay, "192.0.2.1")), MTU: 1500},
		Endpoints: func() map[string][]Endpoint {
			s.mu.Lock()
			defer s.mu.Unlock()
			out := map[string][]Endpoint{}
			for k, v := range s.local {
				out[k] = append([]Endpoint(nil), v...)
			}
			return out
		},
		TTL: 2 * time.Second, Patience: cmp.Or(s.patience, 10*time.Second), Log: log,
	}, records)
	if err != nil {
		t.Fatal(err)
	}
	s.pools, err = ipam.New(ipam.Options{Store: s.disk, Segments: s.Cluster, Instance: s.name, ReuseDelay: -1}, records)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.ended = cancel, make(chan error, 1)
	c, ended := s.Cluster, s.ended
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(s.stop)
}

// stop ends the host as a crash does, but for what it was about to say.
func (s *sim) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.ended
	s.cancel = nil
}

func (s *sim) SetShare(segment string, subnet netip.Prefix, blocks []netip.Prefix, claims, foreign []netip.Addr) {
	s.pools.SetShare(segment, subnet, blocks, claims, foreign)
}

func (s *sim) Used(segment string, subnet, part netip.Prefix) bool {
	return s.pools.Used(segment, subnet, part)
}

func (s *sim) Spare(segment string, subnet netip.Prefix, most int) int {
	return s.pools.Spare(segment, subnet, most)
}

func (s *sim) Segments() []string { return s.pools.Segments() }

func (s *sim) ready(t testing.TB) {
	t.Helper()
	eventually(t, s.name+" takes part", func() bool {
		s.Cluster.mu.Lock()
		defer s.Cluster.mu.Unlock()
		return s.synced && s.Cluster.joined
	})
}

// pool requests the segment's pool and its gateway, as docker network create does.
func (s *sim) pool(segment, subnet, gateway string) (string, netip.Prefix, error) {
	p, err := s.pools.RequestPool(context.Background(), ipam.PoolSpec{
		Engine: s.name, Space: ipam.SpaceLocal, Pool: subnet, Options: map[string]string{"segment": segment},
	})
	if err != nil {
		return "", netip.Prefix{}, err
	}
	spec := ipam.AddressSpec{Engine: s.name, Pool: p.ID, Gateway: true}
	if gateway != "" {
		spec.Address = netip.MustParseAddr(gateway)
	}
	g, err := s.pools.RequestAddress(context.Background(), spec)
	if err != nil {
		_ = s.pools.ReleasePool(context.Background(), p.ID)
	}
	return p.ID, g, err
}

func (s *sim) mustPool(t testing.TB, segment, subnet string) string {
	t.Helper()
	id, _, err := s.pool(segment, subnet, "")
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return id
}

func (s *sim) address(pool, want string) (netip.Addr, error) {
	spec := ipam.AddressSpec{Engine: s.name, Pool: pool}
	if want != "" {
		spec.Address = netip.MustParseAddr(want)
	}
	p, err := s.pools.RequestAddress(context.Background(), spec)
	return p.Addr(), err
}

func (s *sim) mustAddress(t testing.TB, pool, want string) netip.Addr {
	t.Helper()
	ip, err := s.address(pool, want)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return ip
}

func (s *sim) attach(segment, id string, ip netip.Addr) {
	s.mu.Lock()
	s.local[segment] = append(s.local[segment], Endpoint{ID: id, MAC: fmt.Sprintf("02:00:00:00:00:%02x", ip.As4()[3]), IPv4: ip})
	s.mu.Unlock()
	s.Changed()
}

func (s *sim) detach(segment, id string) {
	s.mu.Lock()
	var left []Endpoint
	for _, e := range s.local[segment] {
		if e.ID != id {
			left = append(left, e)
		}
	}
	s.local[segment] = left
	s.mu.Unlock()
	s.Changed()
}

func emptyRecords() store.Records { return store.NewRecords() }

// pause stops etcd as it stands, or lets it go on.
func pause(t testing.TB, e *etcd, stop bool) {
	t.Helper()
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	if err := e.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

func (m *memory) copy() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &memory{records: store.NewRecords()}
	maps.Copy(out.records.Cluster, m.records.Cluster)
	maps.Copy(out.records.Pools, m.records.Pools)
	maps.Copy(out.records.Addresses, m.records.Addresses)
	return out
}

// logTo logs to a test; what comes after its end is dropped.
func logTo(t testing.TB, name string) *logrus.Logger {
	l := logrus.New()
	l.SetLevel(logrus.DebugLevel)
	l.SetOutput(writer(func(p []byte) (int, error) {
		if t.Context().Err() == nil {
			t.Logf("%s: %s", name, p)
		}
		return len(p), nil
	}))
	return l
}

// A hook is called with each line of a log.
type hook func(*logrus.Entry)

func (hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(e *logrus.Entry) error { h(e); return nil }

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
