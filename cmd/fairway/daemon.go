package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"

	"fairway/admin"
	"fairway/event"
	"fairway/metrics"
	"fairway/plugin"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// parts are what the daemon is made of, each by its own package. See compose.
type parts struct {
	backup    func(context.Context) (string, error) // of the records
	measured  metrics.Source                        // nil: nothing is
	networks  plugin.Networks
	addresses plugin.Addresses
	records   admin.Records
	publisher admin.Publisher
	cluster   admin.Cluster // nil: there is none
	// peerEngine names the engine behind a connection; nil: nobody knows.
	peerEngine func(net.Conn) string
	// restore makes the kernel equal to the records. Nothing that needs records
	// is served before it is done.
	restore func(context.Context) error
	// repair is the same for operators: it returns how much differed.
	repair func(context.Context) (int, error)
	// carried is what endpoints' links have carried; nil: nobody knows.
	carried func(context.Context) (map[string]admin.Carried, error)
	// tasks run beside the servers from when the restore is done until their
	// context ends. One that fails stops the daemon.
	tasks []task
	// apply takes the settings that are live; nil: none is.
	apply func(config) error
	// close frees what compose opened, last.
	close func() error
}

// A task runs until its context ends.
type task struct {
	name string
	run  func(context.Context) error
}

// A daemon is the whole of `fairway daemon`.
type daemon struct {
	config config
	build  admin.Build
	// settings are those of config, as texts by the flag's name.
	settings map[string]string
	log      logrus.FieldLogger
	compose  func(context.Context, config, logrus.FieldLogger) (parts, error)
	tuner    *tuner // nil: there are no reloads
	metrics  *metrics.Metrics
	events   admin.Events // nil: none are kept
}

// Run opens the sockets, composes the daemon and serves until ctx ends. What it
// opened is closed and what it started has ended when it returns.
func (d *daemon) Run(ctx context.Context) (err error) {
	s, err := openSockets(d.config, d.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := d.compose(ctx, d.config, d.log)
	if err != nil {
		return err
	}
	if p.close != nil {
		defer func() { err = errors.Join(err, p.close()) }()
	}
	return d.serve(ctx, s, p)
}

// serve runs every task of the daemon under one group: the first that fails
// ends them all.
func (d *daemon) serve(ctx context.Context, s sockets, p parts) error {
	ready := make(chan struct{})
	docker := plugin.Options{
		Networks: p.networks, Addresses: p.addresses,
		Ready: ready, PeerEngine: p.peerEngine, Called: d.metrics.Called, Log: d.log,
	}
	requests := plugin.New(docker)
	docker.WithoutMAC = true
	addresses := plugin.New(docker)
	health, _ := p.records.(admin.Health)
	options := admin.Options{
		Records: p.records, Publisher: p.publisher, Backup: p.backup, Health: health, Ready: ready, Build: d.build,
		Metrics: d.metrics.Handler(), Log: d.log,
		Settings: d.settings, Repair: p.repair, Events: d.events, Carried: p.carried, Cluster: p.cluster,
	}
	if d.tuner != nil {
		options.Config = d.tuner.Settings
	}
	operators := admin.New(options)

	g, ctx := errgroup.WithContext(ctx)
	start := func(t task) {
		g.Go(func() error {
			if err := t.run(ctx); err != nil && !(errors.Is(err, context.Canceled) && ctx.Err() != nil) {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			return nil
		})
	}
	for _, l := range []net.Listener{s.plugin, s.replaced} {
		if l != nil {
			start(task{"serve " + l.Addr().String(), func(ctx context.Context) error { return requests.Serve(ctx, l) }})
		}
	}
	if s.ipvlan != nil {
		start(task{"serve " + s.ipvlan.Addr().String(), func(ctx context.Context) error { return addresses.Serve(ctx, s.ipvlan) }})
	}
	start(task{"serve " + s.admin.Addr().String(), func(ctx context.Context) error { return operators.Serve(ctx, s.admin) }})
	start(task{"watchdog", func(ctx context.Context) error { return watchdog(ctx, d.log) }})
	public := newExporter(operators.ServePublic, d.log)
	public.apply(d.config)
	d.metrics.ByContainer(d.config.MetricsEndpoints)
	start(task{"metrics", public.run})
	if d.tuner != nil {
		d.tuner.apply = append(d.tuner.apply, func(c config) error {
			public.apply(c)
			d.metrics.ByContainer(c.MetricsEndpoints)
			return nil
		})
		if p.apply != nil {
			d.tuner.apply = append(d.tuner.apply, p.apply)
		}
		hangUp := make(chan os.Signal, 1)
		signal.Notify(hangUp, unix.SIGHUP)
		defer signal.Stop(hangUp)
		start(task{"reload", func(ctx context.Context) error { return d.tuner.run(ctx, hangUp) }})
	}
	start(task{"stop", func(ctx context.Context) error {
		<-ctx.Done()
		notify(d.log, sd.SdNotifyStopping)
		return nil
	}})
	start(task{"restore", func(ctx context.Context) error {
		notify(d.log, "STATUS=restoring networks")
		if err := p.restore(ctx); err != nil {
			return err
		}
		if p.measured != nil {
			d.metrics.Show(p.measured)
		}
		close(ready)
		d.log.WithField(event.Field, event.Ready).WithField("version", d.build.Version).Info("ready")
		notify(d.log, sd.SdNotifyReady)
		for _, t := range append(p.tasks, task{"tell systemd", func(ctx context.Context) error { return tell(ctx, d.log, operators.Status) }}) {
			start(t)
		}
		return nil
	}})
	return g.Wait()
}
