package trace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// liveTable holds the rules that choose the packets to be watched, in a table of
// their own: they decide nothing.
const liveTable = "fairway-trace"

// An Event is what one rule did with a packet, as the kernel tells it
// (nft_trace_notify).
type Event struct {
	Packet  uint32 // which one, by a number of the kernel's
	Where   string // "inet fairway to-nat"
	Handle  uint64 // of the rule; 0 for a chain's policy
	Rule    string // its comment
	Verdict string // "accept", "drop", "jump to-nat", "continue"
	In, Out string // links
}

// Watch has the kernel tell of packets like p, whatever their source port, and of
// any source if p has none, until ctx ends, and calls tell for each rule that one
// meets. Only packets that the host routes, sends or takes are seen, and only
// rules of nftables, with those of iptables-nft.
func (w *World) Watch(ctx context.Context, p Packet, tell func(Event)) (err error) {
	events, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("trace: open netlink: %w", err)
	}
	defer events.Close()
	if err := events.JoinGroup(unix.NFNLGRP_NFTRACE); err != nil {
		return fmt.Errorf("trace: listen: %w", err)
	}
	if err := choose(p); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chooseNone()) }()
	for ctx.Err() == nil {
		if err := events.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		messages, err := events.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return fmt.Errorf("trace: read events: %w", err)
		}
		for _, m := range messages {
			if e, ok := w.event(m); ok {
				tell(e)
			}
		}
	}
	return nil
}

// choose makes the table: nftrace is set for packets like p before any other rule
// sees them.
func choose(p Packet) error {
	if err := chooseNone(); err != nil { // of a run that was killed
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("trace: open netlink: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Name: liveTable, Family: nftables.TableFamilyINet})
	priority := nftables.ChainPriority(-350)
	for name, hook := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
		chain := conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: like(p)})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("trace: make table inet %s: %w", liveTable, err)
	}
	return nil
}

// like are the expressions of a rule that sets nftrace for packets like p.
func like(p Packet) []expr.Any {
	const reg = unix.NFT_REG_1
	same := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
	proto, source, target, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16), uint32(4)
	if p.Is6() {
		proto, source, target, size = unix.NFPROTO_IPV6, 8, 24, 16
	}
	header := func(offset uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
	}
	out := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, same([]byte{proto}),
		header(target), same(p.Dst.AsSlice()),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, same([]byte{p.Proto}),
	}
	if p.Src.IsValid() {
		out = append(out, header(source), same(p.Src.AsSlice()))
	}
	if p.DstPort != 0 {
		out = append(out, &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			same(binary.BigEndian.AppendUint16(nil, p.DstPort)))
	}
	return append(out, &expr.Immediate{Register: reg, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: reg})
}

// chooseNone removes the table, if it is there.
func chooseNone() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("trace: open netlink: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: liveTable, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("trace: remove table inet %s: %w", liveTable, err)
	}
	return nil
}

// Attributes of a trace: linux/netfilter/nf_tables.h, enum nft_trace_attributes.
const (
	traceTable   = 1
	traceChain   = 2
	traceHandle  = 3
	traceVerdict = 5
	traceID      = 6
	traceIIF     = 10
	traceOIF     = 12
	tracePolicy  = 16

	messageTrace = unix.NFNL_SUBSYS_NFTABLES<<8 | 17 // NFT_MSG_TRACE
)

// event reads a message; ok is false for what isn't of a rule or policy.
func (w *World) event(m netlink.Message) (e Event, ok bool) {
	if m.Header.Type != messageTrace || len(m.Data) < 4 {
		return e, false
	}
	family := nftables.TableFamily(m.Data[0])
	d, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return e, false
	}
	d.ByteOrder = binary.BigEndian
	table, chain := "", ""
	for d.Next() {
		switch d.Type() {
		case traceTable:
			table = d.String()
		case traceChain:
			chain = d.String()
		case traceHandle:
			e.Handle = d.Uint64()
		case traceVerdict:
			v := verdictOf(nftables.SetElement{Val: d.Bytes()})
			e.Verdict = strings.TrimSpace(verdictName(v.Kind) + " " + v.Chain)
		case tracePolicy:
			e.Verdict = "policy " + verdictName(expr.VerdictKind(int32(d.Uint32())))
		case traceID:
			e.Packet = d.Uint32()
		case traceIIF:
			e.In = w.nameOf(int(d.Uint32()))
		case traceOIF:
			e.Out = w.nameOf(int(d.Uint32()))
		}
	}
	k := nameKey{tableKey{family, table}, chain}
	e.Where = k.String()
	if c := w.Rules.nft.chains[k]; c != nil {
		for _, r := range c.rules {
			if r.Handle == e.Handle {
				_, what, _ := strings.Cut(commentOf(r), " ")
				e.Rule = what
			}
		}
	}
	return e, d.Err() == nil && table != liveTable && table != ""
}

func verdictName(k expr.VerdictKind) string {
	switch k {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictJump:
		return "jump"
	case expr.VerdictGoto:
		return "goto"
	case expr.VerdictReturn:
		return "return"
	case expr.VerdictContinue:
		return "continue"
	}
	return fmt.Sprintf("verdict %d", k)
}
