package overlay

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// A Filter lets VXLAN of the host's segments come and pass only from hosts that
// have the segment: table inet fairway-overlay of nftables. The rules are always
// the same; segments and hosts are elements of hash sets.
//
// What comes to this host must be from such a host. So must what this host passes
// on: a container that sends to the VXLAN port of another host would have, by
// masquerading, this host's address there. That is seen before the address is
// translated, and holds for all containers of the host, whoever runs them. VNIs
// that aren't fairway's, as Swarm's, are not looked at.
//
// Headers are whole: the kernel puts fragments together before, for what comes to
// the host in IPv4 by itself, else since connections are tracked (package nat).
type Filter struct {
	opts  nat.Options
	table *nftables.Table
	mu    sync.Mutex
	conn  *nftables.Conn       // lasting: to close one after a deletion waits 10 ms for the kernel; nil after an error
	want  map[uint32]admission // by VNI
	known bool                 // the kernel holds want, as far as f left it so
	begun bool                 // what an earlier daemon left is in want

	between *nftables.Table // see Groups
	crosses *bool           // nil: nobody has said
}

// An admission is which hosts may send a segment, and to which UDP port.
type admission struct {
	port   uint16
	bridge string // whose TCP connections agree on what their way takes
	hosts  []netip.Addr
	open   bool // false: an earlier daemon said so, and nobody since
}

// The names of what the table holds, as nft shows them.
const (
	tableName    = "fairway-overlay"
	setSegments  = "segments"
	setMembers   = "members"
	setBridges   = "bridges"
	chainInput   = "input"
	chainForward = "forward"
	chainVXLAN   = "vxlan"
)

// priority is before other filters: NF_IP_PRI_RAW is -300.
const priority = -300

// NewFilter returns a Filter that has applied nothing yet.
func NewFilter(opts nat.Options) (*Filter, error) {
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	return &Filter{
		opts: opts, want: map[uint32]admission{},
		table:   &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet},
		between: &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge},
	}, nil
}

// Open lets nobody send a segment, until Set says who may; but for hosts that
// could when an earlier daemon ended: traffic goes on while this one starts.
func (f *Filter) Open(_ context.Context, seg Segment) error {
	return f.change(func() {
		a := f.want[seg.VNI]
		if a.port != seg.Port {
			a = admission{port: seg.Port}
		}
		a.bridge, a.open = seg.Bridge, true
		f.want[seg.VNI] = a
	})
}

// Set says which hosts may send a segment, in place of those before.
func (f *Filter) Set(_ context.Context, seg Segment, hosts []netip.Addr) error {
	hosts = slices.SortedFunc(slices.Values(hosts), netip.Addr.Compare)
	return f.change(func() { f.want[seg.VNI] = admission{seg.Port, seg.Bridge, hosts, true} })
}

// Remove forgets a segment. With the last one the table goes.
func (f *Filter) Remove(_ context.Context, vni uint32) error {
	return f.change(func() {
		delete(f.want, vni)
		for _, a := range f.want {
			if a.open {
				return
			}
		}
		clear(f.want)
	})
}

// change writes what differs after do, in one transaction.
func (f *Filter) change(do func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(); err != nil {
		return err
	}
	before := elements(f.want)
	do()
	after := elements(f.want)
	if f.known && maps.Equal(before, after) {
		return nil
	}
	if f.known && len(f.want) > 0 {
		conn, err := f.lasting()
		if err != nil {
			return err
		}
		f.difference(conn, before, after)
		f.opts.Step("overlay.filter elements")
		if err := conn.Flush(); err == nil {
			return nil
		}
		f.hangUp()
		f.opts.Log.Warn("overlay: table inet " + tableName + " was not as left, writing all of it")
	}
	return f.whole()
}

// lasting returns the connection, a new one after an error.
func (f *Filter) lasting() (*nftables.Conn, error) {
	if f.conn == nil {
		c, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return nil, fmt.Errorf("overlay: open netlink: %w", err)
		}
		f.conn = c
	}
	return f.conn, nil
}

// hangUp drops the connection: answers may still wait in it.
func (f *Filter) hangUp() {
	f.known = false
	if f.conn != nil {
		_ = f.conn.CloseLasting()
		f.conn = nil
	}
}

// Close ends the use of f. Its table stays.
func (f *Filter) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangUp()
}

// An element is of a set, with its key as the kernel has it.
type element struct {
	set, key string
	vni      uint32 // of a bridge; in its comment
}

// elements returns what the sets hold. Each part of a key takes whole words of
// four bytes; a VNI is as on the wire, with the reserved byte behind it 0.
func elements(want map[uint32]admission) map[element]bool {
	out := map[element]bool{}
	for vni, a := range want {
		number := string([]byte{byte(vni >> 16), byte(vni >> 8), byte(vni), 0})
		out[element{set: setSegments, key: string([]byte{byte(a.port >> 8), byte(a.port), 0, 0}) + number}] = true
		for _, h := range a.hosts {
			out[element{set: membersOf(h.Is6()), key: number + string(h.AsSlice())}] = true
		}
		if a.bridge != "" {
			out[element{setBridges, a.bridge + string(make([]byte, max(0, unix.IFNAMSIZ-len(a.bridge)))), vni}] = true
		}
	}
	return out
}

// comment says what nft shows as a number of the host's byte order.
func (e element) comment() string {
	switch e.set {
	case setSegments:
		return fmt.Sprintf(vniComment, uint32(e.key[4])<<16|uint32(e.key[5])<<8|uint32(e.key[6]))
	case setBridges:
		return fmt.Sprintf(vniComment, e.vni)
	}
	return ""
}

const vniComment = "VNI %d"

func membersOf(v6 bool) string {
	if v6 {
		return setMembers + "6"
	}
	return setMembers + "4"
}

// perMessage is how many elements go in one message: the length of an attribute
// has 16 bits.
const perMessage = 400

// difference adds what takes the sets from before to after to what conn sends.
func (f *Filter) difference(conn *nftables.Conn, before, after map[element]bool) {
	for _, name := range []string{setSegments, membersOf(false), membersOf(true), setBridges} {
		var gone, put []nftables.SetElement
		for e := range before {
			if e.set == name && !after[e] {
				gone = append(gone, nftables.SetElement{Key: []byte(e.key)})
			}
		}
		for e := range after {
			if e.set == name && !before[e] {
				put = append(put, nftables.SetElement{Key: []byte(e.key), Comment: e.comment()})
			}
		}
		set := &nftables.Set{Table: f.table, Name: name}
		for part := range slices.Chunk(put, perMessage) { // the errors are of intervals and maps
			_ = conn.SetAddElements(set, part)
		}
		for part := range slices.Chunk(gone, perMessage) {
			_ = conn.SetDeleteElements(set, part)
		}
	}
}

// whole writes the table in place of what there is, in one transaction; without
// segments there is none. The caller has the lock.
func (f *Filter) whole() error {
	conn, err := f.lasting()
	if err != nil {
		return err
	}
	f.known = false
	conn.AddTable(f.table)
	conn.DelTable(f.table)
	if len(f.want) > 0 {
		conn.AddTable(f.table)
		for _, s := range f.sets() {
			if err := conn.AddSet(s, nil); err != nil {
				return fmt.Errorf("overlay: set %s: %w", s.Name, err)
			}
		}
		f.addChains(conn, f.table, chains())
		f.difference(conn, nil, elements(f.want))
	}
	f.opts.Step("overlay.filter table")
	if err := conn.Flush(); err != nil {
		f.hangUp()
		return fmt.Errorf("overlay: set table inet %s: %w", tableName, err)
	}
	f.known = true
	return nil
}
