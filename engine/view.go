package engine

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A View is everything that one engine knows of fairway's at one time.
type View struct {
	Engine  string // as PeerEngine names it
	Version string // of the engine
	// Networks of the driver fairway, and those of other drivers that have
	// their addresses from fairway's IPAM driver, by ID.
	Networks map[string]Network
	// Containers says of those that Options.Asked named whether the engine has
	// them, running or not, by ID.
	Containers map[string]bool
}

// A Network is a network as its engine tells it.
type Network struct {
	Name      string
	Driver    bool // fairway is its driver
	IPAM      bool // fairway is its IPAM driver
	Subnets   []Subnet
	Endpoints map[string]Endpoint // by ID
}

// A Subnet is a pool of a network.
type Subnet struct {
	// Prefix is masked. It is invalid where the engine shows only the size that
	// was asked for (0.0.0.0/24; before 29) and no endpoint tells more.
	Prefix  netip.Prefix
	Gateway netip.Addr   // invalid if not told: engines before 29 name only one that was asked for
	Aux     []netip.Addr // --aux-address
}

// An Endpoint is a running container's attachment to a network.
type Endpoint struct {
	ContainerID string // "" for the engine's own
	Name        string // of the container
	// Names are what it is found by on a network of mode overlay, Name first, then
	// aliases; nil on others.
	Names      []string
	IPv4, IPv6 netip.Prefix
}

// A Pool is a subnet of one network, and the addresses of it that are known to
// be in use.
type Pool struct {
	Subnet    netip.Prefix
	Addresses []netip.Addr
}

// Pools returns the subnets of all networks that have theirs from fairway's
// IPAM driver, one entry for each network and subnet. If it is not complete, the
// engine has pools that are not among them.
func (v View) Pools() (pools []Pool, complete bool) {
	complete = true
	for _, n := range v.Networks {
		if !n.IPAM {
			continue
		}
		for _, s := range n.Subnets {
			if !s.Prefix.IsValid() {
				complete = false
				continue
			}
			pools = append(pools, Pool{s.Prefix, n.used(s)})
		}
	}
	return pools, complete
}

// used returns the addresses of s that the engine names.
func (n Network) used(s Subnet) []netip.Addr {
	used := append([]netip.Addr(nil), s.Aux...)
	if s.Gateway.IsValid() {
		used = append(used, s.Gateway)
	}
	for _, e := range n.Endpoints {
		for _, ip := range []netip.Prefix{e.IPv4, e.IPv6} {
			if ip.IsValid() && s.Prefix.Contains(ip.Addr()) {
				used = append(used, ip.Addr())
			}
		}
	}
	return used
}

// isOurs reports whether Docker's name of a driver or IPAM driver is fairway's:
// a service has no tag, a managed plugin has.
func isOurs(name string) bool {
	return name == "fairway" || strings.HasPrefix(name, "fairway:")
}

// nameMax is more than a name in Docker has, in bytes; what it is put into
// (IFALIAS) holds 255.
const nameMax = 128

// clean makes a name harmless to show: valid UTF-8, nothing that isn't printed,
// not endless.
func clean(name string) string { return cleanTo(name, nameMax) }

// lineMax is how long a line of the engine's may be, in bytes.
const lineMax = 400

// cleanTo is clean for a text of at most so many bytes.
func cleanTo(name string, most int) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	if len(name) <= most {
		return name
	}
	end := most
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}
