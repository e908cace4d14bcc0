package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"fairway/driver"
	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/nat/unroutable"
)

// A backend is a firewall that must be closed.
type backend interface {
	driver.Firewall
	Close() error
}

// newFirewall returns the backend of a choice, whose subnets are unroutable
// without it. Auto is nftables wherever the kernel has what that needs.
func newFirewall(ctx context.Context, c config, instance string, log logrus.FieldLogger, step func(string)) (backend, error) {
	b, err := newBackend(ctx, c, instance, log, step)
	if err != nil {
		return nil, err
	}
	return &closed{backend: b, subnets: unroutable.New(unroutable.Options{
		Instance: instance, Mark: c.MarkMask, Priority: c.RulePriority, Log: log, Step: step,
	})}, nil
}

func newBackend(ctx context.Context, c config, instance string, log logrus.FieldLogger, step func(string)) (backend, error) {
	if c.Firewall != "iptables" {
		err := nftables.Probe()
		if err == nil {
			return nftables.New(ctx, nftables.Options{Instance: instance, Log: log, Step: step, Mark: c.MarkMask})
		}
		if c.Firewall == "nftables" {
			return nil, err
		}
		log.WithError(err).Info("the firewall is made with iptables")
	}
	f, err := iptables.New(ctx, iptables.Options{Instance: instance, Log: log, Step: step, Mark: c.MarkMask})
	if err != nil {
		return nil, err
	}
	return &onlyIptables{Firewall: f}, nil
}

// closed is a backend together with what closes the subnets where its rules
// are not there. What opens comes first, so that a start after an upgrade stops
// no connection, and stays longest.
type closed struct {
	backend
	subnets *unroutable.Table
}

func (f *closed) Apply(ctx context.Context, put nat.State) error {
	if err := f.backend.Apply(ctx, put); err != nil {
		return err
	}
	err := f.subnets.Apply(ctx, put.Networks)
	if err != nil { // else a failed create would leave rules
		err = errors.Join(err, f.backend.Remove(context.WithoutCancel(ctx), nat.State{Networks: put.Networks}))
	}
	return err
}

func (f *closed) Remove(ctx context.Context, gone nat.State) error {
	if err := f.subnets.Remove(ctx, gone.Networks); err != nil {
		return err
	}
	return f.backend.Remove(ctx, gone)
}

// Reconcile closes the subnets even if the backend fails.
func (f *closed) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	repairs, err := f.backend.Reconcile(ctx, want)
	more, failed := f.subnets.Reconcile(ctx, want.Networks)
	return append(repairs, more...), errors.Join(err, failed)
}

func (f *closed) Repair(ctx context.Context) ([]nat.Repair, error) {
	repairs, err := f.backend.Repair(ctx)
	more, failed := f.subnets.Repair(ctx)
	return append(repairs, more...), errors.Join(err, failed)
}

// onlyIptables removes what the nftables backend left, once its own rules are
// there. The other way round, the nftables backend looks after iptables itself.
type onlyIptables struct {
	*iptables.Firewall
	dropped bool // Reconcile is not called concurrently
}

func (f *onlyIptables) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	repairs, err := f.Firewall.Reconcile(ctx, want)
	if err != nil || f.dropped {
		return repairs, err
	}
	if err = nftables.Drop(); err == nil {
		f.dropped = true
	}
	return repairs, err
}
