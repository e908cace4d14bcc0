package main

import (
	"context"

	"fairway/admin"
	"fairway/dhcp"
	"fairway/driver"
	"fairway/event"
	"fairway/nat"
	"fairway/nat/guard"

	"github.com/sirupsen/logrus"
)

// operated is the driver as operators see it.
type operated struct {
	*driver.Driver
	guard    *guard.Guard // nil: the kernel has none
	leases   *dhcp.Client
	overlays *overlays
	firewall string // the backend's name
	log      logrus.FieldLogger
}

// Health says in the operators' words what the looks at the kernel found.
func (o operated) Health() admin.Status {
	h := o.Driver.Health()
	s := admin.Status{
		Firewall: o.firewall, Checked: h.Checked,
		RepairedLinks: admin.Repaired(h.Links), RepairedRules: admin.Repaired(h.Rules),
	}
	if h.Trouble != nil {
		s.Trouble = h.Trouble.Error()
	}
	return s
}

// Leases says in the operators' words how the leases are, and how many were lost.
func (o operated) Leases() (all []admin.LeaseState, lost uint64) {
	for _, l := range o.leases.Leases() {
		all = append(all, admin.LeaseState{Lease: l.Lease, State: l.State, Why: l.Why})
	}
	return all, o.leases.Lost()
}

// Denied is how many frames of guarded endpoints were dropped, by their links.
func (o operated) Denied(ctx context.Context) map[string]uint64 {
	if o.guard == nil {
		return nil
	}
	denied, err := o.guard.Denied(ctx)
	if err != nil {
		o.log.Warn(err)
	}
	return denied
}

// watchGuard logs endpoints that begin to send what isn't theirs, until the
// context ends.
func (o operated) watchGuard(ctx context.Context) error {
	if o.guard == nil {
		return nil
	}
	return o.guard.Run(ctx, o.begins)
}

// begins logs that an endpoint began to send what isn't its own.
func (o operated) begins(port string, frames uint64) {
	for _, e := range o.Endpoints() {
		if e.HostLink == port {
			o.log.WithFields(logrus.Fields{event.Field: event.Denied, "endpoint": e.ID, "container": e.Container, "link": port, "frames": frames}).
				Warn("denied: the container sends from addresses that aren't its own, or as a router or DHCP server")
		}
	}
}

// PortStates says in the operators' words how published ports are.
func (o operated) PortStates(ctx context.Context, traffic bool) admin.States {
	s := admin.States{Ports: map[admin.Published]admin.State{}}
	live := o.Live()
	var by map[driver.PublishedPort]nat.Traffic
	if traffic {
		var err error
		if by, s.Counted, err = o.Traffic(ctx); err != nil {
			o.log.Warn(err)
		}
	}
	for p, r := range o.Reach(ctx) {
		t := by[p]
		s.Ports[admin.Published{Endpoint: p.Endpoint, PortBinding: p.PortBinding}] = admin.State{
			From: string(r.From), Why: r.Why, Live: live[p], Carried: r.Carried,
			Connections: t.Connections, Bytes: t.Bytes, Packets: t.Packets,
		}
	}
	for _, w := range o.WaitingPorts() {
		s.Waiting = append(s.Waiting, admin.Waiting{
			Protocol: nat.ProtoName(w.Proto), HostIP: w.HostIP, HostPort: w.HostPort, Port: w.Port,
			Container: w.Container, ContainerID: w.ContainerID, Network: w.Network, Why: w.Why,
		})
	}
	return s
}
