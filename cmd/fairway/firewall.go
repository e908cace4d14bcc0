package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"fairway/link"
	"fairway/nat"
	"fairway/nat/firewalld"
	"fairway/nat/guard"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/nat/unroutable"
)

// forwardGuarded is the file that says that the policy of FORWARD is our doing.
func forwardGuarded(c config) string { return filepath.Join(c.StateDir, "forward-guarded") }

// newFirewall returns the backend of a choice, whose subnets are unroutable
// without it and whose bridges firewalld lets pass, and the zone that is told
// so. Auto is nftables wherever the kernel has what that needs.
func newFirewall(ctx context.Context, c config, instance string, log logrus.FieldLogger, step func(string)) (*firewalld.Firewall, *firewalld.Zone, error) {
	marks, err := nat.MarksOf(c.MarkMask)
	if err != nil {
		return nil, nil, err
	}
	opts := nat.Options{Instance: instance, Log: log, Step: step, Marks: marks, LinkGroup: link.Group(instance), ForwardGuard: forwardGuarded(c)}
	b, err := newBackend(ctx, c.Firewall, opts)
	if err != nil {
		return nil, nil, err
	}
	subnets, err := unroutable.New(unroutable.Options{Options: opts, Priority: c.RulePriority})
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	zone, err := firewalld.New(firewalld.Options{Options: opts})
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return firewalld.NewFirewall(unroutable.NewFirewall(b, subnets), zone), zone, nil
}

func newBackend(ctx context.Context, choice string, opts nat.Options) (unroutable.Backend, error) {
	if choice != "iptables" {
		f, err := nftables.New(ctx, nftables.Options{Options: opts, Open: openTable()})
		if err == nil {
			return f, nil
		}
		if choice == "nftables" {
			return nil, err
		}
		opts.Log.WithError(err).Info("the firewall is made with iptables")
	}
	f, err := iptables.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &onlyIptables{Firewall: f}, nil
}

// backendName returns what --firewall calls a backend.
func backendName(b unroutable.Backend) string {
	switch b := b.(type) {
	case *unroutable.Firewall:
		return backendName(b.Backend)
	case *nftables.Firewall:
		return "nftables"
	}
	return "iptables"
}

// newGuard returns what keeps containers to their own addresses; nil, and a word
// at the log, if the kernel has no nftables for bridges.
func newGuard(instance string, log logrus.FieldLogger, step func(string)) (*guard.Guard, error) {
	if err := guard.Probe(); err != nil {
		log.WithError(err).Warn("antispoof: containers can send from addresses that aren't theirs, and router advertisements")
		return nil, nil //nolint:nilnil // none is no error
	}
	return guard.New(nat.Options{Instance: instance, Log: log, Step: step})
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
