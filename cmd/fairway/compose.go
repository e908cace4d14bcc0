package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/dhcp"
	"fairway/driver"
	"fairway/engine"
	"fairway/ipam"
	"fairway/link"
	"fairway/nat"
	"fairway/nat/nftables"
	"fairway/nat/proxy"
	"fairway/nat/unroutable"
	"fairway/store"
	"fairway/watch"
)

// compose builds the daemon's parts from the real packages: the one place that
// knows them all. What it opens, parts.close closes; what it returns an error
// for, it has closed itself. Committed is told of the store's commits. It starts
// nothing: what runs is a task.
func compose(ctx context.Context, c config, log logrus.FieldLogger, committed func(time.Duration)) (p parts, err error) {
	var open closers
	defer func() {
		if err != nil {
			err = errors.Join(err, open.Close())
		}
	}()
	step := stepHook()
	namespace, err := link.LockNamespace(log)
	if err != nil {
		return p, err
	}
	open.add(namespace.Close)
	records, err := store.Open(c.StateDir, store.Options{Step: step, Committed: committed, Log: log})
	if err != nil {
		return p, err
	}
	open.add(records.Close)
	all, err := records.Records()
	if err != nil {
		return p, err
	}
	kernel, err := link.New(link.Options{Instance: records.Instance(), Log: log, Step: step})
	if err != nil {
		return p, err
	}
	open.add(kernel.Close)
	firewall, zone, err := newFirewall(ctx, c, records.Instance(), log, step)
	if err != nil {
		return p, err
	}
	open.add(firewall.Close)
	sentry, err := newGuard(records.Instance(), log, step)
	if err != nil {
		return p, err
	}
	var d *driver.Driver
	carrier, err := proxy.New(proxy.Options{
		Allow: func(link string, client, container netip.Addr) (bool, bool) {
			return d.MayCarry(link, client, container)
		}, Log: log,
	})
	if err != nil {
		return p, err
	}
	open.add(carrier.Close)
	ports := nat.NewPorts(step, carrier)
	open.add(ports.Close)

	leases := dhcp.New(dhcp.Options{Store: records, Instance: records.Instance(), Log: log}, all)
	span, err := newOverlays(c, records, all, kernel, log, step)
	if err != nil {
		return p, err
	}
	var watcher *engine.Watcher
	pools, err := ipam.New(ipam.Options{
		Store: records, Pools: c.pools(), Instance: records.Instance(), Leases: leases, Segments: span.segments(), Log: log,
		HostSubnets: func(ctx context.Context) ([]netip.Prefix, error) { return takenSubnets(ctx, kernel, d) },
		Stale: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return d.Abandoned(ctx, space, subnet, ip)
		},
		Alive: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return d.Alive(ctx, space, subnet, ip)
		},
		Taken: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr, mac net.HardwareAddr) string {
			return d.TakenOnLAN(ctx, space, subnet, ip, mac)
		},
	}, all)
	if err != nil {
		return p, err
	}
	opts := driver.Options{
		Instance: records.Instance(), Modes: modes(records.Instance(), kernel, overlayMode{span.host, span.settle}), Changed: span.changed,
		Store: records, Kernel: kernel, Firewall: firewall, Ports: ports, Connections: nat.Connections{}, Pools: pools,
		Sandboxes: nftables.NewInside(records.Instance(), step), Autoconf: kernel,
		HostIPv6: nat.HasIPv6(), IPForward: c.IPForward, Refresh: func() { watcher.Refresh() },
		Look: func(ctx context.Context) error { return watcher.Look(ctx) }, Log: log,
	}
	if sentry != nil {
		opts.Guard = sentry
		open.add(sentry.Close)
	}
	d, err = driver.New(opts, all)
	if err != nil {
		return p, fmt.Errorf("%s: %w", c.StateDir, err)
	}
	open.add(d.Close)
	span.driver, span.pools = d, pools
	changes, err := watchKernel(records.Instance(), d, log)
	if err != nil {
		return p, err
	}
	open.add(changes.Close)
	watcher = engine.New(engine.Options{Socket: c.DockerSocket, Log: log, Asked: d.LiveContainers, Handle: observe(d, pools, leases, log)})
	shown := operated{d, sentry, leases, backendName(firewall.Backend), log}
	looks := newExaminer(c, log)
	measure := measured{shown, kernel, pools, records, span, looks}
	return parts{
		backup: records.Backup, measured: measure, carried: measure.carried,
		networks: d, addresses: pools, records: shown, publisher: d, peerEngine: engine.PeerEngine,
		restore: d.Restore, repair: d.Reconcile,
		cluster: span.shown(c),
		tasks: append(span.tasks(), []task{
			{"driver", d.Run},
			{"DHCP", leases.Run},
			{"watch Docker", watcher.Run},
			{"watch the kernel", changes.Run},
			{"guard", shown.watchGuard},
			{"firewalld", zone.Run},
			{"proxy", carrier.Run},
			{"doctor", looks.run},
			{"reclaim addresses", reclaim(pools, log)},
			{"back up", func(ctx context.Context) error { return records.BackupEvery(ctx, time.Hour) }},
		}...),
		apply: func(c config) error { return pools.SetDefaultPools(c.pools()) },
		close: open.Close,
	}, nil
}

// watchKernel makes what has harm by others repaired at once.
func watchKernel(instance string, d *driver.Driver, log logrus.FieldLogger) (*watch.Watcher, error) {
	return watch.New(watch.Options{
		Instance: instance, RuleProtocol: unroutable.Protocol, Wanted: d.Wants, Parent: d.IsParent, Log: log,
		Links: look(log, d.Reconcile), Firewall: look(log, d.RepairFirewall),
	})
}

// look returns a repair as a watcher calls it: its errors are for the log.
func look(log logrus.FieldLogger, repair func(context.Context) (int, error)) func(context.Context) bool {
	return func(ctx context.Context) bool {
		repaired, err := repair(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error(err)
		}
		return repaired > 0
	}
}

// takenSubnets returns the subnets that automatic pools keep clear of: those of
// the host's routes, and those of fairway's networks, whoever their IPAM is.
func takenSubnets(ctx context.Context, kernel *link.Conn, d *driver.Driver) ([]netip.Prefix, error) {
	taken, err := kernel.Subnets(ctx)
	for _, n := range d.Networks() {
		for _, s := range n.Subnets {
			if s.Prefix.Bits() > 0 {
				taken = append(taken, s.Prefix)
			}
		}
	}
	return taken, err
}

// pools returns the default address pools in ipam's form; nil for its own.
func (c config) pools() (out []ipam.DefaultPool) {
	for _, p := range c.DefaultPools {
		out = append(out, ipam.DefaultPool{Base: p.Base, Size: p.Size})
	}
	return out
}

// closers closes what was opened, the last one first.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

// Close closes everything.
func (c *closers) Close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
