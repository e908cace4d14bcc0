package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

const (
	tableName      = "fairway-names"
	chainQuestions = "questions"
	chainTCP       = "tcp"
	setBridges     = "bridges"
	setGateways    = "gateways"
)

// rules hand questions to this process: table inet fairway-names of nftables. Who
// calls must see to it that this is one at a time.
type rules struct {
	comment string // marks them
	compat  bool   // the queue by xtables' NFQUEUE (nft_compat): the kernel has no nft_queue
	made    bool   // the kernel held want when it was last looked at
	want    wanted
}

// wanted is what the rules say.
type wanted struct {
	queue   uint16
	bridges map[string][]netip.Addr // and the gateways on them
}

// make makes the table what is wanted. Repaired says that somebody else had
// changed it.
func (r *rules) make(want wanted) (repaired bool, err error) {
	same := r.made && r.want.equal(want)
	if same {
		ok, err := r.intact()
		if ok || err != nil {
			return false, err
		}
	}
	r.made = false
	if err = r.write(want); errors.Is(err, fs.ErrNotExist) {
		r.compat = !r.compat
		err = r.write(want)
	}
	if err != nil {
		return false, fmt.Errorf("resolver: set table inet %s: %w", tableName, err)
	}
	r.made, r.want = true, want
	return same, nil
}

// remove removes the table, if there is one.
func (r *rules) remove() error {
	r.made = false
	return Drop()
}

// Drop removes the rules, whoever left them.
func Drop() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("resolver: open netlink: %w", err)
	}
	t := table()
	there, err := conn.ListTablesOfFamily(t.Family)
	if err == nil && slices.ContainsFunc(there, func(t *nftables.Table) bool { return t.Name == tableName }) {
		conn.DelTable(t)
		err = conn.Flush()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("resolver: remove table inet %s: %w", tableName, err)
	}
	return nil
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

func (w wanted) equal(o wanted) bool {
	return w.queue == o.queue && maps.EqualFunc(w.bridges, o.bridges, slices.Equal)
}

// intact reports whether the kernel has as many rules and elements as were
// written, with our comment.
func (r *rules) intact() (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("resolver: open netlink: %w", err)
	}
	t := table()
	gone := func(err error) (bool, error) {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fmt.Errorf("resolver: read table inet %s: %w", tableName, err)
	}
	for _, c := range r.chains(r.want.queue) {
		found, err := conn.GetRules(t, &nftables.Chain{Table: t, Name: c.name})
		if err != nil {
			return gone(err)
		}
		if !slices.EqualFunc(found, c.rules, func(a *nftables.Rule, b rule) bool {
			comment, _ := userdata.GetString(a.UserData, userdata.TypeComment)
			return comment == r.comment+" "+b.comment && len(a.Exprs) == len(b.exprs)
		}) {
			return false, nil
		}
	}
	for name, keys := range r.want.elements() {
		have, err := conn.GetSetElements(&nftables.Set{Table: t, Name: name})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return gone(err)
		}
		there := map[string]bool{}
		for _, e := range have {
			there[string(e.Key)] = true
		}
		if !maps.Equal(there, keys) {
			return false, nil
		}
	}
	return true, nil
}

// elements returns the keys of each set.
func (w wanted) elements() map[string]map[string]bool {
	out := map[string]map[string]bool{setBridges: {}, gatewaysOf(false): {}, gatewaysOf(true): {}}
	for bridge, gateways := range w.bridges {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, bridge)
		out[setBridges][string(name)] = true
		for _, g := range gateways {
			out[gatewaysOf(g.Is6())][string(name)+string(g.AsSlice())] = true
		}
	}
	return out
}

func gatewaysOf(v6 bool) string {
	if v6 {
		return setGateways + "6"
	}
	return setGateways + "4"
}

// write writes the table in place of what there is, in one transaction.
func (r *rules) write(want wanted) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	t := conn.AddTable(table())
	conn.DelTable(t)
	conn.AddTable(t)
	elements := want.elements()
	for name, key := range map[string]nftables.SetDatatype{
		setBridges:        nftables.TypeIFName,
		gatewaysOf(false): nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr),
		gatewaysOf(true):  nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr),
	} {
		var all []nftables.SetElement
		for k := range elements[name] {
			all = append(all, nftables.SetElement{Key: []byte(k)})
		}
		if err := conn.AddSet(&nftables.Set{Table: t, Name: name, KeyType: key, KeyByteOrder: binaryutil.NativeEndian, Concatenation: name != setBridges}, all); err != nil {
			return err
		}
	}
	for _, c := range r.chains(want.queue) {
		made := conn.AddChain(&nftables.Chain{
			Name: c.name, Table: t, Type: c.kind, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(c.priority),
		})
		for _, rule := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table: t, Chain: made, Exprs: rule.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment+" "+rule.comment),
			})
		}
	}
	return conn.Flush()
}

// A chain is a base chain of the table: what comes, before it is routed.
type chain struct {
	name     string
	kind     nftables.ChainType
	priority nftables.ChainPriority
	rules    []rule
}

// A rule says what it is for.
type rule struct {
	comment string
	exprs   []expr.Any
}

// The registers: keys of sets are in a row of them.
const (
	reg    = unix.NFT_REG_1
	second = unix.NFT_REG_2
)

// chains returns what there is beside the sets. Questions are taken before they are
// tracked, and TCP to a gateway is translated before what the host publishes is.
func (r *rules) chains(queue uint16) []chain {
	question := append(port(unix.IPPROTO_UDP), incoming(), &expr.Lookup{SourceRegister: reg, SetName: setBridges}, toQueue(queue, r.compat))
	tcp := func(family byte, offset, width uint32) rule {
		exprs := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{family}},
		}
		return rule{"questions by TCP to gateways, likewise", append(append(exprs, port(unix.IPPROTO_TCP)...), incoming(),
			&expr.Payload{DestRegister: second, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: width},
			&expr.Lookup{SourceRegister: reg, SetName: gatewaysOf(family == unix.NFPROTO_IPV6)},
			&expr.Immediate{Register: reg, Data: binary.BigEndian.AppendUint16(nil, tcpPort)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegProtoMin: reg, Specified: true})}
	}
	return []chain{
		{chainQuestions, nftables.ChainTypeFilter, *nftables.ChainPriorityRaw, []rule{{"questions of containers, to the daemon if it runs", question}}},
		{chainTCP, nftables.ChainTypeNAT, *nftables.ChainPriorityNATDest - 1, []rule{tcp(unix.NFPROTO_IPV4, 16, 4), tcp(unix.NFPROTO_IPV6, 24, 16)}},
	}
}

// port matches what is for port 53 of a protocol.
func port(protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{protocol}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{0, dnsPort}},
	}
}

func incoming() expr.Any { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg} }

// toQueue hands a packet to a queue; with nobody there it goes on.
func toQueue(number uint16, compat bool) expr.Any {
	if !compat {
		return &expr.Queue{Num: number, Total: 1, Flag: expr.QueueFlagBypass}
	}
	// struct xt_NFQ_info_v3, padded: number, how many, flags (1 is bypass), in the
	// host's byte order.
	info := xt.Unknown(binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, number), 1), 1))
	info = append(info, 0, 0)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}
