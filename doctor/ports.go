package doctor

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"fairway/admin"
)

// portChecks are of published ports.
func portChecks() []Check {
	return []Check{
		{
			Code: "FW060", Name: "port taken", Title: "a process of the host has a published port", Severity: Bad,
			Cause:  "It took the port while the daemon was down.",
			Loss:   "The host itself, and what is PROXIED, reaches that process and not the container.",
			Remedy: "Stop the process, or have it listen elsewhere; the daemon takes the port back by itself.",
			look:   lookTaken,
		},
		{
			Code: "FW061", Name: "port waits", Title: "a port that was published on a running container isn't any more", Severity: Bad,
			Cause:  "`fairway ports add` published it; somebody took the port while the container was stopped.",
			Loss:   "Nobody reaches the container by it.",
			Remedy: "Free the port: the daemon tries again by itself. Or `fairway ports remove` and add another.",
			look:   lookWaiting,
		},
		{
			Code: "FW062", Name: "port dead", Title: "nobody reaches a published port", Severity: Bad,
			Cause:  "The finding says why: the container's sandbox is gone, the bridge is down, or its rule is missing.",
			Loss:   "The port.",
			Remedy: "Restart the container if it is gone; `fairway repair` if a rule or link is.",
			look:   lookDead,
		},
		{
			Code: "FW063", Name: "host address", Title: "a port is published on an address that the host hasn't got", Severity: Bad,
			Cause:  "The address was given with -p, or as host_binding_ipv4, and isn't on the host (any more): it moved to another machine, or DHCP gave another one.",
			Loss:   "Nobody reaches the container by it.",
			Remedy: "Give the host the address, or publish on another one. On a keepalived standby it is as it should be.",
			look:   lookHostAddress,
		},
		{
			Code: "FW064", Name: "publish link", Title: "an option names a link that isn't there", Severity: Warning,
			Cause:  "`publish=iface:NAME` or trusted_host_interfaces names it; it was renamed or is gone.",
			Loss:   "Who was to reach published ports by that link doesn't.",
			Remedy: "Bring the link back under that name, or make the network again with the right one.",
			look:   lookNamedLinks,
		},
	}
}

func (p *Patient) asked() error {
	if p.Daemon == nil {
		return skip("the daemon doesn't answer")
	}
	return nil
}

// portText is a port as an operator writes it.
func portText(q admin.Port) string {
	return net.JoinHostPort(q.HostIP.String(), strconv.Itoa(int(q.HostPort))) + "/" + q.Protocol
}

func owner(q admin.Port) string {
	if q.Container != "" {
		return "container " + q.Container
	}
	return "endpoint " + short(q.Endpoint)
}

func lookTaken(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.asked(); err != nil {
		return nil, err
	}
	for _, q := range p.Ports.Ports {
		if q.TakenBy != "" {
			out = append(out, by(nil, "%s of %s is taken by %s (ss -lntup 'sport = :%d')", portText(q), owner(q), q.TakenBy, q.HostPort))
		}
	}
	return out, nil
}

func lookWaiting(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.asked(); err != nil {
		return nil, err
	}
	for _, w := range p.Ports.Waiting {
		out = append(out, by(nil, "%d/%s of container %s: %s", w.HostPort, w.Protocol, w.Container, w.Why))
	}
	return out, nil
}

func lookDead(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.asked(); err != nil {
		return nil, err
	}
	for _, q := range p.Ports.Ports {
		if q.ReachableFrom != "nobody" && q.ReachableFrom != "unknown" || q.TakenBy != "" || p.lacksAddress(q) {
			continue
		}
		out = append(out, by([]string{"fairway repair"}, "%s of %s: reachable from %s: %s", portText(q), owner(q), q.ReachableFrom, q.Why))
	}
	return out, nil
}

// lacksAddress reports whether a port is published on an address that isn't the
// host's.
func (p *Patient) lacksAddress(q admin.Port) bool {
	_, there := p.Host.Addresses[q.HostIP]
	return !q.HostIP.IsUnspecified() && !q.HostIP.IsLoopback() && !there
}

func lookHostAddress(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.asked(); err != nil {
		return nil, err
	}
	for _, q := range p.Ports.Ports {
		if p.lacksAddress(q) && q.ReachableFrom != "routing" {
			out = append(out, by([]string{fmt.Sprintf("ip address add %s/%d dev LINK", q.HostIP, q.HostIP.BitLen())},
				"%s of %s: the host hasn't got that address", portText(q), owner(q)))
		}
	}
	return out, nil
}

func lookNamedLinks(_ context.Context, p *Patient) (out []Finding, err error) {
	if p.WantErr != nil {
		return nil, skip("the networks aren't known")
	}
	missing := func(name, of string) {
		if p.Host.link(name) == nil {
			out = append(out, by(nil, "%s names link %s, which isn't there", of, name))
		}
	}
	for _, n := range p.bridged() {
		of := "network " + title(p.Records.Networks[n.ID])
		for _, l := range n.Clients.Links {
			missing(l, of+": publish")
		}
		for _, l := range n.Trusted {
			missing(l, of+": trusted_host_interfaces")
		}
	}
	for _, e := range p.Want.Firewall.Endpoints {
		if e.Clients == nil {
			continue
		}
		for _, l := range e.Clients.Links {
			missing(l, called(p.Records.Endpoints[e.ID])+": publish")
		}
	}
	return out, nil
}
