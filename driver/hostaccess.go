package driver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"fairway/nat"
	"fairway/store"
)

// A LANView is a View of a network whose containers are on a LAN: what only such
// modes have.
type LANView interface {
	// HostAccess reports whether the host is to have a link of its own among the
	// containers'.
	HostAccess() bool
	// HostAddress is the address of that link in the subnet that ip is in; invalid
	// if there is none.
	HostAddress(ip netip.Addr) netip.Addr
	// Publishes reports whether ports are published at all.
	Publishes() bool
	// InsidePorts are what is to be translated in the sandbox of an endpoint.
	InsidePorts(store.Endpoint) []nat.Port
}

// lan returns n's view if its containers are on a LAN.
func (n network) lan() (LANView, bool) {
	v, ok := n.view.(LANView)
	return v, ok
}

// onLAN reports whether n's containers are on a LAN.
func (n network) onLAN() bool { _, ok := n.lan(); return ok }

// giveHost gives the host a link in a new network, if it is to have one, and an
// address in each family: those that the user named, else one of fairway's pool.
// It returns what it took of pools.
func (d *Driver) giveHost(ctx context.Context, n network) (network, []netip.Addr, error) {
	v, ok := n.lan()
	if !ok || !v.HostAccess() {
		return n, nil, nil
	}
	if err := d.hostAddressesFree(ctx, n); err != nil {
		return n, nil, err
	}
	rec := n.Network
	var taken []netip.Addr
	for _, s := range rec.Subnets {
		if slices.ContainsFunc(rec.HostAddresses, func(a netip.Addr) bool { return a.Is6() == s.Is6() }) {
			continue
		}
		ip, err := d.opts.Pools.TakeHost(ctx, s.Space, s.Prefix)
		if err != nil {
			d.freeHost(ctx, rec, taken)
			return n, nil, fmt.Errorf("option host_access=\"true\": %w", err)
		}
		if ip.IsValid() {
			rec.HostAddresses, taken = append(slices.Clone(rec.HostAddresses), ip), append(taken, ip)
		}
	}
	if len(rec.HostAddresses) == 0 {
		pools := "fairway"
		if d.opts.Modes[n.Mode].NoMAC {
			pools = "fairway-ipvlan"
		}
		return n, nil, fmt.Errorf("option host_access=\"true\": needs an address for the host: --aux-address host=ADDRESS, or --ipam-driver %s", pools)
	}
	d.mu.Lock()
	rec.HostLink = d.linkName(prefixHost, rec.ID)
	d.mu.Unlock()
	if len(taken) > 0 {
		rec.Created = time.Now() // not before what it took: see removeNetwork
	}
	view, err := d.view(rec)
	if err != nil {
		d.freeHost(ctx, rec, taken)
	}
	return network{Network: rec, view: view}, taken, err
}

// hostAddressesFree says which address that the user names for the host isn't
// free.
func (d *Driver) hostAddressesFree(ctx context.Context, n network) error {
	for _, o := range d.sortedNetworks() {
		if err := n.sameHost(o); err != nil {
			return err
		}
	}
	// The link of a network that was removed just now may be there still.
	for _, look := range []func(context.Context) error{nil, d.opts.Kernel.Quiesce} {
		if look != nil {
			if err := look(ctx); err != nil {
				return err
			}
		}
		has, err := d.opts.Kernel.Addresses(ctx, n.Namespace)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(n.HostAddresses, func(a netip.Addr) bool { return has[a] })
		if at < 0 {
			return nil
		}
		if look != nil {
			return fmt.Errorf("aux-address %s: is an address of this host already; want one that nobody has", n.HostAddresses[at])
		}
	}
	return nil
}

// sameHost refuses an address of the host that it has in another network.
func (n network) sameHost(o network) error {
	for _, a := range n.HostAddresses {
		if slices.Contains(o.HostAddresses, a) {
			return fmt.Errorf("aux-address %s: is the host's in network %s", a, o.title())
		}
	}
	return nil
}

// freeHost gives back what was taken of pools for the host.
func (d *Driver) freeHost(ctx context.Context, n store.Network, taken []netip.Addr) {
	for _, s := range n.Subnets {
		for _, ip := range taken {
			if !s.Prefix.Contains(ip) {
				continue
			}
			if err := d.opts.Pools.Free(context.WithoutCancel(ctx), s.Space, s.Prefix, time.Now(), ip); err != nil {
				d.log.WithField("network", n.ID).Error(err)
			}
		}
	}
}

// hostsOther returns the host's addresses on the LAN that e can reach by the
// host's own link there and nobody else has a way to in its sandbox.
func (d *Driver) hostsOther(ctx context.Context, n network, e store.Endpoint) (out []netip.Addr, err error) {
	v, ok := n.lan()
	if !ok || n.HostLink == "" {
		return nil, nil
	}
	has, err := d.opts.Kernel.Addresses(ctx, n.Namespace)
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]bool{}
	for _, o := range d.sortedNetworks() {
		for _, a := range o.HostAddresses {
			taken[a] = true
		}
	}
	for _, s := range d.siblings(e) {
		for _, a := range s.HostAddresses {
			taken[a] = true
		}
	}
	for a := range has {
		for _, own := range []netip.Prefix{e.IPv4, e.IPv6} {
			if !taken[a] && own.IsValid() && own.Masked().Contains(a) && v.HostAddress(own.Addr()).IsValid() {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}
