package ipam

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// mostTaken bounds how many addresses of one request may turn out to be others':
// an answer takes a millisecond or so, and a pool that is all others' is the
// user's to mend.
const mostTaken = 64

// holder returns who has an address, which spec was given, on a LAN; "" for
// nobody. What comes from a DHCP server is the server's to vouch for.
func (a *Allocator) holder(ctx context.Context, spec AddressSpec, ip netip.Addr) string {
	a.mu.Lock()
	h := a.handles[spec.Pool]
	a.mu.Unlock()
	if h == nil || h.parent() != "" {
		return "" // released meanwhile, or by DHCP
	}
	mac, _ := net.ParseMAC(spec.MAC)
	return a.taken(ctx, h.Space, h.Subnet, ip, mac)
}

// forfeit takes back an address that spec was given and somebody else has. It
// isn't handed out again before the reuse delay is over, nor remembered for the
// container's name.
func (a *Allocator) forfeit(ctx context.Context, spec AddressSpec, ip netip.Addr) error {
	h, err := a.lock(ctx, spec.Pool)
	if err != nil {
		return fmt.Errorf("ipam: request address: %w", err)
	}
	if h == nil {
		a.mu.Unlock()
		return nil
	}
	l := h.subnet.entries[ip].now
	if !l.unconfirmed() || l.Pool != h.ID {
		a.mu.Unlock()
		return nil // somebody else's meanwhile
	}
	freed := a.freed(l)
	freed.Name, freed.MAC = "", ""
	put, finish := a.write(h.subnet, freed)
	commit := a.store.Begin(put)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return fmt.Errorf("ipam: release address %s of pool %s: %w", ip, h.subnet.prefix, err)
	}
	return nil
}
