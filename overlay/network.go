package overlay

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Bridge is the network as mode bridge sees it, without other hosts: bridge,
// links of containers, gateway, address translation, published ports.
type Bridge interface {
	Links() link.Set
	Parent() (name string, exclusive bool)
	Firewall() nat.Network
	SkipGateway() (v4, v6 bool)
	Effective() map[string]any
	CheckEndpoint(store.Endpoint) error
	PortPrefix(store.Endpoint) string
	Attachment(store.Endpoint) link.Set
	EndpointFirewall(store.Endpoint) nat.Endpoint
	Guarded(store.Endpoint) (g nat.Guarded, ok bool)
	Inside(store.Endpoint) link.Inside
	IfaceName(store.Endpoint) string
	KeepGatewayService() bool
	Bindings(store.Endpoint, store.PortBinding) ([]store.PortBinding, error)
	Values() map[string]string
	EndpointValues(map[string]string) (map[string]string, error)
}

// A Host is what the networks of a host have in common.
type Host struct {
	Instance string     // of the store: marks what is ours
	Local    netip.Addr // the host's address on the underlay
	// Bridge returns what a record says as one of mode bridge.
	Bridge func(n store.Network) (Bridge, error)
}

// A Network is a recorded network seen as this host's part of a segment. What it
// doesn't say otherwise is as in mode bridge.
type Network struct {
	Bridge
	record store.Network
	set    Options
	host   Host
}

// New returns what n says, or one line on what is wrong with it.
func New(host Host, n store.Network) (Network, error) {
	o, err := ParseOptions(n.Options)
	if err != nil {
		return Network{}, err
	}
	as := n
	as.Mode, as.Options = "bridge", o.asBridge()
	b, err := host.Bridge(as)
	if err != nil {
		return Network{}, err
	}
	v := Network{Bridge: b, record: n, set: o, host: host}
	return v, v.check()
}

func (n Network) check() error {
	if !n.host.Local.IsValid() {
		return fmt.Errorf("option mode=\"overlay\": this host is in no cluster: fairway daemon --cluster=URL,… --advertise-address=ADDRESS")
	}
	if s := n.record.Overlay.Segment; s != "" && s != n.set.Segment {
		return fmt.Errorf("option segment=%q: the network is of segment %q", n.set.Segment, s)
	}
	for _, a := range n.record.HostAddresses {
		if _, ok := n.record.SubnetOf(a); !ok {
			return fmt.Errorf("address %s of the host: in no subnet of the network", a)
		}
	}
	return nil
}

// Overhead is what VXLAN adds to a packet of the segment, in bytes, between hosts
// with such addresses: Ethernet 14, VXLAN 8, UDP 8, and IPv4 20 or IPv6 40 (RFC
// 7348 section 5).
func Overhead(local netip.Addr) int {
	if local.Is6() {
		return 70
	}
	return 50
}

// GatewayMAC is the MAC address that a segment's gateway has on every host: a
// container that finds itself on another one goes on to use it. Locally
// administered (IEEE 802, section 8.2).
func GatewayMAC(vni uint32) net.HardwareAddr {
	return net.HardwareAddr{0x02, 'f', 'w', byte(vni >> 16), byte(vni >> 8), byte(vni)}
}

// LinkOf returns the name of the VXLAN beside a bridge of fairway's: "fwx" in
// place of "fwb".
func LinkOf(bridge string) string { return "fwx" + strings.TrimPrefix(bridge, "fwb") }

// Links returns what the kernel must hold for the network itself: what mode
// bridge wants, and the VXLAN. The bridge has the gateway's MAC and IP addresses
// of the segment, the same on every host, the latter apart from the subnet: what
// the host sends is from the address that it alone has, so that answers come back
// here (RFC 4862 section 5.5.4 for IPv6; in IPv4 the subnet's route says so).
func (n Network) Links() link.Set {
	r, o := n.record, n.record.Overlay
	var set link.Set
	for _, obj := range n.Bridge.Links() {
		switch b := obj.(type) {
		case link.Bridge:
			b.Remote, b.Multicast = true, o.Multicast
			set = append(set, b)
			for _, a := range r.HostAddresses {
				if s, ok := r.SubnetOf(a); ok {
					set = append(set, link.Address{Namespace: r.Namespace, Link: r.Link, Prefix: netip.PrefixFrom(a, s.Prefix.Bits())})
				}
			}
		case link.Address:
			if n.hasOwn(b.Prefix.Addr().Is6()) {
				b.Prefix, b.Deprecated = netip.PrefixFrom(b.Prefix.Addr(), b.Prefix.Addr().BitLen()), true
			}
			set = append(set, b)
		default:
			set = append(set, obj)
		}
	}
	mac, _ := net.ParseMAC(o.MAC)
	return append(set, link.VXLAN{
		Namespace: r.Namespace, Name: o.Link, Alias: link.Mark(n.host.Instance, r.ID, ""), Master: r.Link,
		MAC: mac, VNI: o.VNI, Port: o.Port, Local: n.host.Local, MTU: r.MTU, Multicast: o.Multicast,
	})
}

// hasOwn reports whether the host has an address of its own in a family.
func (n Network) hasOwn(v6 bool) bool {
	return slices.ContainsFunc(n.record.HostAddresses, func(a netip.Addr) bool { return a.Is6() == v6 })
}

// CheckEndpoint refuses an endpoint that the network can't have, in one line.
func (n Network) CheckEndpoint(e store.Endpoint) error {
	if err := n.Bridge.CheckEndpoint(e); err != nil {
		return err
	}
	if _, guarded := n.Guarded(e); !guarded {
		return fmt.Errorf("option antispoof=%q: want true: on an overlay it is always on", e.Options["antispoof"])
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() && slices.Contains(n.record.HostAddresses, p.Addr()) {
			return fmt.Errorf("address %s: is this host's own in segment %s", p.Addr(), n.set.Segment)
		}
	}
	mac, _ := net.ParseMAC(e.MAC) // the bridge's check has seen it
	own, _ := net.ParseMAC(n.record.Overlay.MAC)
	if bytes.Equal(mac, own) || bytes.Equal(mac, GatewayMAC(n.record.Overlay.VNI)) {
		return fmt.Errorf("mac-address %q: is the host's or the gateway's in segment %s", e.MAC, n.set.Segment)
	}
	return nil
}

// Effective returns the settings that count, for people to read.
func (n Network) Effective() map[string]any {
	out, o := n.Bridge.Effective(), n.record.Overlay
	maps.Copy(out, map[string]any{
		"fairway.segment": n.set.Segment, "fairway.vni": fmt.Sprint(o.VNI), "fairway.port": fmt.Sprint(o.Port),
		"fairway.vxlan": o.Link, "fairway.underlay": n.host.Local.String(),
		"fairway.multicast": fmt.Sprint(o.Multicast),
	})
	return out
}

// Segment returns how the Plane is to serve the network.
func (n Network) Segment() Segment {
	r, o := n.record, n.record.Overlay
	s := Segment{
		Namespace: r.Namespace, VNI: o.VNI, Port: o.Port, VXLAN: o.Link, Bridge: r.Link, Local: n.host.Local,
		Reserved: slices.Clone(r.HostAddresses), Multicast: o.Multicast,
	}
	for _, sub := range r.Subnets {
		s.Subnets = append(s.Subnets, sub.Prefix)
		if sub.Gateway.IsValid() {
			s.Reserved = append(s.Reserved, sub.Gateway)
		}
	}
	return s
}

// Settings returns the network's options as they take effect.
func (n Network) Settings() Options { return n.set }

// Values returns what takes effect, by the names of options, as ParseOptions reads
// it: of a recorded network also what was settled when it was made.
func (n Network) Values() map[string]string {
	o := n.record.Overlay
	out := map[string]string{
		"mode": "overlay", "segment": n.set.Segment, "vni": fmt.Sprint(o.VNI), "port": fmt.Sprint(o.Port),
		"mtu": fmt.Sprint(n.record.MTU), "antispoof": "true",
		"multicast": fmt.Sprint(o.Multicast),
	}
	as := n.Bridge.Values()
	for _, name := range inherited() {
		if v, ok := as[name]; ok {
			out[name] = v
		}
	}
	return out
}
