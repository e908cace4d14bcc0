package driver

import (
	"net/netip"
	"strings"

	"github.com/sirupsen/logrus"

	"fairway/event"
	"fairway/nat"
	"fairway/store"
)

// event returns the log for an event of a network.
func (d *Driver) event(kind string, n network) logrus.FieldLogger {
	return d.log.WithFields(logrus.Fields{event.Field: kind, "network": n.title(), "network_id": n.ID})
}

// eventOf returns the log for an event of an endpoint, with the container's name
// if that is known by now.
func (d *Driver) eventOf(kind string, n network, e store.Endpoint) logrus.FieldLogger {
	fields := logrus.Fields{event.Field: kind, "network": n.title(), "network_id": n.ID, "endpoint": e.ID}
	var addresses []string
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			addresses = append(addresses, p.Addr().String())
		}
	}
	if len(addresses) > 0 {
		fields["address"] = strings.Join(addresses, " ")
	}
	if e.Container != "" {
		fields["container"] = e.Container
	}
	if e.HostLink != "" {
		fields["link"] = e.HostLink
	}
	return d.log.WithFields(fields)
}

// tellPorts tells of the ports of an endpoint that were published, or taken off
// the host.
func (d *Driver) tellPorts(n network, was, is store.Endpoint) {
	before, after := setOf(was.Published), setOf(is.Published)
	if gone := portsText(was.Published, after); gone != "" {
		d.eventOf(event.Unpublish, n, is).WithField("ports", gone).Info("ports are no longer published")
	}
	if put := portsText(is.Published, before); put != "" {
		d.eventOf(event.Publish, n, is).WithField("ports", put).Info("ports are published")
	}
}

// portsAtMost is how many ports an event names.
const portsAtMost = 20

// portsText names the ports that aren't in without, e.g. "0.0.0.0:80/tcp".
func portsText(ports []store.PortBinding, without map[store.PortBinding]bool) string {
	var words []string
	for _, p := range ports {
		if without[p] || p.HostPort == 0 { // those that are reached by routing have none
			continue
		}
		if len(words) == portsAtMost {
			return strings.Join(append(words, "…"), " ")
		}
		on := p.HostIP
		if p.OnItsOwn() {
			on = p.IP
		}
		words = append(words, netip.AddrPortFrom(on, p.HostPort).String()+"/"+nat.ProtoName(p.Proto))
	}
	return strings.Join(words, " ")
}
