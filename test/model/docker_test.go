package model

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"fairway/ipam"
)

// A docker plays dockerd: it calls in dockerd's order, rolls back as dockerd
// does, and moves links between namespaces.
type docker struct {
	w          *world
	name       string
	old        bool // makes a sandbox after Join
	networks   map[int]*dnet
	containers map[int]*dcon
	count      int // of all IDs so far
	gone       bool
	removed    [containerSlots]int           // how many containers of a slot were removed: see containerID
	locks      [containerSlots]chan struct{} // held while a container is changed
	names      [networkSlots]chan struct{}   // held while a network is made
}

// A dnet is a network that docker knows.
type dnet struct {
	slot  int
	id    string
	shape shape
	pools []*dpool
	lock  chan struct{} // held while it or an endpoint of it is made or removed
}

type dpool struct {
	id, space    string
	prefix       netip.Prefix
	gateway, aux netip.Addr
}

// A dcon is a running container.
type dcon struct {
	slot    int
	sandbox string
	ports   string
	eps     []*dep
	gateway *dep // the endpoint that has the default route, and the ports
}

// A dep is an endpoint that docker knows.
type dep struct {
	id, mac, src string
	net          *dnet
	v4, v6       netip.Prefix
	prefix       string // of the interface's name
}

func newDocker(w *world, name string) *docker {
	d := &docker{w: w, name: name, old: name == engineOld, networks: map[int]*dnet{}, containers: map[int]*dcon{}}
	for i := range d.locks {
		d.locks[i] = make(chan struct{}, 1)
	}
	for i := range d.names {
		d.names[i] = make(chan struct{}, 1)
	}
	return d
}

// holdContainer locks a container as dockerd does.
func (d *docker) holdContainer(slot int) (unlock func()) {
	d.locks[slot] <- struct{}{}
	return func() { <-d.locks[slot] }
}

func (d *docker) newID(kind string, slot int) string {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.count++
	return fmt.Sprintf("%s%s%dx%d", d.name, kind, slot, d.count)
}

func (d *docker) call(r request) outcome {
	r.engine = d.name
	return d.w.call(d, r)
}

func (d *docker) network(slot int) *dnet {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.networks[slot]
}

func (d *docker) container(slot int) *dcon {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.containers[slot]
}

// createNetwork is docker network create.
func (d *docker) createNetwork(slot int, s shape) {
	d.names[slot] <- struct{}{}
	defer func() { <-d.names[slot] }()
	if d.network(slot) != nil {
		return
	}
	n := &dnet{slot: slot, id: d.newID("n", slot), shape: s, lock: make(chan struct{}, 1)}
	ok := d.requestPool(n, s.v4, false) && d.requestPool(n, s.v6, true)
	if ok {
		r := request{method: "CreateNetwork", network: n.id, shape: s}
		for _, p := range n.pools {
			r.subnets = append(r.subnets, subnet{p.space, p.prefix, p.gateway, p.aux})
		}
		ok = d.call(r).ok()
	}
	if !ok {
		d.releasePools(n)
		return
	}
	d.w.mu.Lock()
	d.networks[slot] = n
	d.w.mu.Unlock()
}

// requestPool asks for a pool, its gateway and an auxiliary address.
func (d *docker) requestPool(n *dnet, want string, is6 bool) bool {
	if want == "" {
		return true
	}
	if n.shape.noIPAM {
		prefix := netip.MustParsePrefix(want)
		n.pools = append(n.pools, &dpool{space: "LocalDefault", prefix: prefix, gateway: prefix.Addr().Next()})
		return true
	}
	r := request{method: "RequestPool", space: ipam.SpaceLocal, pool: want, is6: is6}
	if want == "auto" {
		r.pool = ""
	}
	if !is6 {
		r.subPool = n.shape.ipRange
	}
	o := d.call(r)
	if !o.ok() {
		return false
	}
	p := &dpool{id: o.reply.PoolID, space: r.space, prefix: netip.MustParsePrefix(o.reply.Pool)}
	n.pools = append(n.pools, p)
	a := d.requestAddress(request{pool: p.id, gateway: true, holder: n.id})
	p.gateway = a.Addr()
	if a.IsValid() && n.shape.options["mtu"] != "" { // this shape's router is a container
		a = d.requestAddress(request{pool: p.id, address: nth(p.prefix, 5), holder: n.id})
		p.aux = a.Addr()
	}
	return a.IsValid()
}

// requestAddress returns the invalid prefix if the request failed.
func (d *docker) requestAddress(r request) netip.Prefix {
	r.method = "RequestAddress"
	o := d.call(r)
	if !o.ok() {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(o.reply.Address)
}

func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

func (d *docker) releasePools(n *dnet) {
	for _, p := range n.pools {
		if p.id == "" {
			continue
		}
		for _, a := range []netip.Addr{p.gateway, p.aux} {
			if a.IsValid() {
				d.call(request{method: "ReleaseAddress", pool: p.id, address: a, holder: n.id})
			}
		}
		d.call(request{method: "ReleasePool", pool: p.id})
	}
}

// removeNetwork is docker network rm: refused while a container is on it.
func (d *docker) removeNetwork(slot int) {
	n := d.network(slot)
	if n == nil || !n.hold() {
		return
	}
	defer n.unlock()
	d.w.mu.Lock()
	used := false
	for _, c := range d.containers {
		used = used || slices.ContainsFunc(c.eps, func(e *dep) bool { return e.net == n })
	}
	if !used {
		delete(d.networks, slot)
	}
	d.w.mu.Unlock()
	if used {
		return
	}
	d.releasePools(n)
	d.call(request{method: "DeleteNetwork", network: n.id})
}

func (n *dnet) hold() bool { n.lock <- struct{}{}; return true }
func (n *dnet) unlock()    { <-n.lock }

// run is docker run. A container that is there already gets another network,
// as by docker network connect.
func (d *docker) run(slot, network int, ports string, host int) {
	n := d.network(network)
	if n == nil {
		return
	}
	defer d.holdContainer(slot)()
	d.w.mu.Lock()
	c := d.containers[slot]
	isNew := c == nil
	if isNew {
		c = &dcon{slot: slot, ports: ports}
		d.containers[slot] = c
	}
	d.w.mu.Unlock()
	if isNew {
		c.sandbox = d.w.g.sandbox(d.newID("c", slot))
		if !d.old {
			d.w.g.makeSandbox(c.sandbox)
		}
	}
	if !slices.ContainsFunc(c.eps, func(e *dep) bool { return e.net == n }) {
		d.attach(c, n, host)
	}
	if len(c.eps) == 0 && isNew { // docker run failed
		d.forget(c)
	}
}

func (d *docker) forget(c *dcon) {
	d.w.g.killSandbox(c.sandbox)
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if d.containers[c.slot] == c {
		delete(d.containers, c.slot)
	}
}

// attach makes an endpoint and puts it into the sandbox.
func (d *docker) attach(c *dcon, n *dnet, host int) {
	e := &dep{id: d.newID("e", c.slot), net: n}
	if !d.createEndpoint(c, e, host) {
		return
	}
	o := d.call(request{method: "Join", network: n.id, endpoint: e.id, sandbox: c.sandbox, ports: c.ports})
	ok := o.ok() && o.reply.InterfaceName != nil
	if ok {
		e.src, e.prefix = o.reply.InterfaceName.SrcName, o.reply.InterfaceName.DstPrefix
		if !d.old {
			ok = d.w.g.moveIn(c.sandbox, e)
		}
	}
	if ok && c.gateway == nil && (o.reply.Gateway != "" || o.reply.GatewayIPv6 != "") {
		c.gateway = e
		if c.ports != "" {
			ok = d.call(request{method: "ProgramExternalConnectivity", network: n.id, endpoint: e.id, ports: c.ports}).ok()
		}
	}
	if ok && d.old {
		d.w.g.makeSandbox(c.sandbox)
		ok = d.w.g.moveIn(c.sandbox, e)
		if c.ports != "" {
			time.Sleep(untilEntered) // as runc takes
		}
	}
	if !ok {
		d.detach(c, e)
		return
	}
	d.w.mu.Lock()
	c.eps = append(c.eps, e)
	d.w.mu.Unlock()
}

// createEndpoint asks for addresses and makes the endpoint with them, holding
// the network's lock as dockerd does.
func (d *docker) createEndpoint(c *dcon, e *dep, host int) bool {
	e.net.hold()
	defer e.net.unlock()
	e.mac = d.newMAC()
	for _, p := range e.net.pools {
		var a netip.Prefix
		if p.id == "" {
			a = d.ownAddress(p)
		} else {
			r := request{pool: p.id, mac: e.mac, holder: e.id}
			if host > 0 {
				r.address = nth(p.prefix, host)
			}
			if !d.old {
				r.name = fmt.Sprint("c", c.slot)
			}
			a = d.requestAddress(r)
		}
		if !a.IsValid() {
			d.releaseAddresses(e)
			return false
		}
		if a.Addr().Is4() {
			e.v4 = a
		} else {
			e.v6 = a
		}
	}
	r := request{method: "CreateEndpoint", network: e.net.id, endpoint: e.id, v4: e.v4, v6: e.v6, mac: e.mac}
	if e.net.shape.noIPAM {
		r.mac = "" // Docker's own IPAM asks for none
	}
	o := d.call(r)
	if o.ok() && o.reply.Interface != nil && o.reply.Interface.MacAddress != "" {
		e.mac = o.reply.Interface.MacAddress
	}
	if !o.ok() {
		d.releaseAddresses(e)
	}
	return o.ok()
}

func (d *docker) newMAC() string {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.macs++
	return fmt.Sprintf("02:00:00:00:%02x:%02x", d.w.macs>>8, d.w.macs&255)
}

// ownAddress is what Docker's own IPAM gives out.
func (d *docker) ownAddress(p *dpool) netip.Prefix {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for a := p.gateway.Next(); p.prefix.Contains(a); a = a.Next() {
		if !d.w.own[a] {
			d.w.own[a] = true
			return netip.PrefixFrom(a, p.prefix.Bits())
		}
	}
	return netip.Prefix{}
}

func (d *docker) releaseAddresses(e *dep) {
	for _, p := range e.net.pools {
		for _, a := range []netip.Prefix{e.v4, e.v6} {
			switch {
			case !a.IsValid() || !p.prefix.Contains(a.Addr()):
			case p.id == "":
				d.w.mu.Lock()
				delete(d.w.own, a.Addr())
				d.w.mu.Unlock()
			default:
				d.call(request{method: "ReleaseAddress", pool: p.id, address: a.Addr(), holder: e.id})
			}
		}
	}
}

// detach takes an endpoint out of the sandbox and removes it.
func (d *docker) detach(c *dcon, e *dep) {
	if c.gateway == e {
		if c.ports != "" {
			d.call(request{method: "RevokeExternalConnectivity", network: e.net.id, endpoint: e.id})
		}
		c.gateway = nil
	}
	d.call(request{method: "Leave", network: e.net.id, endpoint: e.id})
	if !d.gone {
		d.w.g.moveOut(c.sandbox, e)
	}
	d.call(request{method: "DeleteEndpoint", network: e.net.id, endpoint: e.id})
	d.releaseAddresses(e)
	d.w.mu.Lock()
	c.eps = slices.DeleteFunc(c.eps, func(x *dep) bool { return x == e })
	d.w.mu.Unlock()
}

// disconnect is docker network disconnect. Another network takes over the
// default route, and the ports.
func (d *docker) disconnect(slot, network int) {
	defer d.holdContainer(slot)()
	c, n := d.container(slot), d.network(network)
	if c == nil || n == nil {
		return
	}
	i := slices.IndexFunc(c.eps, func(e *dep) bool { return e.net == n })
	if i < 0 || len(c.eps) == 1 {
		return
	}
	d.detach(c, c.eps[i])
	for _, e := range c.eps {
		if c.gateway == nil && !e.net.shape.internal {
			c.gateway = e
			if c.ports != "" {
				d.call(request{method: "ProgramExternalConnectivity", network: e.net.id, endpoint: e.id, ports: c.ports})
			}
		}
	}
}

// stop is docker stop and rm; killed: its sandbox is gone before dockerd acts.
func (d *docker) stop(slot int, killed bool) {
	defer d.holdContainer(slot)()
	c := d.container(slot)
	if c == nil {
		return
	}
	if killed {
		d.w.g.killSandbox(c.sandbox)
	}
	for _, e := range slices.Clone(c.eps) {
		d.detach(c, e)
	}
	d.forget(c)
}

// crash is the end of dockerd and of its containers, without a call. Networks
// are in its own store.
func (d *docker) crash() {
	d.w.mu.Lock()
	containers := d.containers
	d.containers = map[int]*dcon{}
	d.w.mu.Unlock()
	for _, c := range containers {
		d.w.g.killSandbox(c.sandbox)
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.model.orphan(d.w.dockers)
}

// knows reports what docker knows of: networks, endpoints, and addresses in
// pools.
func (d *docker) knows() (networks, endpoints map[string]bool, pools map[string]bool) {
	networks, endpoints, pools = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, n := range d.networks {
		networks[n.id] = true
		for _, p := range n.pools {
			pools[p.id] = true
		}
	}
	for _, c := range d.containers {
		for _, e := range c.eps {
			endpoints[e.id] = true
		}
	}
	return networks, endpoints, pools
}
