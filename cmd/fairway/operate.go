package main

import (
	"context"

	"fairway/admin"
	"fairway/driver"
	"fairway/nat"

	"github.com/sirupsen/logrus"
)

// operated is the driver as operators see it.
type operated struct {
	*driver.Driver
	log logrus.FieldLogger
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
			From: string(r.From), Why: r.Why, Live: live[p],
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
