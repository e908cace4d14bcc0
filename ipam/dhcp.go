package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"fairway/event"
	"fairway/store"
)

// Leases gets addresses from the DHCP servers of a link's LAN, and keeps them.
type Leases interface {
	// Acquire gets a lease for the parent, the MAC address and the container's name
	// of want, of its address if that is valid, and if it must be of none other. It
	// is the caller's to record. The same asker gets the same lease.
	Acquire(ctx context.Context, want store.Lease, must bool) (store.Lease, error)
	// Release gives a lease back, if there is one. It doesn't wait.
	Release(space string, subnet netip.Prefix, ip netip.Addr)
	// Lease returns the lease of an address.
	Lease(space string, subnet netip.Prefix, ip netip.Addr) (store.Lease, bool)
	// Decline is Release of an address that somebody else has.
	Decline(space string, subnet netip.Prefix, ip netip.Addr)
}

// The values of the option source.
const (
	sourceLocal = "local"
	sourceDHCP  = "dhcp"
)

// parent returns the link on whose LAN the DHCP servers are that hand out the
// addresses of h; "" if fairway does.
func (h *handle) parent() string {
	if h.Options["source"] != sourceDHCP {
		return ""
	}
	return h.Options["parent"]
}

// leased reports whether addresses of s come from DHCP servers.
func (s *subnet) leased() bool {
	for _, h := range s.handles {
		if h.parent() != "" {
			return true
		}
	}
	return false
}

// Parents returns the links on whose LANs the DHCP servers of a subnet are; none
// for a subnet whose addresses don't come from there. There may be several of a
// subnet that nobody named, one for each network.
func (a *Allocator) Parents(space string, prefix netip.Prefix) (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.subnet(space, prefix)
	if s == nil {
		return nil
	}
	for _, h := range s.handles {
		if p := h.parent(); p != "" {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return names
}

// Lease returns what a DHCP server said with an address; ok is false if none gave
// it.
func (a *Allocator) Lease(space string, prefix netip.Prefix, ip netip.Addr) (l store.Lease, ok bool) {
	if a.leases == nil {
		return l, false
	}
	return a.leases.Lease(space, prefix, ip)
}

// checkSource refuses what contradicts the source of addresses.
func (w *wanted) checkSource(text, ipRange string) error {
	switch {
	case w.source != sourceDHCP && w.parent != "":
		return fmt.Errorf("option parent=%q: not allowed without source=dhcp", w.parent)
	case w.source != sourceDHCP:
		return nil
	case w.parent == "":
		return errors.New(`option source="dhcp": want parent=LINK, too: the link on whose LAN the DHCP server is`)
	case w.shared:
		return errors.New(`option shared="true": not allowed with source=dhcp, where networks may share a subnet anyhow`)
	case ipRange != "":
		return fmt.Errorf("ip-range %q: not allowed with source=dhcp: the server chooses the addresses", ipRange)
	case w.subnet.IsValid():
		return nil
	case w.size != 0:
		return fmt.Errorf("pool %s: not allowed with source=dhcp: want the LAN's subnet, or none", text)
	case w.v6:
		return errors.New("source=dhcp: want an IPv6 subnet, such as 2001:db8::/64: DHCPv6 servers don't tell it")
	}
	w.subnet = netip.PrefixFrom(netip.IPv4Unspecified(), 0) // of what length it is, the server tells
	return nil
}

// takes is how many addresses of a server's are taken before it is given up: it
// offers others once it has heard that one is in use.
const takes = 3

// requestLease gives out an address that a DHCP server gives. Nothing is locked
// while it is asked. The reply carries the length of the subnet or, where the user
// named none, that which the server says.
func (a *Allocator) requestLease(ctx context.Context, spec AddressSpec, want store.Lease, gone *lease) (netip.Prefix, error) {
	for range takes {
		got, err := a.leases.Acquire(ctx, want, spec.Address.IsValid())
		if err != nil {
			return netip.Prefix{}, err
		}
		if gone == nil {
			now := spec
			now.Address = got.IP
			gone = a.askStale(ctx, now) // the server may know sooner than we that it is free
		}
		p, commit, finish, err := a.takeLease(ctx, spec, got, gone)
		gone = nil
		if errors.Is(err, errTaken) {
			a.log.WithField(event.Field, event.AddressTaken).WithField("address", got.IP).WithField("server", got.Server).Warn("DHCP server gave an address that is in use here")
			a.leases.Decline(got.Space, got.Subnet, got.IP)
			if !spec.Address.IsValid() {
				want.IP = netip.Addr{}
				continue
			}
			return netip.Prefix{}, fmt.Errorf("address %s is already in use", got.IP)
		}
		if err == nil {
			err = a.await(ctx, commit, finish)
		}
		if err != nil {
			a.leases.Release(got.Space, got.Subnet, got.IP)
			return netip.Prefix{}, fmt.Errorf("ipam: request address %s of pool %s: %w", got.IP, got.Subnet, err)
		}
		return p, nil
	}
	return netip.Prefix{}, fmt.Errorf("parent %s: the DHCP server gives addresses that are in use here, such as gateways and auxiliary addresses", want.Parent)
}

var errTaken = errors.New("is in use") //nolint:gochecknoglobals // an error value

// takeLease makes a lease an address of its pool, and begins to record both.
func (a *Allocator) takeLease(ctx context.Context, spec AddressSpec, got store.Lease, gone *lease) (
	p netip.Prefix, commit <-chan error, finish func(error), err error,
) {
	h, err := a.lock(ctx, spec.Pool)
	if err != nil {
		return p, nil, nil, err
	}
	defer a.mu.Unlock()
	if h == nil {
		return p, nil, nil, errors.New("the pool was released meanwhile")
	}
	s := h.subnet
	l := s.entries[got.IP].now
	if l.inUse() && l != gone && !l.sameClient(spec) && !s.chosen[got.IP] {
		return p, nil, nil, errTaken
	}
	delete(s.chosen, got.IP) // a gateway that nobody named
	put, finish := a.write(s, store.Address{
		Space: s.space, Subnet: s.prefix, IP: got.IP, Engine: spec.Engine, Pool: h.ID,
		Kind: store.KindEndpoint, Name: spec.Name, MAC: spec.MAC, Created: a.now(),
	})
	bits := s.prefix.Bits()
	if bits == 0 {
		bits = got.Bits
	}
	h.Confirmed, h.noted = true, true
	changes := append(a.sweep(4), put, store.PutLease(got), store.PutPool(h.Pool))
	return netip.PrefixFrom(got.IP, bits), a.store.Begin(changes...), finish, nil
}

// sameClient reports whether l is of the container that spec is of: what it had
// before, and Docker didn't give back since it was killed.
func (l *lease) sameClient(spec AddressSpec) bool {
	return l.Kind == store.KindEndpoint && (l.MAC == spec.MAC || l.Name != "" && l.container() == containerName{spec.Engine, spec.Name})
}

// wish returns what to ask DHCP servers for. The caller holds the lock.
//
// Servers know a container by its name, so that it gets its address again,
// whatever its MAC address is then. Where the container lives still with another
// address of the LAN, in another network, the name can't tell the two.
func (h *handle) wish(spec AddressSpec) store.Lease {
	s := h.subnet
	want := store.Lease{Space: s.space, Subnet: s.prefix, Engine: spec.Engine, Parent: h.parent(), MAC: spec.MAC, Name: spec.Name, IP: spec.Address}
	if spec.Name == "" {
		return want
	}
	before, ok := s.names[containerName{spec.Engine, spec.Name}]
	if !ok {
		return want
	}
	if l := s.entries[before].now; l.inUse() && l.Confirmed && l.Pool != h.ID {
		want.Name = ""
		return want
	}
	if !want.IP.IsValid() {
		want.IP = before
	}
	return want
}
