// Package guard keeps containers from playing the router for their neighbours
// on a bridge.
package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

const (
	tableName = "fairway"
	chainName = "forward"

	routerAdvertisement = 134 // ICMPv6 type, RFC 4861 section 4.2
	every               = 30 * time.Second
)

// A Guard drops router advertisements that come in by a port named
// nat.GuardedPort, before the bridge passes them on (RFC 6105): one rule,
// however many ports there are. It is a table of nftables(8) in the
// bridge family, whatever the firewall is otherwise made with: iptables sees
// bridged packets only where br_netfilter is on.
type Guard struct {
	instance string // in the rule's comment
	log      logrus.FieldLogger
}

// New returns a guard that hasn't done anything yet.
func New(instance string, log logrus.FieldLogger) *Guard { return &Guard{instance, log} }

// Set makes the kernel hold the guard's table and nothing else in it. It is an
// error if the kernel has no nftables for bridges.
func (g *Guard) Set() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge}
	c.AddTable(table)
	c.DelTable(table) // what was in it; one transaction, so that nothing passes meanwhile
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: chainName, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(g.rule(table, chain))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("guard: set table bridge %s: %w", tableName, err)
	}
	return nil
}

// rule is: iifname "fwv*" meta protocol ip6 meta l4proto ipv6-icmp icmpv6 type
// nd-router-advert counter drop.
func (g *Guard) rule(table *nftables.Table, chain *nftables.Chain) *nftables.Rule {
	equal := func(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	return &nftables.Rule{
		Table: table, Chain: chain,
		UserData: userdata.AppendString(nil, userdata.TypeComment, "fairway:"+g.instance+" router advertisements of containers"),
		Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			equal([]byte(nat.GuardedPort)...), // as far as it goes
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			equal(binaryutil.BigEndian.PutUint16(unix.ETH_P_IPV6)...),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, // behind extension headers, too
			equal(unix.IPPROTO_ICMPV6),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			equal(routerAdvertisement),
			&expr.Counter{},
			&expr.Verdict{Kind: expr.VerdictDrop},
		},
	}
}

// whole reports whether the kernel holds the rule.
func (g *Guard) whole() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("guard: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge}
	rules, err := c.GetRules(table, &nftables.Chain{Name: chainName, Table: table})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("guard: read table bridge %s: %w", tableName, err)
	}
	return len(rules) == 1, nil
}

// Run sets the table again where somebody flushed it, until the context ends.
func (g *Guard) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			g.Repair()
		}
	}
}

// Repair sets the table again if somebody flushed it, logs that, and reports
// whether it was so.
func (g *Guard) Repair() (found bool) {
	whole, err := g.whole()
	if err == nil && !whole {
		g.log.Warn("repaired: the table that drops router advertisements was gone")
		found, err = true, g.Set()
	}
	if err != nil {
		g.log.Warn(err)
	}
	return found
}
