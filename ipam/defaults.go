package ipam

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
)

// A DefaultPool is a prefix that is cut into pools of one size for those who
// don't name a subnet.
type DefaultPool struct {
	Base netip.Prefix
	Size int // prefix length of the pools, at least Base's
}

// String returns the pool in the form of the flag --default-address-pool.
func (p DefaultPool) String() string { return fmt.Sprintf("base=%s,size=%d", p.Base, p.Size) }

// LocalPools returns the default pools of the local address space: Docker's own
// for IPv4, and for IPv6 the /64 subnets of a /48 unique local prefix (RFC 4193)
// that is made of instance, so that two hosts are unlikely to have the same.
func LocalPools(instance string) []DefaultPool {
	return []DefaultPool{
		{netip.MustParsePrefix("172.17.0.0/16"), 16},
		{netip.MustParsePrefix("172.18.0.0/16"), 16},
		{netip.MustParsePrefix("172.19.0.0/16"), 16},
		{netip.MustParsePrefix("172.20.0.0/14"), 16},
		{netip.MustParsePrefix("172.24.0.0/14"), 16},
		{netip.MustParsePrefix("172.28.0.0/14"), 16},
		{netip.MustParsePrefix("192.168.0.0/16"), 20},
		{uniqueLocal(instance), 64},
	}
}

// GlobalPools returns the default pools of the global address space.
func GlobalPools(instance string) []DefaultPool {
	return []DefaultPool{
		{netip.MustParsePrefix("10.0.0.0/8"), 24},
		{uniqueLocal(instance), 64},
	}
}

// uniqueLocal returns the /48 prefix fd00::/8 with a global ID made of seed.
func uniqueLocal(seed string) netip.Prefix {
	sum := sha256.Sum256([]byte("fairway unique local prefix\x00" + seed))
	b := [16]byte{0xfd}
	copy(b[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

// checkDefaults returns pools with their bases masked, or says which is wrong.
func checkDefaults(pools []DefaultPool) ([]DefaultPool, error) {
	out := make([]DefaultPool, 0, len(pools))
	for _, p := range pools {
		switch {
		case !p.Base.IsValid() || p.Base.Addr().Is4In6():
			return nil, fmt.Errorf("default address pool %s: want a subnet as base", p)
		case p.Size < p.Base.Bits() || p.Size == 0 || p.Size > p.Base.Addr().BitLen():
			return nil, fmt.Errorf("default address pool %s: want a size from %d to %d",
				p, max(1, p.Base.Bits()), p.Base.Addr().BitLen())
		}
		out = append(out, DefaultPool{p.Base.Masked(), p.Size})
	}
	return out, nil
}

// SetDefaultPools changes what pools are taken from whose subnet isn't named; nil
// for LocalPools and GlobalPools. Pools that were handed out stay as they are.
func (a *Allocator) SetDefaultPools(pools []DefaultPool) error {
	local := LocalPools(a.instance)
	defaults := map[string][]DefaultPool{SpaceLocal: local, SpaceGlobal: GlobalPools(a.instance), SpaceIPvlan: local}
	if pools != nil {
		checked, err := checkDefaults(pools)
		if err != nil {
			return fmt.Errorf("ipam: %w", err)
		}
		for name := range defaults {
			defaults[name] = checked
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.defaults = defaults
	return nil
}
