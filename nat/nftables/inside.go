package nftables

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// Inside translates what comes to containers' own addresses, in tables of their
// sandboxes: one for each endpoint that has a part in it. It keeps nothing; the
// kernel's sockets are opened in a sandbox and used from outside.
type Inside struct {
	instance string
	step     func(string)
}

// NewInside returns one that marks what it makes as an instance's. Step is told
// of every change before it is made; it may be nil.
func NewInside(instance string, step func(string)) *Inside {
	if step == nil {
		step = func(string) {}
	}
	return &Inside{instance: instance, step: step}
}

// Apply makes ports all that is translated in a sandbox for an endpoint, in one
// transaction. Without any the table goes. It may be repeated. A sandbox that is
// gone is no error.
func (i *Inside) Apply(_ context.Context, sandbox, endpoint string, ports []nat.Port) error {
	c, done, err := dialInside(sandbox)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("nftables: sandbox %s: %w", sandbox, err)
	}
	defer done()
	table := insideTable(endpoint)
	c.AddTable(table)
	c.DelTable(table) // whatever there is
	if len(ports) > 0 {
		c.AddTable(table)
		chains, sets, f := insideContent(ports)
		if err := sendAll(c, table, sets, chains, f.elements, i.instance); err != nil {
			return fmt.Errorf("nftables: sandbox %s: %w", sandbox, err)
		}
	}
	i.step("nftables.inside")
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: sandbox %s: table inet %s: %w", sandbox, table.Name, err)
	}
	return nil
}

// Check says how what there is differs from ports; "" if it doesn't, or there is
// no sandbox.
func (i *Inside) Check(_ context.Context, sandbox, endpoint string, ports []nat.Port) (string, error) {
	c, done, err := dialInside(sandbox)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("nftables: sandbox %s: %w", sandbox, err)
	}
	defer done()
	table := insideTable(endpoint)
	have, there, err := read(c, table)
	switch {
	case err != nil:
		return "", fmt.Errorf("nftables: sandbox %s: read table inet %s: %w", sandbox, table.Name, err)
	case !there && len(ports) == 0:
		return "", nil
	case !there:
		return "table inet " + table.Name + " was missing", nil
	case len(ports) == 0:
		return "table inet " + table.Name + " was not wanted", nil
	}
	chains, sets, f := insideContent(ports)
	if found := repairs(have, contentOf(chains, sets, f, i.instance)); len(found) > 0 {
		return strings.Replace(found[0].What, tableName, table.Name, 1), nil
	}
	return "", nil
}

func dialInside(sandbox string) (c *nftables.Conn, done func(), err error) {
	ns, err := netns.GetFromPath(sandbox)
	if err != nil {
		return nil, nil, err
	}
	c, err = dial(nftables.AsLasting(), nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return nil, nil, errors.Join(err, ns.Close())
	}
	return c, func() { c.CloseLasting(); ns.Close() }, nil
}

func insideTable(endpoint string) *nftables.Table {
	return &nftables.Table{Name: tableName + "-" + endpoint[:min(12, len(endpoint))], Family: nftables.TableFamilyINet}
}

// insideContent returns what the table of an endpoint holds: ports by address,
// protocol and number, looked up for what comes in and for what the container
// itself sends to its own address.
func insideContent(ports []nat.Port) (chains []chain, own []*nftables.Set, f *fill) {
	f = newFill()
	for _, p := range ports {
		f.add(mapBound+suffix(p.Target.Is6()), bound(p.Host(), p.Proto, p.HostPort), value{data: string(addrPort(p.Target, p.TargetPort))})
	}
	for _, s := range sets() {
		if s.Name == mapBound+"4" || s.Name == mapBound+"6" {
			own = append(own, s)
		}
	}
	var rules []rule
	for _, v6 := range []bool{false, true} {
		rules = append(rules, mk("", family(v6), target(v6), match{lookUp(mapBound + suffix(v6))}, translate(expr.NATTypeDestNAT, v6, true)))
	}
	for name, hook := range map[string]*nftables.ChainHook{chainPrerouting: nftables.ChainHookPrerouting, chainOutput: nftables.ChainHookOutput} {
		chains = append(chains, chain{name: name, kind: nftables.ChainTypeNAT, hook: hook, priority: -100, rules: rules})
	}
	return chains, own, f
}
