package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// A Network is a Docker network of a segment that hosts of the cluster are to
// have, each by its own engine.
type Network struct {
	Name     string `json:"name"` // in Docker, the same on all hosts
	Segment  string `json:"segment"`
	Pools    []Pool `json:"pools,omitempty"` // at most one a family; the segment's where it isn't named
	Internal bool   `json:"internal,omitempty"`
	IPv6     bool   `json:"ipv6,omitempty"`
	// Options are those of the driver besides mode and segment.
	Options map[string]string `json:"options,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Hosts are who is to have it; none: all, also those that join later.
	Hosts []string `json:"hosts,omitempty"`
	// Removed says that nobody is to have it any more. The record stays until
	// nobody has.
	Removed bool `json:"removed,omitempty"`
}

// A Pool is a subnet that is asked for.
type Pool struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"` // invalid: the segment's
}

// Revision names what the network is like, whoever is to have it: two that an
// engine makes alike have the same.
func (n Network) Revision() string {
	n.Hosts, n.Removed = nil, false
	n.Pools = slices.Clone(n.Pools)
	slices.SortFunc(n.Pools, func(a, b Pool) int { return cmp.Compare(a.Subnet.String(), b.Subnet.String()) })
	sum := sha256.Sum256(encode(n))
	return hex.EncodeToString(sum[:8])
}

// For reports whether a host is to have the network.
func (n Network) For(host string) bool {
	return !n.Removed && (len(n.Hosts) == 0 || slices.Contains(n.Hosts, host))
}

// What a host says of a network.
const (
	NetworkMade    = "made"    // it has it, as wanted
	NetworkWorking = "working" // it is about to make or to remove it
	NetworkWaiting = "waiting" // containers are attached, or Docker isn't there
	NetworkRefused = "refused" // Docker said no; it is tried again
	NetworkLeft    = "left"    // it has it, and the cluster knows nothing of it
)

// A NetworkReport is what a host says of a network.
type NetworkReport struct {
	// Revision is that of the network which is wanted there; "" none is.
	Revision string `json:"revision"`
	State    string `json:"state"`
	Why      string `json:"why,omitempty"` // one line
}

// longestWhy bounds a report's line, in bytes.
const longestWhy = 512

// predefined are the networks that each engine has.
func predefined(name string) bool {
	return slices.Contains([]string{"bridge", "host", "none", "default", "ingress"}, name)
}

// Check says in one line what of a network can't be.
func (n Network) Check() error {
	if err := CheckName(n.Name); err != nil {
		return fmt.Errorf("network %w", err)
	}
	if predefined(n.Name) {
		return fmt.Errorf("network name %q: is one of Docker's own: want another", n.Name)
	}
	if n.Removed {
		return nil
	}
	if err := CheckName(n.Segment); err != nil {
		return fmt.Errorf("segment %w", err)
	}
	if len(n.Pools) > 2 || len(n.Pools) == 2 && n.Pools[0].Subnet.Addr().Is6() == n.Pools[1].Subnet.Addr().Is6() {
		return fmt.Errorf("network %s: %d subnets: want at most one of IPv4 and one of IPv6", n.Name, len(n.Pools))
	}
	for _, p := range n.Pools {
		switch {
		case !p.Subnet.IsValid() || p.Subnet != p.Subnet.Masked() || p.Subnet.Bits() == 0 || p.Subnet.Addr().Is4In6():
			return fmt.Errorf("subnet %s: want an address range such as 10.40.0.0/16", p.Subnet)
		case p.Gateway.IsValid() && !p.Subnet.Contains(p.Gateway):
			return fmt.Errorf("gateway %s: want an address of %s", p.Gateway, p.Subnet)
		}
	}
	for _, h := range n.Hosts {
		if err := CheckName(h); err != nil {
			return fmt.Errorf("host %w", err)
		}
	}
	return n.checkPairs()
}

// pairName matches the name of an option or label.
var pairName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$`) //nolint:gochecknoglobals // a constant

// LabelPrefix begins the labels by which a host knows what it has made.
const LabelPrefix = "fairway."

func (n Network) checkPairs() error {
	const most, longest = 64, 4096
	for what, pairs := range map[string]map[string]string{"option": n.Options, "label": n.Labels} {
		if len(pairs) > most {
			return fmt.Errorf("network %s: %d %ss: want at most %d", n.Name, len(pairs), what, most)
		}
		for k, v := range pairs {
			switch {
			case !pairName.MatchString(k):
				return fmt.Errorf("%s %q: want letters, digits, - _ . / and a letter or digit first", what, k)
			case len(v) > longest || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }):
				return fmt.Errorf("%s %s=%q: want at most %d printable characters", what, k, clip(v), longest)
			case what == "label" && strings.HasPrefix(k, LabelPrefix):
				return fmt.Errorf("label %s: those that begin with %s are fairway's own", k, LabelPrefix)
			case what == "option" && (k == "mode" || k == "segment"):
				return fmt.Errorf("option %s=%q: leave it out: the network's mode is overlay, and its segment %s", k, v, n.Segment)
			}
		}
	}
	return nil
}

func (n Network) check() error { return n.Check() }

func (r NetworkReport) check() error {
	known := []string{NetworkMade, NetworkWorking, NetworkWaiting, NetworkRefused, NetworkLeft}
	if !slices.Contains(known, r.State) || len(r.Revision) > 64 || len(r.Why) > longestWhy {
		return fmt.Errorf("report %q, revision %q", clip(r.State), clip(r.Revision))
	}
	return nil
}
