package model

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/bridge"
	"fairway/driver"
	"fairway/ipam"
	"fairway/macvlan"
	"fairway/plugin"
	"fairway/store"
	"fairway/transparent"
)

// instance is the mark of the daemon's state directory.
const instance = "11112222"

// A daemon is fairway in one life of its process: the real code over the
// machine.
type daemon struct {
	*process
	conn    *conn
	filter  *filter
	table   *table
	driver  *driver.Driver
	ipam    *ipam.Allocator
	servers map[string]http.Handler // by engine
	cancel  context.CancelFunc
	ended   chan struct{}
}

// boot starts a daemon on m and returns it when its restore is done, or it has
// died in it.
func boot(m *machine, torn func(before, after store.Records)) (*daemon, error) {
	m.mu.Lock()
	found, before := m.disk.boot(m.rng.IntN(2) == 1)
	m.mu.Unlock()
	torn(before, found)
	d := &daemon{process: m.start(), servers: map[string]http.Handler{}, ended: make(chan struct{})}
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.PanicLevel)
	d.conn, d.filter, d.table = newConn(d.process), newFilter(d.process), newTable(d.process)
	disk := &records{process: d.process}
	err := d.compose(disk, log, found)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	ready := make(chan struct{})
	for _, engine := range engines {
		d.servers[engine] = plugin.New(plugin.Options{
			Networks: ofEngine{d.driver, engine}, Addresses: ipamOf{d.ipam, engine}, Ready: ready, Log: log,
		})
	}
	err = d.driver.Restore(ctx)
	close(ready)
	go func() {
		defer close(d.ended)
		_ = d.driver.Run(ctx)
	}()
	return d, err
}

func (d *daemon) compose(disk *records, log logrus.FieldLogger, found store.Records) (err error) {
	d.ipam, err = ipam.New(ipam.Options{
		Store: disk, HostSubnets: d.conn.Subnets, Instance: instance, Log: log, Grace: grace,
		Stale: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return d.driver.Abandoned(ctx, space, subnet, ip)
		},
		Alive: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return d.driver.Alive(ctx, space, subnet, ip)
		},
	}, found)
	if err != nil {
		return err
	}
	d.driver, err = driver.New(driver.Options{
		Instance: instance,
		Modes: map[string]driver.Mode{"bridge": {
			Settle: func(ctx context.Context, n *store.Network) error { return bridge.Settle(ctx, d.conn, n) },
			View:   func(n store.Network) (driver.View, error) { return bridge.New(instance, n) },
		}, "transparent": {
			Settle: func(ctx context.Context, n *store.Network) error { return transparent.Settle(ctx, d.conn, n) },
			View:   func(n store.Network) (driver.View, error) { return transparent.New(instance, n) },
		}, "macvlan": {
			Settle: func(ctx context.Context, n *store.Network) error { return macvlan.Settle(ctx, d.conn, n) },
			View:   func(n store.Network) (driver.View, error) { return macvlan.New(instance, n) },
		}},
		Store: disk, Kernel: d.conn, Firewall: d.filter, Ports: d.table,
		Connections: connections{d.process}, Pools: d.ipam, IPForward: true, HostIPv6: true, Sandboxes: sandboxes{d.process},
		Refresh: func() {}, Look: func(context.Context) error { return nil }, Log: log, Grace: grace,
	}, found)
	return err
}

// lives reports whether the process has not died.
func (d *daemon) lives() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.alive()
}

// bury waits for all that a dead process's goroutines still do.
func (d *daemon) bury() {
	d.kill()
	d.cancel()
	<-d.ended
	_ = d.conn.Quiesce(context.Background())
}

// quiesce waits until all that was answered is done.
func (d *daemon) quiesce() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := d.driver.Quiesce(ctx)
	if err == nil && !d.lives() {
		err = errDead
	}
	return err
}

// repair is what Run does from time to time, at once.
func (d *daemon) repair() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := d.driver.Reconcile(ctx)
	return errors.Join(err, d.quiesce())
}

// ofEngine is the driver as one engine sees it, which the socket's peer tells.
type ofEngine struct {
	*driver.Driver
	engine string
}

func (o ofEngine) CheckGateway(ctx context.Context, n driver.NetworkSpec) (bool, bool, error) {
	n.Engine = o.engine
	return o.Driver.CheckGateway(ctx, n)
}

func (o ofEngine) CreateNetwork(ctx context.Context, n driver.NetworkSpec) error {
	n.Engine = o.engine
	return o.Driver.CreateNetwork(ctx, n)
}

func (o ofEngine) CreateEndpoint(ctx context.Context, e driver.EndpointSpec) (driver.EndpointReply, error) {
	e.Engine = o.engine
	return o.Driver.CreateEndpoint(ctx, e)
}

// ipamOf likewise.
type ipamOf struct {
	*ipam.Allocator
	engine string
}

func (o ipamOf) RequestPool(ctx context.Context, p ipam.PoolSpec) (ipam.PoolReply, error) {
	p.Engine = o.engine
	return o.Allocator.RequestPool(ctx, p)
}

func (o ipamOf) RequestAddress(ctx context.Context, a ipam.AddressSpec) (netip.Prefix, error) {
	a.Engine = o.engine
	return o.Allocator.RequestAddress(ctx, a)
}
