package overlay

import (
	"context"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where multicast crosses hosts, some of what is for many still doesn't: table
// bridge fairway-overlay drops it on its way to any VXLAN of ours. ARP and neighbour
// discovery are answered on the container's own host. The bridge would hand on a
// solicitation that it has answered, since it is to a multicast group; and the
// gateway, which every host has, would be a duplicate of itself (RFC 4862). Each
// host asks its own containers for their groups, under that one address.

const (
	chainOutput   = "output"
	chainCrossing = "crossing"
	linkPrefix    = "fwx" // of what LinkOf returns
)

// The types of messages (RFC 2236, 2710, 4861).
const (
	igmpQuery     = 0x11
	mldQuery      = 130
	routerSolicit = 133
	redirect      = 137
)

func crossing() []chain {
	name := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte(linkPrefix)},
		&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainCrossing},
	}
	protocol := func(key expr.MetaKey, data ...byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}}
	}
	kind := func(l4 byte, low, high byte) []expr.Any {
		return append(protocol(expr.MetaKeyL4PROTO, l4),
			&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			&expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: []byte{low}, ToData: []byte{high}})
	}
	drop := func(of []expr.Any) []expr.Any { return append(of, &expr.Verdict{Kind: expr.VerdictDrop}) }
	return []chain{
		{name: chainCrossing, rules: []rule{
			{"to one", []expr.Any{
				&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseLLHeader, Offset: 0, Len: 1},
				&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{1}, Xor: []byte{0}},
				&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{0}}, &expr.Verdict{Kind: expr.VerdictAccept},
			}},
			{"ARP", drop(protocol(expr.MetaKeyPROTOCOL, unix.ETH_P_ARP>>8, unix.ETH_P_ARP&0xff))},
			{"neighbour discovery", drop(kind(unix.IPPROTO_ICMPV6, routerSolicit, redirect))},
			{"who wants which group, asked by a host of its own containers", drop(kind(unix.IPPROTO_ICMPV6, mldQuery, mldQuery))},
			{"who wants which group, asked by a host of its own containers", drop(kind(unix.IPPROTO_IGMP, igmpQuery, igmpQuery))},
		}},
		{name: chainForward, hook: nftables.ChainHookForward, rules: []rule{{"of containers, to other hosts", name}}},
		{name: chainOutput, hook: nftables.ChainHookOutput, rules: []rule{{"of the host, to other hosts", name}}},
	}
}

// Groups says whether multicast crosses hosts in any segment. Before it is called,
// what an earlier daemon left stays.
func (f *Filter) Groups(_ context.Context, cross bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crosses != nil && *f.crosses == cross {
		return nil
	}
	before := f.crosses
	f.crosses = &cross
	_, err := f.repairGroups()
	if err != nil {
		f.crosses = before
	}
	return err
}

// repairGroups makes table bridge fairway-overlay as it is to be, and says what was
// different. The caller has the lock.
func (f *Filter) repairGroups() (found []string, err error) {
	if f.crosses == nil {
		return nil, nil
	}
	conn, err := nftables.New() // one of its own, as in Repair
	if err != nil {
		return nil, fmt.Errorf("overlay: open netlink: %w", err)
	}
	there, err := isThere(conn, f.between)
	if err == nil && there && *f.crosses {
		found, err = f.compareChains(conn, f.between, crossing())
	}
	if err != nil {
		return nil, fmt.Errorf("overlay: read table bridge %s: %w", tableName, err)
	}
	switch {
	case there && !*f.crosses:
		found = append(found, "the table was not wanted")
	case !there && *f.crosses:
		found = append(found, "the table was missing")
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, f.writeGroups()
}

func (f *Filter) writeGroups() error {
	conn, err := f.lasting()
	if err != nil {
		return err
	}
	conn.AddTable(f.between)
	conn.DelTable(f.between)
	if *f.crosses {
		conn.AddTable(f.between)
		f.addChains(conn, f.between, crossing())
	}
	f.opts.Step("overlay.filter groups")
	if err := conn.Flush(); err != nil {
		f.hangUp()
		return fmt.Errorf("overlay: set table bridge %s: %w", tableName, err)
	}
	return nil
}
