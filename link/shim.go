package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Shim is the host's own link among the links of containers on Parent: the
// kernel passes nothing between a parent and its macvlans, but it does between
// two of them, and likewise ipvlans. It has addresses of its own, and it answers
// ARP and neighbour solicitations for those alone, so that nobody on the LAN takes
// its MAC address for that of the host's other addresses.
type Shim struct {
	Namespace string
	Name      string
	Parent    string // unix.ENODEV if there is none
	IPvlan    IPvlan // set: an ipvlan in place of a macvlan; MAC doesn't count then
	MAC       net.HardwareAddr
	MTU       int // bytes; 0: that of Parent
	Alias     string
	Addresses []netip.Addr
	// Localnet: what comes to 127.0.0.0/8 may be translated to a container
	// (route_localnet, Documentation/networking/ip-sysctl.rst).
	Localnet bool
}

// Key implements Object.
func (h Shim) Key() Key { return Key{h.Namespace, "shim", h.Name} }

func (h Shim) String() string { return "shim " + h.Name + " on " + h.Parent }

// macvlan returns the shim's link.
func (h Shim) macvlan() Macvlan {
	return Macvlan{
		Namespace: h.Namespace, Name: h.Name, Parent: h.Parent, Mode: MacvlanBridge, IPvlan: h.IPvlan, MAC: h.MAC, MTU: h.MTU, Alias: h.Alias,
	}
}

// sysctls returns what makes the host known to the LAN by its own link only
// (Documentation/networking/ip-sysctl.rst): they are set before the link is up.
//
// With arp_ignore the link answers for its own addresses, with arp_announce it
// asks under one of them whatever address of the host's a packet is from: a
// neighbour on the LAN that hears a question learns the asker. Packets of the
// LAN that are to its address leave by another link (rp_filter is loose).
func (h Shim) sysctls() (out []Sysctl) {
	local, no6 := "0", "1"
	if h.Localnet {
		local = "1"
	}
	for _, a := range h.Addresses {
		if a.Is6() {
			no6 = "0"
		}
	}
	for _, s := range []struct{ dir, name, value string }{
		{conf4Dir, "arp_ignore", "1"}, {conf4Dir, "arp_announce", "2"}, {conf4Dir, "arp_filter", "0"},
		{conf4Dir, "proxy_arp", "0"}, {conf4Dir, "rp_filter", "2"}, {conf4Dir, "accept_redirects", "0"},
		{conf4Dir, "send_redirects", "0"}, {conf4Dir, "route_localnet", local},
		{conf6Dir, "accept_ra", "0"}, {conf6Dir, "autoconf", "0"}, {conf6Dir, "dad_transmits", "0"},
		{conf6Dir, "proxy_ndp", "0"}, {conf6Dir, "accept_redirects", "0"}, {conf6Dir, "disable_ipv6", no6},
	} {
		out = append(out, Sysctl{Namespace: h.Namespace, Path: s.dir + h.Name + "/" + s.name, Value: s.value})
	}
	return out
}

// shim makes the link, or sees to the one that is there.
func (a *attempt) shim(ctx context.Context, s *space, h Shim) error {
	m := h.macvlan()
	parent, err := s.index(h.Parent)
	if err != nil {
		return err
	}
	have, there, err := a.present(ctx, s, h, func(l linkState) bool {
		return a.isFor(l, h.Alias) && wrongKind(m, l, a.macvlanParent(s, h.Parent, parent)) == ""
	})
	switch {
	case err != nil:
		return err
	case there:
		return a.settleShim(s, h, have.mac)
	}
	a.opts.Step("link.apply shim")
	if err := a.addMacvlan(ctx, s, m, parent); err != nil {
		return err
	}
	a.made = append(a.made, h)
	return a.settleShim(s, h, h.MAC)
}

// settleShim makes a link with a MAC address what the shim is to be. It comes up
// last.
func (a *attempt) settleShim(s *space, h Shim, has net.HardwareAddr) error {
	for _, c := range h.sysctls() {
		if now, err := a.readSysctl(s, c.Path); err == nil && now == c.Value {
			continue
		}
		// A link that can't carry IPv6 has no such setting and needs none.
		if err := a.writeSysctl(s, c.Path, c.Value); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	index, err := s.index(h.Name)
	if err != nil {
		return err
	}
	for _, ip := range h.Addresses {
		a.later(h, addressRequest(unix.RTM_NEWADDR, exclusive, index, netip.PrefixFrom(ip, ip.BitLen()), false), func(err error) error {
			if errors.Is(err, unix.EEXIST) {
				return nil
			}
			return err
		})
	}
	change := linkChange{alias: alias(h.Alias), mtu: h.MTU, group: a.group, up: true}
	if h.macvlan().ownMAC() && !bytes.Equal(has, h.MAC) {
		change.mac = h.MAC
	}
	a.later(h, setLink(index, "", change), nil)
	return a.flush(s)
}

// shim is what of the host's own link is missing or not as it should be. Where
// there is no parent, it is waited for.
func (p *planner) shim(h Shim) {
	parent, there := p.byName[h.Parent]
	if parent.isOn() {
		parent.index = 0
	}
	switch {
	case p.leaving[h.Name]:
	case !there && !p.coming[h.Parent]:
		p.waits[h.Name] = true
	default:
		p.own(h, h.Alias, func(l linkState) string { return p.shimDiff(h, l, parent.index) })
	}
}

func (p *planner) shimDiff(h Shim, l linkState, parent int) string {
	var d differences
	if what := macvlanDiff(h.macvlan(), l, parent, p.marks); what != "" {
		d = append(d, what)
	}
	d.add(!l.up, "was down")
	for _, s := range h.sysctls() {
		if now, there := p.sysctls[s.Path]; there && now != s.Value {
			d = append(d, fmt.Sprintf("sysctl %s was %s", s.Path, now))
		}
	}
	for _, ip := range h.Addresses {
		_, there := p.addresses[addressAt{l.index, netip.PrefixFrom(ip, ip.BitLen())}]
		d.add(!there, "address %s was missing", ip)
	}
	return d.String()
}
