package model

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/driver"
	"fairway/ipam"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A memory is a ground of memory.
type memory struct {
	*machine
	d       *daemon
	crammed bool // an endpoint on record has found no port on the crowded bridge
	anew    bool // repair starts the daemon anew, as on the real ground
}

func newMemory(seed uint64) *memory {
	g := &memory{machine: newMachine(seed)}
	g.kernel.addOthers()
	g.machine.ports[portKey{6, netip.IPv4Unspecified(), foreignPort}] = "sshd"
	return g
}

// others are the links of others on a host.
func others() []klink {
	a := netip.MustParsePrefix
	return []klink{
		{place: place{"", "eth0"}, kind: "bridge", mtu: uplinkMTU, mac: "02:aa:00:00:00:09", up: true, ipv6: true, addresses: []netip.Prefix{a("192.0.2.9/24")}},
		{place: place{"", "docker0"}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:03", up: true, ipv6: true, addresses: []netip.Prefix{a("172.17.0.1/16")}},
		{place: place{"", foreignBridge}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:01", up: true, ipv6: true, addresses: []netip.Prefix{a("10.3.0.1/24")}},
		{place: place{"", crowdedBridge}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:02", up: true, ipv6: true, crowd: 1021},
		{place: place{"", "fwb-other"}, kind: "bridge", mtu: 1500, mac: "02:aa:00:00:00:04", ipv6: true, alias: "fairway:99998888:somebody"},
	}
}

// addOthers makes what others have: see asItWas.
func (k *kernel) addOthers() {
	for _, l := range others() {
		_ = k.add(&l)
	}
	k.sysctls[localnet(crowdedBridge)] = "1"
}

func (g *memory) engine(name string) string { return name }
func (g *memory) litter() bool              { return g.machine.litter }
func (g *memory) full() bool                { return g.crammed }

func (g *memory) boot(torn func(before, after store.Records)) error {
	if g.d != nil {
		g.d.bury()
	}
	d, err := boot(g.machine, torn)
	if d == nil {
		return err
	}
	g.mu.Lock()
	g.d = d
	g.mu.Unlock()
	if !d.lives() {
		return nil
	}
	return err
}

func (g *memory) daemon() *daemon {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.d
}

func (g *memory) lives() bool            { d := g.daemon(); return d != nil && d.lives() }
func (g *memory) kill()                  { g.daemon().kill() }
func (g *memory) post(r request) outcome { return g.daemon().post(r) }
func (g *memory) quiesce() error         { return g.daemon().quiesce() }
func (g *memory) end()                   { g.daemon().bury() }

func (g *memory) restarts() bool { return g.anew }

func (g *memory) repair() error {
	if g.anew {
		g.kill()
		return g.boot(func(_, _ store.Records) {}) // no commit was under way
	}
	err := g.daemon().repair()
	if errors.Is(err, unix.EXFULL) {
		g.crammed = true
		return nil
	}
	return err
}

func (g *memory) records() (store.Records, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.disk.records(), nil
}

func (g *memory) memory() ([]store.Network, []store.Endpoint, bool) {
	d := g.daemon().driver
	return d.Networks(), d.Endpoints(), true
}

func (g *memory) sandbox(id string) string { return "/var/run/docker/netns/" + id }

func (g *memory) makeSandbox(path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kernel.sandboxes[path] = true
}

func (g *memory) killSandbox(path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kernel.dieSandbox(path)
}

func (g *memory) alive(path string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kernel.sandboxes[path]
}

func (g *memory) moveIn(sandbox string, e *dep) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.kernel
	l := k.host(e.src)
	if l == nil || !k.sandboxes[sandbox] {
		return false
	}
	if err := k.move(l, place{sandbox, k.freeIndex(sandbox, e.prefix)}); err != nil {
		return false
	}
	l.up, l.mac, l.addresses = true, e.mac, nil
	for _, a := range []netip.Prefix{e.v4, e.v6} {
		if a.IsValid() {
			l.addresses = append(l.addresses, a)
		}
	}
	return true
}

// moveOut finds the link by its MAC address, and gives it its old name back.
func (g *memory) moveOut(sandbox string, e *dep) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.kernel.sorted() {
		if l.ns == sandbox && (l.kind == "veth" || l.kind == "macvlan") && l.mac == e.mac {
			l.up, l.addresses = false, nil
			_ = g.kernel.move(l, place{"", e.src})
		}
	}
}

func (g *memory) lines() (ours, others []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kernel.lines()
}

// lines are what the kernel has, of ours and of others.
func (k *kernel) lines() (ours, others []string) {
	ours = k.dump((*klink).ours)
	for _, line := range k.dump(func(l *klink) bool { return l.ns == "" && !l.ours() }) {
		ours, others = sortOut(line, ours, others)
	}
	return ours, others
}

// sortOut puts a line about a link of others where it belongs: what we put on
// others' bridges is ours.
func sortOut(line string, ours, others []string) (o, t []string) {
	switch {
	case !onOthers(line):
		return ours, append(others, line)
	case asItWas(line, foreignBridge), asItWas(line, crowdedBridge):
		return ours, others
	}
	return append(ours, line), others
}

func (g *memory) inner(hostLink string) (klink, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.kernel.host(hostLink)
	if l == nil || l.peer == nil {
		return klink{}, false
	}
	return *l.peer, true
}

func (g *memory) hasVLANs() bool { return true }

func (g *memory) away(m link.Macvlan) (klink, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.kernel.inside(m)
	if l == nil {
		return klink{}, false
	}
	return *l, true
}

func (g *memory) checkFirewall(want nat.State) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, on := range g.kernel.forwarding {
		if on && !g.rules.policy[i] {
			return fmt.Errorf("I5: the host forwards %s for others' sake", family(i == 1))
		}
	}
	for _, v6 := range []bool{false, true} {
		if d := difference(g.rules.entries[index(v6)], render(want, v6)); len(d) > 0 {
			return fmt.Errorf("I5: %s firewall: %s", family(v6), strings.Join(d, "; "))
		}
	}
	return nil
}

func (g *memory) checkPorts(want map[portKey]string) error {
	var lines []string
	for k, id := range want {
		lines = append(lines, id+" "+k.String())
	}
	slices.Sort(lines)
	d := g.daemon()
	g.mu.Lock()
	defer g.mu.Unlock()
	if have := d.table.held(); !slices.Equal(have, lines) {
		return fmt.Errorf("I9: ports held are\n\t%s\nwant\n\t%s", strings.Join(have, "\n\t"), strings.Join(lines, "\n\t"))
	}
	return nil
}

// tell lets the engines tell what they know, as the background work that asks
// them does.
func (g *memory) tell(w *world) {
	ctx := context.Background()
	d := g.daemon()
	noted := func(err error) {
		if err != nil && d.lives() && !w.model.excused {
			w.fail(err)
		}
	}
	for _, name := range engines {
		known, pools := w.known(w.dockers[name], d.driver.Endpoints())
		d.driver.Observe(ctx, known)
		_, err := d.ipam.Collect(ctx, pools)
		noted(err)
	}
	_, err := d.ipam.Reclaim(ctx)
	noted(err)
}

// known is what an engine knows, for the driver and for the allocator.
func (w *world) known(d *docker, endpoints []store.Endpoint) (driver.Known, ipam.Known) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := driver.Known{Engine: d.name, Networks: map[string]driver.KnownNetwork{}, Containers: d.there(w)}
	pools := ipam.Known{Engine: d.name}
	for _, n := range d.networks {
		known.Networks[n.id] = driver.KnownNetwork{Name: fmt.Sprint("net", n.slot), Containers: d.containersOn(n)}
		for _, p := range n.pools {
			if p.id != "" {
				pools.Pools = append(pools.Pools, ipam.KnownPool{Subnet: p.prefix, Addresses: d.addressesIn(p, endpoints)})
			}
		}
	}
	return known, pools
}

func (d *docker) containersOn(n *dnet) map[string]driver.Container {
	out := map[string]driver.Container{}
	for _, c := range d.containers {
		for _, e := range c.eps {
			if e.net == n {
				out[e.id] = driver.Container{ID: d.containerID(c.slot), Name: fmt.Sprint("c", c.slot)}
			}
		}
	}
	return out
}

// addressesIn returns the addresses of a pool that are in use: what docker
// knows, and what endpoints have.
func (d *docker) addressesIn(p *dpool, endpoints []store.Endpoint) []netip.Addr {
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
	for _, e := range endpoints {
		if e.Engine == d.name {
			add(e.IPv4, e.IPv6)
		}
	}
	return out
}

func (g *memory) tamper(what, bridge, port string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.kernel
	b, p := k.host(bridge), k.host(port)
	switch {
	case what == "flush":
		g.rules.entries = newRules().entries
	case what == "orphan":
		_ = k.add(&klink{place: place{"", "fwvorphan"}, kind: "bridge", alias: link.Mark(instance, "nobody", "")})
	case what == "bridge" && b != nil:
		k.remove(b)
	case what == "down" && b != nil:
		b.up, b.mtu, b.addresses = false, 68, nil
	case what == "localnet" && b != nil && b.kind == "bridge":
		k.sysctls[localnet(b.name)] = "0"
	case what == "port" && p != nil:
		k.remove(p)
	case what == "master" && p != nil:
		p.master, p.fdb, p.isolated = "", "", false
	case what == "mtu" && p != nil:
		p.mtu = 576
	case what == "neighbours":
		clear(k.neighbours)
	}
}

func (g *memory) reboot() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kernel, g.rules = newKernel(), newRules()
	g.kernel.addOthers()
}
