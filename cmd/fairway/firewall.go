package main

import (
	"context"

	"github.com/sirupsen/logrus"

	"fairway/driver"
	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
)

// A backend is a firewall that must be closed.
type backend interface {
	driver.Firewall
	Close() error
}

// newFirewall returns the backend of a choice. Auto is nftables wherever the
// kernel has what that needs.
func newFirewall(ctx context.Context, choice, instance string, log logrus.FieldLogger, step func(string)) (backend, error) {
	if choice != "iptables" {
		err := nftables.Probe()
		if err == nil {
			return nftables.New(ctx, nftables.Options{Instance: instance, Log: log, Step: step})
		}
		if choice == "nftables" {
			return nil, err
		}
		log.WithError(err).Info("the firewall is made with iptables")
	}
	f, err := iptables.New(ctx, iptables.Options{Instance: instance, Log: log, Step: step})
	if err != nil {
		return nil, err
	}
	return &onlyIptables{Firewall: f}, nil
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
