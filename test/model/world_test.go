package model

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fairway/driver"
	"fairway/ipam"
)

// foreignPort is a port that a process of the host has.
const foreignPort = 9999

// grace is how long what seems to be stale is left alone.
const grace = 20 * time.Second

// A world is a machine with a daemon, the engines that use it, and the model
// that says what must be.
type world struct {
	m       *machine
	dockers map[string]*docker
	foreign []string // what isn't ours in the kernel

	mu      sync.Mutex // guards the following; never held while time passes
	model   *model
	own     map[netip.Addr]bool // what Docker's own IPAM gave out
	macs    int
	history []request
	err     error // the first thing that was found wrong

	reviving chan struct{} // held while a dead daemon is replaced
	d        *daemon
	again    fault // strikes in the next recovery
	recovery int   // steps of the last recovery
	took     int   // steps of the last line, or of the recovery from it
	lives    int

	trouble trouble
	calls   int // in this step of the sequence
}

// A trouble is what happens to the protocol during one line of a sequence.
type trouble struct {
	lose int  // the reply of this call is lost
	cut  int  // dockerd dies after this call
	dup  bool // each call that may be repeated is
}

func newWorld(seed uint64) *world {
	w := &world{
		m: newMachine(seed), own: map[netip.Addr]bool{},
		dockers: map[string]*docker{}, reviving: make(chan struct{}, 1),
	}
	w.model = newModel(&w.mu)
	for _, name := range engines {
		w.dockers[name] = newDocker(w, name)
	}
	w.model.alive = func(path string) bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.kernel.sandboxes[path]
	}
	k := w.m.kernel
	for _, l := range []*klink{
		{place: place{"", "eth0"}, kind: "dummy", mtu: uplinkMTU, up: true, addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}},
		{place: place{"", "docker0"}, kind: "bridge", mtu: 1500, up: true, addresses: []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16")}},
		{place: place{"", foreignBridge}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:01", up: true, addresses: []netip.Prefix{netip.MustParsePrefix("10.3.0.1/24")}},
		{place: place{"", crowdedBridge}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:02", up: true, crowd: 1021},
		{place: place{"", "fwb-other"}, kind: "bridge", mtu: 1500, alias: "fairway:99998888:somebody"},
	} {
		_ = k.add(l)
	}
	w.m.ports[portKey{6, netip.IPv4Unspecified(), foreignPort}] = "sshd"
	w.foreign = w.foreignLinks()
	w.revive()
	return w
}

// fail notes that something is wrong. Only the first thing counts.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// call sends a request for dockerd, tells the model, and returns what dockerd
// gets to know.
func (w *world) call(d *docker, r request) outcome {
	w.mu.Lock()
	w.calls++
	n, t := w.calls, w.trouble
	if t.cut > 0 && n > t.cut {
		d.gone = true
		w.mu.Unlock()
		return outcome{lost: true}
	}
	w.mu.Unlock()
	o := w.send(r, true)
	if n == t.cut {
		w.mu.Lock()
		d.gone = true
		w.mu.Unlock()
	}
	if t.dup && repeatable(r) {
		again := w.send(r, true)
		if o.ok() && (again.refused != "" && !w.model.excused || again.ok() && text(again.reply) != text(o.reply)) {
			w.fail(fmt.Errorf("%s: repeated: %+v, want %+v", r, again, o))
		}
	}
	if n == t.lose {
		return outcome{lost: true}
	}
	return o
}

// repeatable reports whether the same request must get the same answer at once.
func repeatable(r request) bool { return r.method != "RequestPool" && r.method != "RequestAddress" }

// send posts a request and compares what comes of it with the model.
func (w *world) send(r request, docker bool) outcome {
	w.revive()
	w.mu.Lock()
	d := w.d
	w.mu.Unlock()
	o := d.post(r)
	w.revive()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.trouble.lose; docker && n > 0 && n == w.calls {
		docker = false // dockerd hears nothing of it
	}
	w.history = append(w.history, r)
	if err := w.model.observe(r, o, docker); err != nil && w.err == nil {
		w.err = err
	}
	return o
}

// revive starts a new daemon where the last one has died.
func (w *world) revive() {
	w.reviving <- struct{}{}
	defer func() { <-w.reviving }()
	for {
		w.mu.Lock()
		d := w.d
		w.mu.Unlock()
		if d != nil {
			if d.lives() {
				return
			}
			d.bury()
			w.mu.Lock()
			w.model.relive()
			w.mu.Unlock()
		}
		w.m.arm(w.again)
		w.again = fault{}
		fresh, err := boot(w.m, w.model.torn)
		if fresh == nil {
			panic(fmt.Sprintf("the daemon does not start: %v", err))
		}
		if err != nil && fresh.lives() {
			w.fail(fmt.Errorf("restore: %w", err))
		}
		w.mu.Lock()
		w.d = fresh
		w.lives++
		w.recovery = w.m.taken()
		w.mu.Unlock()
	}
}

// settle lets everything that was answered be done, and compares the world
// with the model. Repair: something was broken that Run will mend.
func (w *world) settle(repair bool) error {
	w.m.arm(fault{})
	w.revive()
	if err := w.d.quiesce(); err != nil {
		return fmt.Errorf("quiesce: %w", err)
	}
	if repair {
		if _, err := w.d.repair(); errors.Is(err, unix.EXFULL) {
			w.m.full = true
		} else if err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if w.err != nil {
		return w.err
	}
	return w.check()
}

// end stops the daemon, and waits until nothing moves any more.
func (w *world) end() {
	w.d.bury()
	time.Sleep(time.Minute)
}

// makeSandbox makes a network namespace.
func (w *world) makeSandbox(path string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.kernel.sandboxes[path] = true
}

func (w *world) killSandbox(path string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.kernel.dieSandbox(path)
}

// moveIn puts an endpoint's link into a sandbox, as dockerd does after Join.
func (w *world) moveIn(sandbox string, e *dep) bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	k := w.m.kernel
	l := k.host(e.src)
	if l == nil || !k.sandboxes[sandbox] {
		return false
	}
	if err := k.move(l, place{sandbox, k.freeIndex(sandbox, e.prefix)}); err != nil {
		return false
	}
	l.up, l.mac = true, e.mac
	l.addresses = nil
	for _, a := range []netip.Prefix{e.v4, e.v6} {
		if a.IsValid() {
			l.addresses = append(l.addresses, a)
		}
	}
	return true
}

// moveOut puts it back under the name that it had, as dockerd does after Leave.
func (w *world) moveOut(sandbox string, e *dep) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	k := w.m.kernel
	for _, l := range k.sorted() {
		if l.ns == sandbox && l.kind == "veth" && l.mac == e.mac {
			l.up, l.addresses = false, nil
			_ = k.move(l, place{"", e.src})
		}
	}
}

// tell lets the engines tell what they know, as the background work that asks
// them does.
func (w *world) tell() {
	w.revive()
	ctx := context.Background()
	for _, name := range engines {
		d := w.dockers[name]
		known := driver.Known{Engine: name, Networks: map[string]driver.KnownNetwork{}}
		pools := ipam.Known{Engine: name}
		for _, n := range d.networks {
			k := driver.KnownNetwork{Name: fmt.Sprint("net", n.slot), Containers: map[string]driver.Container{}}
			for _, c := range d.containers {
				for _, e := range c.eps {
					if e.net == n {
						k.Containers[e.id] = driver.Container{ID: fmt.Sprint("id", c.slot), Name: fmt.Sprint("c", c.slot)}
					}
				}
			}
			known.Networks[n.id] = k
			for _, p := range n.pools {
				if p.id != "" {
					pools.Pools = append(pools.Pools, ipam.KnownPool{Subnet: p.prefix, Addresses: w.addressesIn(d, p)})
				}
			}
		}
		w.d.driver.Observe(ctx, known)
		if _, err := w.d.ipam.Collect(ctx, pools); err != nil && w.d.lives() && !w.model.excused {
			w.fail(err)
		}
	}
	if _, err := w.d.ipam.Reclaim(ctx); err != nil && w.d.lives() && !w.model.excused {
		w.fail(err)
	}
}

// addressesIn returns the addresses of a pool that are in use: what docker
// knows, and what endpoints have.
func (w *world) addressesIn(d *docker, p *dpool) []netip.Addr {
	out := []netip.Addr{p.gateway}
	if p.aux.IsValid() {
		out = append(out, p.aux)
	}
	add := func(prefixes ...netip.Prefix) {
		for _, a := range prefixes {
			if a.IsValid() && p.prefix.Contains(a.Addr()) && !slices.Contains(out, a.Addr()) {
				out = append(out, a.Addr())
			}
		}
	}
	for _, c := range d.containers {
		for _, e := range c.eps {
			add(e.v4, e.v6)
		}
	}
	for _, e := range w.d.driver.Endpoints() {
		if e.Engine == d.name {
			add(e.IPv4, e.IPv6)
		}
	}
	return out
}

// mayBeStale notes that time has passed in which what seems stale may have been
// removed.
func (w *world) mayBeStale() {
	known := map[string]bool{}
	for _, d := range w.dockers {
		networks, endpoints, pools := d.knows()
		for _, ids := range []map[string]bool{networks, endpoints, pools} {
			for id := range ids {
				known[id] = true
			}
		}
	}
	maybe(w.model.networks, known)
	maybe(w.model.endpoints, known)
	maybe(w.model.pools, known)
}

func maybe[T comparable](fates map[string]*fate[T], known map[string]bool) {
	for id, f := range fates {
		if !known[id] && !f.absent() {
			f.add(nil)
		}
	}
}
