package model

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"fairway/store"
)

// A model is what fairway must have on record after the replies that it gave.
// Where a reply was lost or refused halfway, several things may be on record;
// which one it is shows at the next look.
type model struct {
	mu        *sync.Mutex // the world's
	networks  map[string]*fate[netFact]
	endpoints map[string]*fate[epFact]
	pools     map[string]*fate[poolFact]
	leases    map[lease]holding
	holders   map[lease]string     // whom Docker requested it for
	askers    map[lease]string     // and how that request told who asks: see request.asker
	gateways  map[lease]bool       // requested as a gateway: they go with their pool only
	weak      map[string][]*epFact // what a Leave has changed: it counts only if no crash follows
	died      bool                 // since the last look
	lostPools int                  // replies with a PoolID that nobody has read
	lostIPs   int                  // likewise with an address
	loose     bool                 // calls overlap: their order isn't known
	excused   bool                 // a fault was planted: any call may be refused
	alive     func(sandbox string) bool
	engine    func(name string) string
}

// The facts of a record that a reply promises.
type (
	netFact struct{ engine, form string }
	epFact  struct {
		engine, network, mac, sandbox, ports string
		v4, v6                               netip.Prefix
	}
	poolFact struct{ engine, space, subnet, ipRange string }
)

// A lease is an address of a subnet in an address space.
type lease struct {
	space  string
	subnet netip.Prefix
	ip     netip.Addr
}

// A holding is who has a lease.
type holding int

const (
	free holding = iota
	soft         // in use or not: nobody may rely on it
	hard         // Docker has it
)

// A fate is what may be on record under a key; a nil fact is nothing.
type fate[T comparable] struct{ may []*T }

func (f *fate[T]) become(facts ...*T) { f.may = facts }

func (f *fate[T]) add(facts ...*T) { f.may = append(slices.Clone(f.may), facts...) }

// absent reports whether there may be nothing.
func (f *fate[T]) absent() bool { return f == nil || slices.Contains(f.may, nil) }

// facts returns what there may be.
func (f *fate[T]) facts() (out []*T) {
	if f == nil {
		return nil
	}
	for _, t := range f.may {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// sure returns what there must be; nil if that isn't known.
func (f *fate[T]) sure() *T {
	if f == nil || len(f.may) != 1 {
		return nil
	}
	return f.may[0]
}

func newModel(mu *sync.Mutex) *model {
	return &model{
		mu:       mu,
		networks: map[string]*fate[netFact]{}, endpoints: map[string]*fate[epFact]{},
		pools: map[string]*fate[poolFact]{}, leases: map[lease]holding{}, weak: map[string][]*epFact{}, gateways: map[lease]bool{}, holders: map[lease]string{}, askers: map[lease]string{},
	}
}

// clone returns a copy that can be looked with while m stays as it is.
func (m *model) clone() *model {
	out := *m
	out.networks, out.endpoints, out.pools = cloneFates(m.networks), cloneFates(m.endpoints), cloneFates(m.pools)
	out.leases, out.holders, out.gateways = maps.Clone(m.leases), maps.Clone(m.holders), maps.Clone(m.gateways)
	out.askers = maps.Clone(m.askers)
	out.weak = maps.Clone(m.weak)
	return &out
}

func cloneFates[T comparable](fates map[string]*fate[T]) map[string]*fate[T] {
	out := make(map[string]*fate[T], len(fates))
	for id, f := range fates {
		out[id] = &fate[T]{f.may}
	}
	return out
}

func fateOf[T comparable](all map[string]*fate[T], id string) *fate[T] {
	f := all[id]
	if f == nil {
		f = &fate[T]{may: []*T{nil}}
		all[id] = f
	}
	return f
}

// settle notes what a call that was to change a record has done.
func settle[T comparable](m *model, f *fate[T], o outcome, after *T, undoes bool) {
	switch {
	case m.loose, o.lost, o.refused != "" && undoes:
		f.add(after)
	case o.ok():
		f.become(after)
	}
}

// observe takes what became of a request; the error says what is wrong with it.
func (m *model) observe(r request, o outcome, docker bool) error {
	why, err := m.judge(r, o, docker)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", r, err)
	case o.refused != "" && why == "" && !m.excused:
		return fmt.Errorf("%s: refused without a reason: %s", r, o.refused)
	}
	return nil
}

// judge takes an outcome into the model. It returns why the call may have been
// refused.
func (m *model) judge(r request, o outcome, docker bool) (why string, err error) {
	switch r.method {
	case "CreateNetwork":
		return m.createNetwork(r, o)
	case "DeleteNetwork":
		settle(m, fateOf(m.networks, r.network), o, nil, true)
		for _, f := range m.endpoints {
			if slices.ContainsFunc(f.facts(), func(e *epFact) bool { return e.network == r.network }) {
				settle(m, f, o, nil, true)
			}
		}
	case "CreateEndpoint":
		return m.createEndpoint(r, o)
	case "DeleteEndpoint":
		if f := m.in(r); f != nil {
			settle(m, f, o, nil, true)
			if o.ok() {
				delete(m.weak, r.endpoint)
			}
		}
	case "Join":
		return m.join(r, o)
	case "Leave", "RevokeExternalConnectivity":
		m.clear(r, o)
	case "ProgramExternalConnectivity":
		return m.publish(r, o)
	case "RequestPool":
		return m.requestPool(r, o)
	case "ReleasePool":
		m.releasePool(r, o)
	case "RequestAddress":
		return m.requestAddress(r, o, docker)
	case "ReleaseAddress":
		m.releaseAddress(r, o)
	}
	return "", nil
}

// in returns the fate of the endpoint that r names, if it may be in the network
// that r names.
func (m *model) in(r request) *fate[epFact] {
	f := m.endpoints[r.endpoint]
	if slices.ContainsFunc(f.facts(), func(e *epFact) bool { return e.network == r.network }) {
		return f
	}
	return nil
}

func (m *model) createNetwork(r request, o outcome) (why string, err error) {
	f, fact := fateOf(m.networks, r.network), &netFact{m.engine(r.engine), netForm(r)}
	for _, other := range f.facts() {
		if other.form != fact.form {
			why = "is there with other settings"
		}
	}
	for id, other := range m.networks {
		if id != r.network && slices.ContainsFunc(other.facts(), func(n *netFact) bool { return formsOverlap(n.form, fact.form) }) {
			why = "overlaps " + id
		}
	}
	if r.shape.bad {
		why = "bad options"
		if o.ok() {
			return why, fmt.Errorf("bad options accepted")
		}
	}
	if o.ok() && f.sure() != nil && f.sure().form != fact.form {
		return why, fmt.Errorf("accepted in place of %s", f.sure().form)
	}
	if o.ok() && f.sure() != nil { // the same again: what was there is there
		return why, nil
	}
	settle(m, f, o, fact, false)
	return why, nil
}

func netForm(r request) string {
	var subnets []string
	for _, s := range r.subnets {
		subnets = append(subnets, fmt.Sprint(s.space, s.prefix, s.gateway, s.aux))
	}
	return fmt.Sprint(r.shape.options, r.shape.internal, r.shape.v4 != "", r.shape.v6 != "", subnets)
}

func netFactOf(n store.Network) netFact {
	var subnets []string
	for _, s := range n.Subnets {
		subnets = append(subnets, fmt.Sprint(s.Space, s.Prefix, s.Gateway, s.Aux["DefaultGatewayIPv4"]))
	}
	return netFact{n.Engine, fmt.Sprint(n.Options, n.Internal, n.IPv4, n.IPv6, subnets)}
}

// formsOverlap reports whether two networks have a subnet in common.
func formsOverlap(a, b string) bool {
	for _, p := range prefixesIn(a) {
		for _, q := range prefixesIn(b) {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

func prefixesIn(form string) (out []netip.Prefix) {
	for _, word := range strings.FieldsFunc(form, func(r rune) bool { return strings.ContainsRune(" []", r) }) {
		if i := strings.LastIndexFunc(word, func(r rune) bool { return r > 'f' || r == '-' }); i >= 0 {
			word = word[i+1:] // the address space before it
		}
		if p, err := netip.ParsePrefix(word); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (m *model) createEndpoint(r request, o outcome) (why string, err error) {
	f := fateOf(m.endpoints, r.endpoint)
	fact := &epFact{engine: m.engine(r.engine), network: r.network, mac: r.mac, v4: r.v4, v6: r.v6}
	switch {
	case m.networks[r.network].absent():
		why = "no network"
		if o.ok() && len(m.networks[r.network].facts()) == 0 && !m.loose {
			return why, fmt.Errorf("accepted without a network")
		}
	case m.crowded(r.network):
		why = "the bridge is full"
	}
	var again *epFact
	for _, e := range f.facts() {
		if e.network == r.network && e.v4 == r.v4 && e.v6 == r.v6 && (r.mac == "" || e.mac == r.mac) {
			again = e
		} else {
			why = "is there with other settings"
		}
	}
	for id, other := range m.endpoints {
		if id == r.endpoint {
			continue
		}
		e := other.sharing(fact)
		if e == nil {
			continue
		}
		if e.sandbox != "" {
			why = "address of " + id
		}
		switch {
		case !o.ok():
			other.add(nil)
		case other.sure() != nil && e.sandbox != "" && m.alive(e.sandbox) && !m.loose:
			return why, fmt.Errorf("accepted with an address of %s", id)
		default:
			other.become(nil)
		}
	}
	if o.reply.Interface != nil && o.ok() {
		if r.mac != "" && o.reply.Interface.MacAddress != "" || o.reply.Interface.Address+o.reply.Interface.AddressIPv6 != "" {
			return why, fmt.Errorf("reply repeats what was given: %+v", *o.reply.Interface)
		}
		if again != nil && again.mac != "*" && f.sure() != nil && again.mac != o.reply.Interface.MacAddress {
			return why, fmt.Errorf("another MAC address than before: %s", o.reply.Interface.MacAddress)
		}
		fact.mac = o.reply.Interface.MacAddress
	}
	if fact.mac == "" {
		fact.mac = "*" // nobody knows
		if again != nil {
			fact.mac = again.mac
		}
	}
	if again != nil && f.sure() != nil && o.ok() {
		return why, nil // it stays as it is, joined or not
	}
	m.confirmed(r)
	settle(m, f, o, fact, false)
	return why, nil
}

// confirmed notes that fairway has seen addresses in use that Docker may have
// given back before.
func (m *model) confirmed(r request) {
	for _, f := range m.pools {
		for _, p := range f.facts() {
			for _, a := range []netip.Prefix{r.v4, r.v6} {
				l := lease{p.space, netip.MustParsePrefix(p.subnet), a.Addr()}
				if a.IsValid() && l.subnet.Contains(l.ip) {
					m.leases[l] = max(m.leases[l], soft)
				}
			}
		}
	}
}

// sharing returns what f may be that has an address of e.
func (f *fate[T]) sharing(e *epFact) *epFact {
	for _, t := range f.facts() {
		o, ok := any(t).(*epFact)
		if ok && o.network == e.network && (o.v4.IsValid() && o.v4 == e.v4 || o.v6.IsValid() && o.v6 == e.v6) {
			return o
		}
	}
	return nil
}

// crowded reports whether a network may be on the bridge that is nearly full.
func (m *model) crowded(network string) bool {
	return slices.ContainsFunc(m.networks[network].facts(), func(n *netFact) bool {
		return strings.Contains(n.form, label+"name:"+crowdedBridge)
	})
}

func (m *model) join(r request, o outcome) (why string, err error) {
	f := m.in(r)
	if f == nil || f.absent() || m.networks[r.network].absent() {
		why = "no endpoint"
		if f == nil {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without an endpoint")
			}
			return why, nil
		}
	}
	for _, e := range f.facts() {
		if e.sandbox != "" && e.sandbox != r.sandbox {
			why = "in sandbox " + e.sandbox
			if o.ok() && f.sure() != nil && m.alive(e.sandbox) && !m.loose {
				return why, fmt.Errorf("accepted while %s", why)
			}
		}
	}
	if o.ok() && (o.reply.InterfaceName == nil || o.reply.InterfaceName.SrcName == "") {
		return why, fmt.Errorf("reply names no link")
	}
	m.eachForm(f, o, func(e *epFact) { e.sandbox = r.sandbox }, false)
	return why, nil
}

// eachForm settles a call that changes a record: what it may be now is what it
// may have been, changed.
func (m *model) eachForm(f *fate[epFact], o outcome, change func(*epFact), undoes bool) {
	var after []*epFact
	for _, e := range f.facts() {
		changed := *e
		change(&changed)
		after = append(after, &changed)
	}
	switch {
	case m.loose, o.lost, o.refused != "" && undoes:
		f.add(after...)
	case o.ok():
		if f.absent() && undoes {
			after = append(after, nil)
		}
		f.become(after...)
	}
}

// clear is Leave and Revoke: gone already is well, too.
func (m *model) clear(r request, o outcome) {
	if f := m.in(r); f != nil {
		m.weak[r.endpoint] = append(m.weak[r.endpoint], f.facts()...)
		m.eachForm(f, o, func(e *epFact) {
			e.ports = ""
			if r.method == "Leave" {
				e.sandbox = ""
			}
		}, true)
	}
}

func (m *model) publish(r request, o outcome) (why string, err error) {
	f := m.in(r)
	if f == nil || f.absent() || m.networks[r.network].absent() {
		why = "no endpoint"
		if f == nil {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without an endpoint")
			}
			return why, nil
		}
	}
	for _, e := range f.facts() {
		if !e.v4.IsValid() && !e.v6.IsValid() {
			why = "no address"
		}
	}
	for _, word := range strings.Fields(r.ports) {
		if strings.HasSuffix(word, fmt.Sprint("/", foreignPort)) {
			why = "the port is the host's"
			if o.ok() && f.sure() != nil && f.sure().ports != r.ports && m.publishes(r.network) {
				return why, fmt.Errorf("accepted a port that the host has")
			}
		}
		for id, other := range m.endpoints {
			for _, e := range other.facts() {
				if id == r.endpoint || strings.HasSuffix(word, "/0") || !slices.Contains(strings.Fields(e.ports), word) {
					continue
				}
				why = "the port is of " + id
				if e.sandbox == "" || !m.alive(e.sandbox) {
					other.add(nil) // stale: it may make way
				}
			}
		}
	}
	m.eachForm(f, o, func(e *epFact) { e.ports = r.ports }, false)
	return why, nil
}

// publishes reports whether a network takes ports of the host for all of its
// addresses, in IPv4.
func (m *model) publishes(network string) bool {
	n := m.networks[network].sure()
	return n != nil && !strings.Contains(n.form, "routed") && strings.Contains(n.form, "] false true ")
}

func (m *model) requestPool(r request, o outcome) (why string, err error) {
	want, _ := netip.ParsePrefix(r.pool)
	for id, f := range m.pools {
		for _, p := range f.facts() {
			if q := netip.MustParsePrefix(p.subnet); want.IsValid() && p.space == r.space && q.Overlaps(want) {
				why = "overlaps " + id
			}
		}
	}
	if m.lostPools > 0 {
		why = "may overlap one that nobody knows"
	}
	switch {
	case o.lost:
		m.lostPools++
	case o.ok():
		if f := m.pools[o.reply.PoolID]; f != nil {
			return why, fmt.Errorf("PoolID %s again", o.reply.PoolID)
		}
		got, err := netip.ParsePrefix(o.reply.Pool)
		if err != nil || want.IsValid() && got != want {
			return why, fmt.Errorf("pool %q instead of %s", o.reply.Pool, r.pool)
		}
		fateOf(m.pools, o.reply.PoolID).become(&poolFact{m.engine(r.engine), r.space, got.String(), r.subPool})
	}
	return why, nil
}

func poolFactOf(p store.Pool) poolFact {
	f := poolFact{p.Engine, p.Space, p.Subnet.String(), ""}
	if p.Range.IsValid() {
		f.ipRange = p.Range.String()
	}
	return f
}

func (m *model) releasePool(r request, o outcome) {
	f := fateOf(m.pools, r.pool)
	for _, p := range f.facts() {
		last := true
		for id, other := range m.pools {
			for _, q := range other.facts() {
				last = last && (id == r.pool || q.subnet != p.subnet || q.space != p.space)
			}
		}
		for l := range m.leases {
			if last && l.space == p.space && l.subnet.String() == p.subnet {
				m.leases[l] = soft
				if o.ok() && !m.loose && m.lostPools == 0 {
					m.leases[l] = free
				}
			}
		}
	}
	settle(m, f, o, nil, true)
}

func (m *model) requestAddress(r request, o outcome, docker bool) (why string, err error) {
	f := m.pools[r.pool]
	if f.absent() {
		why = "no pool"
		if len(f.facts()) == 0 {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without a pool")
			}
			return why, nil
		}
	}
	p := f.facts()[0]
	subnet := netip.MustParsePrefix(p.subnet)
	switch {
	case r.address.IsValid() && (!subnet.Contains(r.address) || r.address == subnet.Addr() || r.address.Is4() && !subnet.Contains(r.address.Next()) || m.leases[lease{p.space, subnet, r.address}] != free || m.used(subnet, r.address)):
		why = "is in use"
	case !r.address.IsValid() && m.full(p):
		why = "the pool is full"
	}
	switch {
	case o.lost && r.address.IsValid():
		m.leases[lease{p.space, subnet, r.address}] = max(soft, m.leases[lease{p.space, subnet, r.address}])
	case o.lost:
		m.lostIPs++
	case o.ok():
		got, err := netip.ParsePrefix(o.reply.Address)
		if err != nil || got.Masked() != subnet || r.address.IsValid() && got.Addr() != r.address {
			return why, fmt.Errorf("address %q instead of %s in %s", o.reply.Address, r.address, subnet)
		}
		l := lease{p.space, subnet, got.Addr()}
		// A request sent again beside one that tells the same of who asks is
		// answered alike.
		again := !docker && m.askers[l] == r.asker()
		if m.leases[l] == hard && !again && !m.abandoned(m.holders[l]) {
			return why, fmt.Errorf("address %s is handed out twice", got)
		}
		if again && m.leases[l] == hard {
			return why, nil
		}
		m.leases[l], m.gateways[l] = soft, r.gateway
		if docker {
			m.leases[l], m.holders[l], m.askers[l] = hard, r.holder, r.asker()
		}
	}
	return why, nil
}

// torn takes what a failed commit has left on the disk all the same: that is
// no promise kept, nor one broken.
func (m *model) torn(before, after store.Records) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addTorn(m.networks, before.Networks, after.Networks, netFactOf)
	addTorn(m.endpoints, before.Endpoints, after.Endpoints, epFactOf)
	addTorn(m.pools, before.Pools, after.Pools, poolFactOf)
	for key, a := range after.Addresses {
		if before.Addresses[key] != a {
			l := lease{a.Space, a.Subnet, a.IP}
			m.leases[l], m.gateways[l] = soft, a.Kind == store.KindGateway
		}
	}
	for key, a := range before.Addresses {
		if _, ok := after.Addresses[key]; !ok {
			m.leases[lease{a.Space, a.Subnet, a.IP}] = soft
		}
	}
}

func addTorn[R any, F comparable](fates map[string]*fate[F], before, after map[string]R, factOf func(R) F) {
	for id, r := range after {
		if old, ok := before[id]; !ok || factOf(old) != factOf(r) {
			fact := factOf(r)
			fateOf(fates, id).add(&fact)
		}
	}
	for id := range before {
		if _, ok := after[id]; !ok {
			fateOf(fates, id).add(nil)
		}
	}
}

// relive notes that a new daemon has read the records: what networks and
// endpoints have is in use, whatever was released before.
func (m *model) relive() {
	m.died = true
	reused := map[netip.Addr]bool{}
	for _, f := range m.endpoints {
		for _, e := range f.facts() {
			reused[e.v4.Addr()], reused[e.v6.Addr()] = true, true
		}
	}
	for _, f := range m.networks {
		for _, n := range f.facts() {
			for _, word := range strings.FieldsFunc(n.form, func(r rune) bool { return r == ' ' || r == ']' }) {
				if a, err := netip.ParseAddr(word); err == nil {
					reused[a] = true
				}
			}
		}
	}
	for _, f := range m.pools {
		for _, p := range f.facts() {
			for a := range reused {
				l := lease{p.space, netip.MustParsePrefix(p.subnet), a}
				if l.subnet.Contains(a) {
					m.leases[l] = max(m.leases[l], soft)
				}
			}
		}
	}
}

// abandoned reports whether an endpoint's sandbox has died: its address may be
// given to another.
func (m *model) abandoned(endpoint string) bool {
	return slices.ContainsFunc(m.endpoints[endpoint].facts(), func(e *epFact) bool {
		return e.sandbox != "" && !m.alive(e.sandbox)
	})
}

// used reports whether a network or an endpoint may have the address.
func (m *model) used(subnet netip.Prefix, ip netip.Addr) bool {
	for _, f := range m.endpoints {
		for _, e := range f.facts() {
			if e.v4.Addr() == ip || e.v6.Addr() == ip {
				return true
			}
		}
	}
	for _, f := range m.networks {
		for _, n := range f.facts() {
			if strings.Contains(n.form, subnet.String()+" "+ip.String()) || strings.Contains(n.form, ip.String()+"]") {
				return true
			}
		}
	}
	return false
}

// full reports whether every address of a pool may be in use.
func (m *model) full(p *poolFact) bool {
	subnet := netip.MustParsePrefix(p.subnet)
	r := subnet
	if p.ipRange != "" {
		r = netip.MustParsePrefix(p.ipRange)
	}
	size := 1 << min(r.Addr().BitLen()-r.Bits(), 16)
	if r == subnet {
		size -= 2
	}
	for l, h := range m.leases {
		if l.subnet == subnet && r.Contains(l.ip) && h != free {
			size--
		}
	}
	return size-m.lostIPs <= 0
}

func (m *model) releaseAddress(r request, o outcome) {
	for _, p := range m.pools[r.pool].facts() {
		l := lease{p.space, netip.MustParsePrefix(p.subnet), r.address}
		if h := m.holders[l]; h != r.holder && m.leases[l] == hard {
			// Whom it was taken from gives it back: its new holder has it, at
			// the latest when it has an endpoint.
			if !m.endpoints[h].absent() && !m.abandoned(h) && !m.loose {
				continue
			}
		}
		m.leases[l] = soft
		if o.ok() && !m.loose && !m.used(l.subnet, l.ip) { // else it goes with the endpoint
			m.leases[l] = free
		}
	}
}

// orphan notes that an engine has forgotten things: nobody relies any more on
// an address that none knows.
func (m *model) orphan(dockers map[string]*docker) {
	known := map[lease]bool{}
	for _, d := range dockers {
		for _, n := range d.networks {
			for _, p := range n.pools {
				known[lease{p.space, p.prefix, p.gateway}] = true
				known[lease{p.space, p.prefix, p.aux}] = true
				for _, c := range d.containers {
					for _, e := range c.eps {
						known[lease{p.space, p.prefix, e.v4.Addr()}] = true
						known[lease{p.space, p.prefix, e.v6.Addr()}] = true
					}
				}
			}
		}
	}
	for l, h := range m.leases {
		if h == hard && !known[l] {
			m.leases[l] = soft
		}
	}
}

// check compares the records with what they may be, and learns from them.
func (m *model) check(s store.Records) error {
	for id, before := range m.weak {
		if f := m.endpoints[id]; m.died && len(f.facts()) > 0 {
			f.add(before...)
		}
	}
	m.died = false
	clear(m.weak)
	err := checkFates("network", m.networks, s.Networks, netFactOf, func(a, b netFact) bool { return a == b })
	if err == nil {
		err = checkFates("endpoint", m.endpoints, s.Endpoints, epFactOf, sameEndpoint)
	}
	if err != nil {
		return err
	}
	for id, p := range s.Pools {
		if m.pools[id] == nil && m.lostPools > 0 {
			m.lostPools--
			f := poolFactOf(p)
			fateOf(m.pools, id).become(&f)
		}
	}
	m.lostPools = 0
	err = checkFates("pool", m.pools, s.Pools, poolFactOf, func(a, b poolFact) bool { return a == b })
	if err != nil {
		return err
	}
	return m.checkLeases(s)
}

func checkFates[R any, F comparable](kind string, fates map[string]*fate[F], records map[string]R, factOf func(R) F, same func(a, b F) bool) error {
	for id, r := range records {
		fact := factOf(r)
		f := fates[id]
		i := slices.IndexFunc(f.facts(), func(t *F) bool { return same(*t, fact) })
		if i < 0 {
			return fmt.Errorf("I1: %s %s is on record as\n\t%+v, want one of%s", kind, id, fact, listFates(f))
		}
		f.become(&fact)
	}
	for id, f := range fates {
		if _, ok := records[id]; ok {
			continue
		}
		if !f.absent() {
			return fmt.Errorf("I1: %s %s is not on record, want one of%s", kind, id, listFates(f))
		}
		delete(fates, id)
	}
	return nil
}

func listFates[F comparable](f *fate[F]) string {
	if f == nil {
		return "\n\tnothing"
	}
	var out strings.Builder
	for _, t := range f.may {
		if t == nil {
			out.WriteString("\n\tnothing")
		} else {
			fmt.Fprintf(&out, "\n\t%+v", *t)
		}
	}
	return out.String()
}

func epFactOf(e store.Endpoint) epFact {
	var ports []string
	for _, p := range e.Requested {
		ports = append(ports, fmt.Sprintf("%s/%d", map[uint8]string{6: "tcp", 17: "udp"}[p.Proto], p.HostPort))
	}
	return epFact{
		engine: e.Engine, network: e.Network, mac: e.MAC, sandbox: e.Sandbox,
		ports: strings.Join(ports, " "), v4: e.IPv4, v6: e.IPv6,
	}
}

func sameEndpoint(a, b epFact) bool {
	if a.mac == "*" {
		a.mac = b.mac
	}
	return a == b
}

func (m *model) checkLeases(s store.Records) error {
	inUse := map[lease]bool{}
	for _, a := range s.Addresses {
		l := lease{a.Space, a.Subnet, a.IP}
		if !a.Released.IsZero() {
			continue
		}
		inUse[l] = true
		if m.leases[l] == free && m.lostIPs > 0 {
			m.leases[l], m.gateways[l] = soft, a.Kind == store.KindGateway
			m.lostIPs--
		}
		if m.leases[l] == free && !m.used(a.Subnet, a.IP) {
			return fmt.Errorf("I1: address %s of %s is on record as in use, want it free", a.IP, a.Subnet)
		}
	}
	m.lostIPs = 0
	for l, h := range m.leases {
		if h == hard && !inUse[l] {
			return fmt.Errorf("I1: address %s of %s is not on record, want it in use", l.ip, l.subnet)
		}
		if !inUse[l] {
			delete(m.leases, l)
		}
	}
	return nil
}

// reclaim notes that what Docker doesn't know must be gone: a grace period has
// passed since it was asked.
func (m *model) reclaim(dockers map[string]*docker) {
	networks, endpoints, pools := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, d := range dockers {
		n, e, p := d.knows()
		maps.Copy(networks, n)
		maps.Copy(endpoints, e)
		maps.Copy(pools, p)
	}
	forget(m.networks, networks)
	forget(m.endpoints, endpoints)
	forget(m.pools, pools)
	for l, h := range m.leases {
		if h == soft && !m.gateways[l] {
			m.leases[l] = free
		}
	}
}

func forget[T comparable](fates map[string]*fate[T], known map[string]bool) {
	for id, f := range fates {
		if !known[id] {
			f.become(nil)
		}
	}
}
