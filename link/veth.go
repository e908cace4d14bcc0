package link

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sys/unix"
)

// veth makes a pair, or sees to the one that is there. It doesn't read the
// kernel first.
func (a *attempt) veth(ctx context.Context, s *space, v Veth) error {
	if err := a.Conn.queue.settle(ctx, v.Namespace, v.Name, v.Peer); err != nil {
		return err
	}
	master, err := a.master(s, v)
	if err == nil && v.Adopted {
		v, err = a.onTheirs(s, v)
	}
	if err != nil {
		return err
	}
	err = a.newVeth(s, v, master)
	if errors.Is(err, unix.EEXIST) {
		var again bool
		if again, err = a.reveth(ctx, s, v, master); again && err == nil {
			err = a.newVeth(s, v, master)
		}
	}
	if errors.Is(err, unix.EXFULL) {
		// BR_MAX_PORTS, net/bridge/br_private.h
		return fmt.Errorf("bridge %s has the 1,023 ports that a bridge can have: remove one, or use another network: %w", v.Master, unix.EXFULL)
	}
	return err
}

// master returns the index of the bridge that a pair is to be on. Where a bridge
// of ours should be, nothing is made on somebody else's, as by Reconcile. A bridge
// is read once: that takes 0.2 ms, but it is the same one as long as its index
// is.
func (c *Conn) master(s *space, v Veth) (int, error) {
	index, err := s.index(v.Master)
	if err != nil || v.Adopted {
		return index, err
	}
	if _, ok := c.bridges.Load(index); ok && s == c.own {
		return index, nil
	}
	l, err := s.fast.link(v.Master)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", v.Master, err)
	}
	if !c.ourBridge(l) {
		return 0, fmt.Errorf("somebody else's link is in the place of bridge %s: remove or rename it, and fairway makes the bridge again: %w", v.Master, unix.EEXIST)
	}
	if s == c.own {
		c.bridges.Store(l.index, nil)
	}
	return l.index, nil
}

// onTheirs completes what is wanted on somebody else's bridge: its MTU, which a
// port with a smaller one would change. The VLANs of a port count for nothing on
// a bridge that doesn't look at them: that is unix.EOPNOTSUPP.
func (c *Conn) onTheirs(s *space, v Veth) (Veth, error) {
	if v.MTU != 0 && v.VLANs.IsZero() {
		return v, nil
	}
	l, err := s.fast.link(v.Master)
	switch {
	case err != nil:
		return v, fmt.Errorf("link %s: %w", v.Master, err)
	case l.bridge == nil:
		return v, fmt.Errorf("%s is no bridge: %w", v.Master, unix.EOPNOTSUPP)
	case !v.VLANs.IsZero() && !l.bridge.vlan:
		return v, fmt.Errorf("bridge %s isn't VLAN-aware (vlan_filtering is off), VLANs %s: %w", v.Master, v.VLANs, unix.EOPNOTSUPP)
	case v.MTU == 0:
		v.PeerMTU = v.peerMTU()
		v.MTU = l.mtu
	}
	return v, nil
}

// peerMTU returns the MTU of the container's end; 0: the kernel's choice.
func (v Veth) peerMTU() int { return cmp.Or(v.PeerMTU, v.MTU) }

// newVeth makes a pair that is not there.
func (a *attempt) newVeth(s *space, v Veth, master int) error {
	if v.Sandbox != "" && a.SandboxAlive(v.Sandbox) {
		return a.vethInside(s, v, master)
	}
	if err := a.pair(s, v, master, v.Peer, -1); err != nil {
		return err
	}
	a.later(v, setLink(0, v.Peer, linkChange{alias: alias(v.Alias)}), nil)
	return nil
}

// pair makes both ends, the peer in the namespace of a descriptor or, with -1,
// beside the host's end, which speaks no IPv6 and will be up.
func (a *attempt) pair(s *space, v Veth, master int, peer string, peerNS int) error {
	a.opts.Step("link.apply veth")
	if _, err := s.fast.one(newVeth(v, master, a.group, peer, peerNS)); err != nil {
		return err
	}
	a.made = append(a.made, v)
	if err := a.noInet6(s, v.Name); err != nil {
		return err
	}
	index, err := s.index(v.Name)
	if err != nil {
		return err
	}
	a.port(v, index)
	return nil
}

// port settles what the host's end is to its bridge.
func (a *attempt) port(v Veth, index int) {
	if !v.VLANs.IsZero() { // before it comes up
		for _, r := range setVLANs(index, v.VLANs) {
			a.later(v, r, nil)
		}
	}
	a.later(v, setPort(index, v.Alias, v.portFlags()), nil)
	if !v.Learning {
		a.later(v, newFDB(index, v.PeerMAC), nil)
	}
}

// reveth sees to a link that has a name of the pair. What is left of another
// endpoint of ours is removed, and then the pair can be made.
func (a *attempt) reveth(ctx context.Context, s *space, v Veth, master int) (again bool, err error) {
	host, err := s.fast.link(v.Name)
	name := v.Name
	if errors.Is(err, unix.ENODEV) {
		host, err = s.fast.link(v.Peer)
		name = v.Peer
	}
	if errors.Is(err, unix.ENODEV) {
		return true, nil // gone meanwhile
	}
	if err != nil {
		return false, err
	}
	if !a.ours(host) {
		return false, taken(host)
	}
	if name == v.Name && host.kind == "veth" && a.isFor(host, v.Alias) && !halfMade(v, host) {
		return false, a.repairVeth(s, v, host, master)
	}
	return true, a.vacate(ctx, v.Namespace, name, host)
}

// halfMade reports whether a pair was left in a crash while its end in the
// sandbox was being configured: the host's end is marked and comes up last.
func halfMade(v Veth, host linkState) bool {
	return v.Sandbox != "" && host.elsewhere && host.alias == "" && !host.up
}

// repairVeth makes a pair that is there as wanted. An end in a sandbox is the
// container's.
func (a *attempt) repairVeth(s *space, v Veth, host linkState, master int) error {
	fdb, err := s.fdbOf(host.index)
	if err != nil {
		return err
	}
	if !v.VLANs.IsZero() {
		all, err := s.portVLANs()
		if err != nil {
			return err
		}
		host.vlans = all[host.index]
	}
	if vethDiff(v, host, master, fdb[v.PeerMAC.String()], a.marks) != "" {
		a.opts.Step("link.apply veth")
		if err := a.noInet6(s, v.Name); err != nil {
			return err
		}
		change := linkChange{mtu: v.MTU, group: a.group}
		if host.master != master {
			change.master = master
		}
		a.later(v, setLink(host.index, "", change), nil)
		a.port(v, host.index)
	}
	if host.elsewhere {
		return nil
	}
	peer, err := s.fast.link(v.Peer)
	if errors.Is(err, unix.ENODEV) {
		return nil // it has another name just now: Docker is moving it
	}
	if err != nil || peer.index != host.peer || peerDiff(v, peer, a.marks) == "" {
		return err
	}
	a.later(v, setLink(peer.index, "", linkChange{alias: alias(v.Alias), mac: v.PeerMAC, mtu: v.peerMTU(), group: a.group}), nil)
	return nil
}

// vethDiff says how the host's end of a pair differs from what is wanted; "" if
// it doesn't. The master is the index of the bridge; static says that it has an
// entry for the container's address.
func vethDiff(v Veth, l linkState, master int, static bool, m marks) string {
	var d differences
	d.link(l, v.Alias, v.MTU, m)
	d.add(!l.up, "was down")
	d.add(l.inet6 != nil && !l.inet6.disabled, "spoke IPv6")
	switch {
	case l.master != master:
		d.add(true, "was no port of %s", v.Master)
	case l.port == nil:
		d.add(true, "%s is no bridge", v.Master)
	default:
		d.add(l.port.learning != v.Learning, "learning was %t", l.port.learning)
		d.add(l.port.isolated != v.Isolated, "isolated was %t", l.port.isolated)
		d.add(l.port.hairpin != v.Hairpin, "hairpin was %t", l.port.hairpin)
		d.add(!l.port.guard, "BPDU guard was off")
		d.add(!v.Learning && !static, "had no static FDB entry")
		d.add(!v.VLANs.IsZero() && !maps.Equal(v.VLANs.byID(), l.vlans), "VLANs were %s", l.vlans)
	}
	return d.String()
}

// peerDiff says how the end that waits beside the host's differs from what is
// wanted.
func peerDiff(v Veth, l linkState, m marks) string {
	var d differences
	d.link(l, v.Alias, v.peerMTU(), m)
	d.add(!bytes.Equal(l.mac, v.PeerMAC), "MAC address was %s", l.mac)
	for i := range d {
		d[i] = "the container's end: " + d[i]
	}
	return d.String()
}
