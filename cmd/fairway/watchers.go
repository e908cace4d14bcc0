package main

import (
	"context"

	"github.com/sirupsen/logrus"

	"fairway/engine"
	"fairway/nat/unroutable"
	"fairway/watch"
)

// makeWatchers makes what notices harm to what fairway made, which is repaired at
// once, and what Docker has.
func (a *assembly) makeWatchers(context.Context) (err error) {
	a.changes, err = watch.New(watch.Options{
		Instance: a.records.Instance(), RuleProtocol: unroutable.Protocol, Wanted: a.driver.Wants, Parent: a.driver.IsParent, Log: a.log,
		Links: look(a.log, a.driver.Reconcile), Firewall: look(a.log, a.overlays.repairRules(a.driver.RepairFirewall)),
	})
	if err != nil {
		return err
	}
	a.open.add(a.changes.Close)
	a.docker = engine.New(engine.Options{
		Socket: a.config.DockerSocket, Log: a.log, Asked: a.driver.LiveContainers, Handle: observe(a.driver, a.overlays, a.pools, a.leases, a.log),
	})
	return nil
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
