package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"fairway/nat"
)

// A Guard holds the ports that it was last told in the kernel's table bridge
// fairway. Its methods may be called concurrently; they change the kernel one
// after the other.
type Guard struct {
	opts  nat.Options
	table *nftables.Table
	busy  chan struct{} // holds a token while the fields below are used

	conn  *nftables.Conn // lasting; nil after an error
	ports map[string]nat.Guarded
	gone  map[string]bool // those of ports that Sweep takes away
	users map[string]int  // of lists, by key
	known bool            // the kernel holds ports, as far as g left it so

	reading sync.Mutex
	reader  *nftables.Conn // for counts, likewise
}

// New returns a Guard that has applied nothing yet: Reconcile takes over what an
// earlier one left.
func New(opts nat.Options) (*Guard, error) {
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	return &Guard{
		opts: opts, table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge},
		busy: make(chan struct{}, 1), ports: map[string]nat.Guarded{}, gone: map[string]bool{}, users: map[string]int{},
	}, nil
}

// Probe reports why the kernel can't hold the table, nil if it can: it has one, or
// takes one like it under another name, which is deleted in the same transaction.
func Probe() error {
	g, err := New(nat.Options{Instance: "probe"})
	if err != nil {
		return err
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	tables, err := conn.ListTablesOfFamily(g.table.Family)
	if err == nil && slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return nil
	}
	g.table.Name += "-probe"
	if err = g.whole(conn, contentOf(nil)); err == nil {
		conn.DelTable(g.table)
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("guard: the kernel takes no such table: %w", err)
	}
	return nil
}

// buffer is how much one transaction may take, in bytes: 10,000 ports are 5 MB.
const buffer = 32 << 20

func dial(opts ...nftables.ConnOption) (*nftables.Conn, error) {
	c, err := nftables.New(append(opts, nftables.WithSockOptions(
		func(c *netlink.Conn) error { return c.SetWriteBuffer(buffer) },
		func(c *netlink.Conn) error { return c.SetReadBuffer(buffer) },
	))...)
	if err != nil {
		return nil, fmt.Errorf("guard: open netlink: %w", err)
	}
	return c, nil
}

// Apply lets ports send from what is theirs, in place of what they could
// before, in one transaction. It may be repeated. If it fails, the kernel holds
// what it held before.
func (g *Guard) Apply(ctx context.Context, put ...nat.Guarded) error {
	d := map[string]*nat.Guarded{}
	for _, p := range put {
		if err := p.Check(); err != nil {
			return err
		}
		d[p.Port] = &p
	}
	if err := g.lock(ctx); err != nil {
		return err
	}
	defer g.unlock()
	return g.change(d)
}

// Remove says that ports are gone, by their names. It may be repeated. Sweep
// takes them out of the kernel, many at once: for some 10 ms after it was told
// to delete an element, the kernel lets whoever closes a netfilter socket wait,
// and all changes behind him (nft_rcv_nl_event).
func (g *Guard) Remove(ctx context.Context, gone ...nat.Guarded) error {
	if err := g.lock(ctx); err != nil {
		return err
	}
	defer g.unlock()
	for _, p := range gone {
		if _, there := g.ports[p.Port]; there {
			g.gone[p.Port] = true
		}
	}
	return nil
}

// Sweep takes the ports that were removed out of the kernel, in one transaction.
// One that is still there can send nothing from then on.
func (g *Guard) Sweep(ctx context.Context) error {
	if err := g.lock(ctx); err != nil {
		return err
	}
	defer g.unlock()
	d := map[string]*nat.Guarded{}
	for port := range g.gone {
		d[port] = nil
	}
	return g.change(d)
}

// change makes d so. The caller holds the lock.
func (g *Guard) change(d map[string]*nat.Guarded) error {
	if len(d) == 0 {
		return nil
	}
	undo, from, to := g.swap(d)
	if g.known {
		err := g.write(from, to)
		if err == nil {
			g.forget(d)
			return nil
		}
		g.opts.Log.WithError(err).Warn("guard: the table was not as left, comparing all")
	}
	_, err := g.equalize()
	if err != nil { // a transaction: nothing of it is there
		g.swap(undo)
		return err
	}
	g.forget(d)
	return nil
}

// forget remembers of the ports in d that they aren't to be swept away.
func (g *Guard) forget(d map[string]*nat.Guarded) {
	for port := range d {
		delete(g.gone, port)
	}
}

// swap makes the ports what d says; nil takes one away. It returns what takes
// that back, and the content that goes and comes with it.
func (g *Guard) swap(d map[string]*nat.Guarded) (undo map[string]*nat.Guarded, from, to content) {
	undo, from, to = map[string]*nat.Guarded{}, contentOf(nil), contentOf(nil)
	touched := map[string]list{}
	before := map[string]int{}
	use := func(p nat.Guarded, n int) {
		if len(p.Prefixes) == 0 {
			return
		}
		l := listOf(p.Prefixes)
		if _, seen := touched[l.key]; !seen {
			touched[l.key], before[l.key] = l, g.users[l.key]
		}
		if g.users[l.key] += n; g.users[l.key] == 0 {
			delete(g.users, l.key)
		}
	}
	for name, put := range d {
		was, there := g.ports[name]
		if there {
			undo[name] = &was
			use(was, -1)
			maps.Copy(from.elements, elementsOf(&was))
			delete(g.ports, name)
		} else {
			undo[name] = nil
		}
		if put != nil {
			g.ports[name] = *put
			use(*put, 1)
			maps.Copy(to.elements, elementsOf(put))
		}
	}
	for key, l := range touched {
		switch had, has := before[key] > 0, g.users[key] > 0; {
		case has && !had:
			to.lists[key] = l
			maps.Copy(to.elements, l.elements())
		case had && !has:
			from.lists[key] = l
		}
	}
	return undo, from, to
}

// write takes the table from one content to another in one transaction.
func (g *Guard) write(from, to content) error {
	lists := len(from.lists)+len(to.lists) > 0
	if !lists && reflect.DeepEqual(from.elements, to.elements) {
		return nil
	}
	conn, err := g.lasting()
	if lists && err == nil {
		conn, err = dial() // the kernel echoes rules
	}
	if err != nil {
		return err
	}
	g.opts.Step("guard.elements")
	if err = g.step(conn, from, to); err == nil {
		err = conn.Flush()
	}
	if err != nil {
		g.hangUp()
		return fmt.Errorf("guard: change elements of table bridge %s: %w", tableName, err)
	}
	return nil
}

// Close sweeps and ends the use of g. Its table stays.
func (g *Guard) Close() error {
	err := g.Sweep(context.Background())
	g.busy <- struct{}{}
	defer g.unlock()
	g.hangUp()
	g.reading.Lock()
	defer g.reading.Unlock()
	if g.reader != nil {
		err = errors.Join(err, g.reader.CloseLasting())
		g.reader = nil
	}
	return err
}

// lasting returns the connection, a new one after an error.
func (g *Guard) lasting() (*nftables.Conn, error) {
	if g.conn == nil {
		var err error
		if g.conn, err = dial(nftables.AsLasting()); err != nil {
			return nil, err
		}
	}
	return g.conn, nil
}

// hangUp drops the connection: answers may still wait in it.
func (g *Guard) hangUp() {
	g.known = false
	if g.conn != nil {
		_ = g.conn.CloseLasting()
		g.conn = nil
	}
}

func (g *Guard) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	select {
	case g.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("guard: wait for another change: %w", ctx.Err())
	}
}

func (g *Guard) unlock() { <-g.busy }
