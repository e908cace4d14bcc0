package ipam

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"fairway/store"
)

// TestAllocatorAgainstModel makes random requests, lets commits fail, be late
// and get lost, crashes and restarts, and compares each answer with the model's.
// Memory must equal what the store holds whenever nothing is under way.
func TestAllocatorAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stopped any // rapid ends a check by a panic, which mustn't cross the bubble's edge
		synctest.Test(t, func(*testing.T) {
			defer func() { stopped = recover() }()
			m := &machine{store: newFakeStore(), model: newModel()}
			m.start(rt)
			rt.Repeat(map[string]func(*rapid.T){
				"":               m.check,
				"RequestPool":    m.requestPool,
				"ReleasePool":    m.releasePool,
				"RequestAddress": m.requestAddress,
				"request again":  m.requestAddress, // twice as often
				"ReleaseAddress": m.releaseAddress,
				"Confirm":        m.confirm,
				"Reclaim":        m.reclaim,
				"wait":           m.wait,
				"fail":           m.failNext,
				"restart":        m.start,
				"burst":          m.burst,
			})
		})
		switch fmt.Sprintf("%T", stopped) {
		case "<nil>":
		case "rapid.invalidData": // rapid tells kinds of ends apart by the line of the panic
			panic(stopped)
		default:
			panic(stopped)
		}
	})
}

const machineDelay, machineGrace = 30 * time.Second, 2 * time.Minute

type machine struct {
	*Allocator
	store *fakeStore
	model *model
	rand  io.Reader
}

func (m *machine) start(t *rapid.T) {
	if m.rand == nil {
		m.rand = rand.NewChaCha8([32]byte{rapid.Byte().Draw(t, "seed")})
	}
	a, err := New(Options{Store: m.store, Rand: m.rand, ReuseDelay: machineDelay, Grace: machineGrace}, m.store.crash(0).records)
	if err != nil {
		t.Fatal(err)
	}
	m.Allocator = a
	for _, h := range m.model.handles {
		h.confirmed = h.noted // what isn't durable is forgotten
	}
}

// check compares memory and store, and lets no two moments be the same.
func (m *machine) check(t *rapid.T) {
	time.Sleep(time.Millisecond)
	fresh, err := New(Options{Store: newFakeStore(), ReuseDelay: machineDelay}, m.store.crash(0).records)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dump(m.Allocator), dump(fresh); got != want {
		t.Fatalf("memory:\n%s\nthe store says:\n%s", got, want)
	}
}

// dump lists the pools, and the addresses that can't be handed out.
func dump(a *Allocator) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for id, h := range a.handles {
		lines = append(lines, fmt.Sprintf("%s %s %s", id, h.Subnet, h.Range))
	}
	now := a.now()
	for _, s := range a.spaces[SpaceLocal].by {
		a.expire(s, now)
		for ip, e := range s.entries {
			l := e.now
			if l != e.saved {
				lines = append(lines, fmt.Sprintf("%s isn't saved", ip))
			}
			if s.taken.has(hostOf(s.prefix, ip)) {
				lines = append(lines, fmt.Sprintf("%s %s %s %s %s %s %s", s.prefix, ip, l.Pool, l.Kind, l.Engine, l.Name, l.Released))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// outcome checks a call's error: wanted is whether the model grants it, commits
// whether the call must make something durable. It reports whether the call
// took effect.
func (m *machine) outcome(t *rapid.T, err error, wanted, commits bool) bool {
	failed := m.store.fail && wanted && commits
	if m.store.fail && (commits || err != nil) {
		m.store.fail = false
	}
	switch {
	case failed && (err == nil || !strings.Contains(err.Error(), errDisk.Error())):
		t.Fatalf("the commit failed, but the call says %v", err)
	case !failed && wanted && err != nil:
		t.Fatalf("refused: %v", err)
	case !wanted && err == nil:
		t.Fatal("granted")
	}
	m.store.fail = false
	return wanted && !failed
}

func drawEngine(t *rapid.T) string {
	return rapid.SampledFrom([]string{"e", "e", "f"}).Draw(t, "engine")
}

func drawSubnet(t *rapid.T) netip.Prefix {
	return netip.MustParsePrefix(rapid.SampledFrom([]string{
		"10.0.0.0/29", "10.0.0.8/30", "10.0.0.0/28", "10.0.0.12/31", "fd00::/125",
	}).Draw(t, "subnet"))
}

func drawPool(t *rapid.T) (spec PoolSpec, subnet, ipRange netip.Prefix) {
	subnet = drawSubnet(t)
	spec = PoolSpec{Engine: drawEngine(t), Space: SpaceLocal, Pool: subnet.String(), V6: subnet.Addr().Is6()}
	if half := subnet.Bits() + 1; half < subnet.Addr().BitLen() && rapid.Bool().Draw(t, "ranged") {
		ip := subnet.Addr()
		if rapid.Bool().Draw(t, "upper half") {
			for range 1 << (ip.BitLen() - half) {
				ip = ip.Next()
			}
		}
		ipRange = netip.PrefixFrom(ip, half)
		spec.SubPool = ipRange.String()
	}
	if rapid.Bool().Draw(t, "shared") {
		spec.Options = map[string]string{"shared": "true"}
	}
	return spec, subnet, ipRange
}

func (m *machine) requestPool(t *rapid.T) {
	spec, subnet, ipRange := drawPool(t)
	shared := spec.Options != nil
	reply, err := m.RequestPool(context.Background(), spec)
	if !m.outcome(t, err, m.model.mayHave(subnet, ipRange, shared), true) {
		return
	}
	if m.model.handles[reply.ID] != nil || reply.Prefix != subnet {
		t.Fatalf("reply %+v", reply)
	}
	m.model.handles[reply.ID] = &modelHandle{reply.ID, spec.Engine, subnet, ipRange, shared, time.Now(), false, false}
	if m.model.addrs[subnet] == nil {
		m.model.addrs[subnet] = map[netip.Addr]modelAddr{}
	}
}

func (m *machine) drawHandle(t *rapid.T) *modelHandle {
	ids := slices.Sorted(maps.Keys(m.model.handles))
	if len(ids) == 0 {
		t.Skip()
	}
	return m.model.handles[rapid.SampledFrom(ids).Draw(t, "pool")]
}

func (m *machine) releasePool(t *rapid.T) {
	h := m.drawHandle(t)
	if !m.outcome(t, m.ReleasePool(context.Background(), h.id), true, true) {
		return
	}
	m.model.releasePool(h, time.Now())
	m.forgetNetworks(m.model)
	if err := m.ReleasePool(context.Background(), h.id); err != nil {
		t.Fatalf("released again: %v", err)
	}
}

// forgetNetworks deletes the networks whose pools are gone, be there new ones
// since the model was.
func (m *machine) forgetNetworks(was *model) {
	maps.DeleteFunc(m.model.network, func(subnet netip.Prefix, _ bool) bool {
		return !slices.ContainsFunc(m.model.on(subnet), func(h *modelHandle) bool { return was.handles[h.id] != nil })
	})
	for id, n := range m.store.records.Networks {
		if !m.model.network[n.Subnets[0].Prefix] {
			delete(m.store.records.Networks, id)
		}
	}
}

func (m *machine) drawAddress(t *rapid.T, h *modelHandle) AddressSpec {
	spec := AddressSpec{
		Engine: drawEngine(t), Pool: h.id,
		Gateway: rapid.IntRange(0, 5).Draw(t, "gateway") == 0,
	}
	if rapid.IntRange(0, 3).Draw(t, "static") == 0 {
		spec.Address = m.drawIP(t, h.subnet)
	}
	if !spec.Gateway {
		spec.Name = rapid.SampledFrom([]string{"", "", "web", "db"}).Draw(t, "name")
		spec.MAC = rapid.SampledFrom([]string{"", "02:00:00:00:00:01", "02:00:00:00:00:02"}).Draw(t, "mac")
	}
	return spec
}

// drawIP returns an address of the subnet, rarely the first one behind it.
func (m *machine) drawIP(t *rapid.T, subnet netip.Prefix) netip.Addr {
	ip := subnet.Addr()
	for range rapid.IntRange(0, 1<<(ip.BitLen()-subnet.Bits())).Draw(t, "host") {
		ip = ip.Next()
	}
	return ip
}

func (m *machine) requestAddress(t *rapid.T) {
	h := m.drawHandle(t)
	spec := m.drawAddress(t, h)
	may := m.model.answers(h, spec, time.Now(), machineDelay)
	got, err := m.RequestAddress(context.Background(), spec)
	ok := m.outcome(t, err, len(may) > 0, true)
	h.confirmed = h.confirmed || len(may) > 0
	if !ok {
		return
	}
	h.noted = true
	if !slices.Contains(may, got.Addr()) || got.Bits() != h.subnet.Bits() {
		t.Fatalf("got %s of %s, want one of %s", got, h.subnet, may)
	}
	m.model.request(h, got.Addr(), spec, time.Now())
}

func (m *machine) releaseAddress(t *rapid.T) {
	h := m.drawHandle(t)
	ip := m.drawIP(t, h.subnet)
	a := m.model.addrs[h.subnet][ip]
	mine := a.inUse() && a.handle == h.id && !m.model.sharesGateway(h, a)
	if m.outcome(t, m.ReleaseAddress(context.Background(), h.id, ip), true, mine) && mine {
		m.model.release(h.subnet, ip, time.Now())
	}
	if err := m.ReleaseAddress(context.Background(), "no such pool", ip); err != nil {
		t.Fatal(err)
	}
}

// confirm makes a network, or an endpoint with an address that is in use.
func (m *machine) confirm(t *rapid.T) {
	m.store.fail = false
	h := m.drawHandle(t)
	var ips []netip.Addr
	if ip := m.drawIP(t, h.subnet); m.model.addrs[h.subnet][ip].inUse() {
		ips = append(ips, ip)
	}
	m.store.records.Apply(store.PutNetwork(store.Network{
		ID: h.subnet.String(), Subnets: []store.Subnet{{Space: SpaceLocal, Prefix: h.subnet}},
	}))
	m.Confirm(SpaceLocal, h.subnet, ips...)
	m.model.confirm(h.subnet, ips...)
}

func (m *machine) reclaim(t *rapid.T) {
	m.store.fail = false
	want := 0
	for subnet := range m.model.addrs {
		for _, ip := range m.model.sorted(subnet) {
			a := m.model.addrs[subnet][ip]
			if m.model.network[subnet] && a.inUse() && !a.confirmed && !a.gateway && time.Since(a.created) >= machineGrace {
				m.model.release(subnet, ip, time.Now())
				want++
			}
		}
	}
	if got, err := m.Reclaim(context.Background()); err != nil || got != want {
		t.Fatalf("Reclaim = %d, %v; want %d", got, err, want)
	}
}

func (m *machine) wait(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds")) * time.Second)
}

func (m *machine) failNext(*rapid.T) { m.store.fail = true }

// A called is a call of a burst and, once it is done, its result.
type called struct {
	spec   AddressSpec // of RequestAddress
	got    netip.Prefix
	err    error
	done   bool
	cancel context.CancelFunc
}

// burst makes calls whose commits are late. Then either each succeeds or fails,
// or the daemon crashes with some of them in the store, and none answered.
func (m *machine) burst(t *rapid.T) {
	m.store.hold, m.store.fail = true, false
	var calls []*called
	takes := false // whether a call takes something back
	for range rapid.IntRange(1, 5).Draw(t, "calls") {
		c, act := &called{}, m.drawCall(t)
		ctx, cancel := context.WithCancel(context.Background())
		c.cancel = cancel
		takes = act(ctx, c) || takes
		synctest.Wait()
		time.Sleep(time.Millisecond)
		calls = append(calls, c)
	}
	was := m.model
	if rapid.Bool().Draw(t, "crash") {
		m.crash(t, calls)
		return
	}
	m.store.settleEach(func(int) bool { return rapid.Bool().Draw(t, "succeeds") })
	synctest.Wait()
	m.model = modelOf(m.store.records)
	for id, h := range m.model.handles {
		h.confirmed = h.confirmed || was.handles[id] != nil && was.handles[id].confirmed
	}
	m.forgetNetworks(was)
	for _, c := range calls {
		c.cancel()
		if !c.done {
			t.Fatal("a call didn't return")
		}
		if h := m.model.handles[c.spec.Pool]; h != nil {
			h.confirmed = h.confirmed || m.handles[h.id].Confirmed
		}
	}
	if !takes {
		m.checkGranted(t, calls)
	}
}

func (m *machine) crash(t *rapid.T, calls []*called) {
	after := m.store.crash(rapid.IntRange(0, len(m.store.held)).Draw(t, "durable"))
	for _, c := range calls {
		c.cancel()
	}
	m.store.settle(0) // nobody listens any more
	synctest.Wait()
	m.store = after
	was := m.model
	m.model = modelOf(after.records)
	m.forgetNetworks(was)
	m.start(t)
}

// drawCall returns a call to begin; it reports whether it takes something back.
func (m *machine) drawCall(t *rapid.T) func(context.Context, *called) bool {
	a := m.Allocator
	if len(m.model.handles) == 0 || rapid.IntRange(0, 5).Draw(t, "call") == 0 {
		spec, _, _ := drawPool(t)
		return func(ctx context.Context, c *called) bool {
			go func() { _, c.err = a.RequestPool(ctx, spec); c.done = true }()
			return false
		}
	}
	h := m.drawHandle(t)
	spec, ip := m.drawAddress(t, h), m.drawIP(t, h.subnet)
	switch rapid.IntRange(0, 5).Draw(t, "of an address") {
	case 0:
		return func(ctx context.Context, c *called) bool {
			go func() { c.err = a.ReleasePool(ctx, h.id); c.done = true }()
			return true
		}
	case 1, 2:
		return func(ctx context.Context, c *called) bool {
			go func() { c.err = a.ReleaseAddress(ctx, h.id, ip); c.done = true }()
			return true
		}
	}
	return func(ctx context.Context, c *called) bool {
		c.spec = spec
		go func() { c.got, c.err = a.RequestAddress(ctx, spec); c.done = true }()
		return false
	}
}

// checkGranted sees that every address that was granted is the asker's alone.
// What looks like a repeated request may have got the same answer.
func (m *machine) checkGranted(t *rapid.T, calls []*called) {
	granted := map[netip.Prefix]AddressSpec{}
	for _, c := range calls {
		if c.spec.Pool == "" || c.err != nil {
			continue
		}
		h := m.model.handles[c.spec.Pool]
		repeatable := c.spec.Gateway || m.model.network[h.subnet]
		a := m.model.addrs[h.subnet][c.got.Addr()]
		if !a.inUse() || a.handle != h.id || a.engine != c.spec.Engine || !repeatable && a.name != c.spec.Name {
			t.Fatalf("%s was granted to %+v, but the store says %+v", c.got, c.spec, a)
		}
		if other, ok := granted[c.got]; ok && !repeatable {
			t.Fatalf("%s was granted to %+v and %+v", c.got, other, c.spec)
		}
		granted[c.got] = c.spec
	}
}
