package admin

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"fairway/store"
)

// fixture is two networks, three endpoints and their ports, in no order.
type fixture struct{}

func (fixture) Networks() []store.Network {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	return []store.Network{
		{ID: "ffff0000", Mode: "bridge", Link: "fwb2", Created: at, Internal: true},
		{
			ID: "eeee0000", Name: "web", Engine: "docker-1", Mode: "bridge", Link: "fwb1", MTU: 1500, Created: at,
			Options: map[string]string{"mtu": "1500"},
			Subnets: []store.Subnet{
				{Prefix: netip.MustParsePrefix("172.20.0.0/24"), Gateway: netip.MustParseAddr("172.20.0.1")},
				{Prefix: netip.MustParsePrefix("fd00::/64")},
			},
		},
	}
}

func (fixture) Endpoints() []store.Endpoint {
	binding := func(proto uint8, host string, hostPort uint16, ip string, port uint16) store.PortBinding {
		b := store.PortBinding{Proto: proto, HostIP: netip.IPv4Unspecified(), HostPort: hostPort, IP: netip.MustParseAddr(ip), Port: port}
		if b.IP.Is6() {
			b.HostIP = netip.IPv6Unspecified()
		}
		if host != "" {
			b.HostIP = netip.MustParseAddr(host)
		}
		return b
	}
	return []store.Endpoint{
		{ID: "e3", Network: "ffff0000", MAC: "02:00:00:00:00:03", HostLink: "fwv3"},
		{
			ID: "e2", Network: "eeee0000", Container: "db", MAC: "02:00:00:00:00:02", HostLink: "fwv2",
			IPv4: netip.MustParsePrefix("172.20.0.3/24"), Sandbox: "/var/run/docker/netns/2",
			Published: []store.PortBinding{binding(6, "127.0.0.1", 5432, "172.20.0.3", 5432)},
		},
		{
			ID: "e1", Network: "eeee0000", Container: "app", MAC: "02:00:00:00:00:01", HostLink: "fwv1",
			IPv4: netip.MustParsePrefix("172.20.0.2/24"), IPv6: netip.MustParsePrefix("fd00::2/64"),
			Published: []store.PortBinding{
				binding(17, "", 8080, "172.20.0.2", 80),
				binding(6, "", 8080, "fd00::2", 80),
				binding(6, "", 8080, "172.20.0.2", 80),
				binding(132, "", 9, "172.20.0.2", 9),
			},
		},
	}
}

func (fixture) Denied(context.Context) map[string]uint64 {
	return map[string]uint64{"fwv1": 0, "fwv2": 7}
}

func (fixture) Taken(endpoint string, p store.PortBinding) (by string, taken bool) {
	if endpoint == "e2" && p.HostPort == 5432 {
		return `unit "postgresql.service"`, true
	}
	return "", false
}

func (fixture) PortStates(_ context.Context, traffic bool) States {
	s := States{Ports: map[Published]State{}, Waiting: []Waiting{{Protocol: "tcp", HostPort: 81, Port: 80, Why: "taken"}}}
	for _, e := range (fixture{}).Endpoints() {
		for _, p := range e.Published {
			st := State{From: "all", Live: p.HostPort == 9}
			if traffic {
				st.Connections = 3
			}
			s.Ports[Published{e.ID, p}] = st
		}
	}
	return s
}

// AddPorts publishes what the fixture has on port 9.
func (f fixture) AddPorts(_ context.Context, container, network string, ports []store.PortBinding) (string, []store.PortBinding, error) {
	if container != "app" || network != "" || len(ports) != 1 || ports[0].HostPort != 9 {
		return "", nil, fmt.Errorf("container %q: no such thing", container)
	}
	return "e1", f.Endpoints()[2].Published[3:], nil
}

func (fixture) RemovePorts(_ context.Context, container, _ string, ports []store.PortBinding) error {
	if container != "app" || len(ports) != 2 || ports[1].Port != 0 {
		return fmt.Errorf("container %q: no such thing", container)
	}
	return nil
}
