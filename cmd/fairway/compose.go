package main

import (
	"context"
	"errors"
	"fmt"
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
	"fairway/nat/firewalld"
	"fairway/nat/guard"
	"fairway/nat/nftables"
	"fairway/nat/proxy"
	"fairway/store"
	"fairway/watch"
)

// compose builds the daemon's parts from the real packages: the one place that
// knows them all. What it opens, parts.close closes; what it returns an error
// for, it has closed itself. Committed is told of the store's commits. It starts
// nothing: what runs is a task.
func compose(ctx context.Context, c config, log logrus.FieldLogger, committed func(time.Duration)) (p parts, err error) {
	a := &assembly{config: c, log: log, step: stepHook(), committed: committed}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.open.Close())
		}
	}()
	for _, add := range []func(context.Context) error{
		a.openRecords, a.openKernel, a.makePorts, a.makePools, a.makeDriver, a.makeWatchers,
	} {
		if err := add(ctx); err != nil {
			return p, err
		}
	}
	return a.parts(), nil
}

// An assembly is the daemon's parts while they are put together. Some ask one that
// is made after them: they have a function that looks for it here, which nothing
// calls before all are made.
type assembly struct {
	config    config
	log       logrus.FieldLogger
	step      func(string)        // see stepHook
	committed func(time.Duration) // told of the store's commits
	open      closers

	records *store.Store
	all     store.Records // what it held at the start

	kernel   *link.Conn
	firewall *firewalld.Firewall
	zone     *firewalld.Zone
	guard    *guard.Guard // nil: the kernel has none

	carrier *proxy.Proxy
	ports   *nat.Ports

	leases   *dhcp.Client
	overlays *overlays
	pools    *ipam.Allocator

	driver  *driver.Driver
	changes *watch.Watcher  // of the kernel
	docker  *engine.Watcher // of Docker
}

// openRecords opens the store, once no other daemon serves this network namespace.
func (a *assembly) openRecords(context.Context) error {
	namespace, err := link.LockNamespace(a.log)
	if err != nil {
		return err
	}
	a.open.add(namespace.Close)
	a.records, err = store.Open(a.config.StateDir, store.Options{Step: a.step, Committed: a.committed, Log: a.log})
	if err != nil {
		return err
	}
	a.open.add(a.records.Close)
	a.all, err = a.records.Records()
	return err
}

// openKernel makes what changes links, rules and what containers may send.
func (a *assembly) openKernel(ctx context.Context) (err error) {
	instance := a.records.Instance()
	a.kernel, err = link.New(link.Options{Instance: instance, Log: a.log, Step: a.step})
	if err != nil {
		return err
	}
	a.open.add(a.kernel.Close)
	a.firewall, a.zone, err = newFirewall(ctx, a.config, instance, a.log, a.step)
	if err != nil {
		return err
	}
	a.open.add(a.firewall.Close)
	a.guard, err = newGuard(instance, a.log, a.step)
	if a.guard != nil {
		a.open.add(a.guard.Close)
	}
	return err
}

// makePorts makes what reserves the host's ports, and what serves on those that
// the kernel can't translate.
func (a *assembly) makePorts(context.Context) (err error) {
	a.carrier, err = proxy.New(proxy.Options{
		Allow: func(link string, client, container netip.Addr) (bool, bool) {
			return a.driver.MayCarry(link, client, container)
		}, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.open.add(a.carrier.Close)
	a.ports = nat.NewPorts(a.step, a.carrier)
	a.open.add(a.ports.Close)
	return nil
}

// makeDriver makes what decides, with the modes it knows.
func (a *assembly) makeDriver(context.Context) (err error) {
	instance := a.records.Instance()
	opts := driver.Options{
		Instance: instance, Modes: modes(instance, a.kernel, overlayMode{a.overlays.host, a.overlays.settle}), Changed: a.overlays.changed,
		Store: a.records, Kernel: a.kernel, Firewall: a.firewall, Ports: a.ports, Connections: nat.Connections{}, Pools: a.pools,
		Sandboxes: nftables.NewInside(instance, a.step), Autoconf: a.kernel,
		HostIPv6: nat.HasIPv6(), IPForward: a.config.IPForward, Refresh: func() { a.docker.Refresh() },
		Look: func(ctx context.Context) error { return a.docker.Look(ctx) }, Log: a.log,
	}
	if a.guard != nil { // else an interface that isn't nil would hold nil
		opts.Guard = a.guard
	}
	a.driver, err = driver.New(opts, a.all)
	if err != nil {
		return fmt.Errorf("%s: %w", a.config.StateDir, err)
	}
	a.open.add(a.driver.Close)
	a.overlays.driver, a.overlays.pools = a.driver, a.pools
	return nil
}

// parts hands over what was made.
func (a *assembly) parts() parts {
	shown := operated{a.driver, a.guard, a.leases, a.overlays, backendName(a.firewall.Backend), a.log}
	looks := newExaminer(a.config, a.log)
	measure := measured{shown, a.kernel, a.pools, a.records, a.overlays, looks}
	return parts{
		backup: a.records.Backup, measured: measure, carried: measure.carried,
		networks: a.driver, addresses: a.pools, records: shown, publisher: a.driver, peerEngine: engine.PeerEngine,
		restore: a.driver.Restore, repair: a.driver.Reconcile,
		cluster: a.overlays.shown(a.config),
		tasks:   a.tasks(shown, looks),
		apply:   func(c config) error { return a.pools.SetDefaultPools(c.pools()) },
		close:   a.open.Close,
	}
}

// tasks are what runs beside the daemon's servers.
func (a *assembly) tasks(shown operated, looks *examiner) []task {
	return append(a.overlays.tasks(a.config, shown.Remarks), []task{
		{"driver", a.driver.Run},
		{"DHCP", a.leases.Run},
		{"watch Docker", a.docker.Run},
		{"watch the kernel", a.changes.Run},
		{"guard", shown.watchGuard},
		{"firewalld", a.zone.Run},
		{"proxy", a.carrier.Run},
		{"doctor", looks.run},
		{"reclaim addresses", reclaim(a.pools, a.log)},
		{"back up", func(ctx context.Context) error { return a.records.BackupEvery(ctx, time.Hour) }},
	}...)
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
