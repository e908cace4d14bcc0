package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// A Host is one host of the cluster.
type Host struct {
	Name string `json:"name"`
	// Instance is the ID of the host's store: another one under the same name is
	// another host.
	Instance string `json:"instance"`
	// Incarnation is drawn at random when the daemon starts, and kept in the store:
	// two that go on from one incarnation are copies of one machine.
	Incarnation string     `json:"incarnation"`
	Advertise   netip.Addr `json:"advertise"` // where the others send its segments' packets
	MTU         int        `json:"mtu"`       // bytes, of the link that has that address
	Version     string     `json:"version"`   // of fairway
	Started     time.Time  `json:"started"`
}

// A Segment is a layer-2 network that spans hosts.
type Segment struct {
	Name    string   `json:"name"`
	VNI     uint32   `json:"vni"`  // of its VXLAN (RFC 7348); 0: nobody has made a network of it yet
	Port    uint16   `json:"port"` // UDP, of its VXLAN
	Subnets []Subnet `json:"subnets"`
	// Options are those of the first network that must be the same on all hosts.
	Options map[string]string `json:"options"`

	raw []byte // the record that it was taken from; nil: none
}

// A Subnet is a pool of a segment, at most one in a family.
type Subnet struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway"` // invalid: nobody has asked for one yet
	Block   int          `json:"block"`   // length of the prefixes that hosts get of it
}

// Subnet returns the segment's subnet in a family; false if there is none.
func (s Segment) Subnet(v6 bool) (Subnet, bool) {
	i := slices.IndexFunc(s.Subnets, func(n Subnet) bool { return n.Prefix.Addr().Is6() == v6 })
	if i < 0 {
		return Subnet{}, false
	}
	return s.Subnets[i], true
}

// An Endpoint is a container's attachment to a segment, or a host's own.
type Endpoint struct {
	ID    string     `json:"id"`
	MAC   string     `json:"mac"` // colon form
	IPv4  netip.Addr `json:"ipv4"`
	IPv6  netip.Addr `json:"ipv6"`
	Names []string   `json:"names,omitempty"`
}

// An owner is who has a block or an address, or wants one.
type owner struct {
	Host string `json:"host"`
	// Nonce tells two requests of a host apart.
	Nonce string `json:"nonce,omitempty"`
}

// newSubnet returns a subnet that is yet to be shared out: IPv4 in at most 1,024
// blocks of at most 64 addresses, a small one in about as many blocks as a block
// has addresses; IPv6 in blocks of 2^16.
func newSubnet(p netip.Prefix) Subnet {
	open := p.Addr().BitLen() - p.Bits()
	most := 6
	if p.Addr().Is6() {
		most = 16
	}
	return Subnet{Prefix: p, Block: p.Addr().BitLen() - min(most, open/2)}
}

// block returns the block of s that an address is in.
func (s Subnet) block(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, s.Block).Masked() }

// name matches the names of hosts and segments, and the IDs of endpoints: what
// may be a part of a key.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`) //nolint:gochecknoglobals // a constant

// CheckName says why a name can't be a host's or a segment's.
func CheckName(s string) error {
	if len(s) > 63 || !name.MatchString(s) {
		return fmt.Errorf("name %q: want at most 63 letters, digits, - _ . and a letter or digit first", s)
	}
	return nil
}

// parse decodes a value and checks it. Fields that aren't known are a newer
// version's, and no mistake.
func parse[T interface{ check() error }](value []byte) (v T, err error) {
	const longest = 64 << 10
	if len(value) > longest {
		return v, fmt.Errorf("value of %d bytes", len(value))
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return v, err
	}
	return v, v.check()
}

func (h Host) check() error {
	switch {
	case CheckName(h.Name) != nil:
		return CheckName(h.Name)
	case !h.Advertise.IsValid() || h.Advertise.Zone() != "" || h.Advertise.IsMulticast() || h.Advertise.IsUnspecified():
		return fmt.Errorf("advertise address %s: want a unicast address", h.Advertise)
	case len(h.Instance) > 64 || len(h.Incarnation) > 64 || len(h.Version) > 128:
		return fmt.Errorf("host %s: fields too long", h.Name)
	}
	return nil
}

func (s Segment) check() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if s.VNI >= 1<<24 {
		return fmt.Errorf("vni %d: want at most %d", s.VNI, 1<<24-1)
	}
	if len(s.Subnets) > 2 || len(s.Subnets) == 2 && s.Subnets[0].Prefix.Addr().Is6() == s.Subnets[1].Prefix.Addr().Is6() {
		return fmt.Errorf("subnets %v: want at most one a family", s.Subnets)
	}
	for _, n := range s.Subnets {
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Subnet) check() error {
	switch {
	case !s.Prefix.IsValid() || s.Prefix != s.Prefix.Masked() || s.Prefix.Bits() == 0 || s.Prefix.Addr().Is4In6():
		return fmt.Errorf("subnet %s: want a prefix", s.Prefix)
	case s.Gateway.IsValid() && !s.Prefix.Contains(s.Gateway):
		return fmt.Errorf("gateway %s: not in %s", s.Gateway, s.Prefix)
	case s.Block < s.Prefix.Bits() || s.Block > s.Prefix.Addr().BitLen():
		return fmt.Errorf("blocks of length %d: not in %s", s.Block, s.Prefix)
	}
	return nil
}

func (e Endpoint) check() error {
	mac, err := net.ParseMAC(e.MAC)
	switch {
	case !name.MatchString(e.ID):
		return fmt.Errorf("endpoint %q: want an ID", e.ID)
	case err != nil || len(mac) != 6 || mac[0]&1 != 0:
		return fmt.Errorf("endpoint %s: mac %q: want a unicast MAC address", e.ID, e.MAC)
	case !e.IPv4.IsValid() && !e.IPv6.IsValid(), e.IPv4.IsValid() && !e.IPv4.Is4(),
		e.IPv6.IsValid() && (!e.IPv6.Is6() || e.IPv6.Is4In6() || e.IPv6.Zone() != ""):
		return fmt.Errorf("endpoint %s: addresses %s, %s", e.ID, e.IPv4, e.IPv6)
	}
	return nil
}

func (o owner) check() error { return CheckName(o.Host) }

// encode is the value of a segment's record. Any host of the cluster may change it:
// fields that only a newer version knows stay as they are.
func (s Segment) encode() []byte {
	var before struct{ Subnets []json.RawMessage }
	_ = json.Unmarshal(s.raw, &before) // none: a new record
	subnets := make([]json.RawMessage, len(s.Subnets))
	for i, n := range s.Subnets {
		subnets[i] = encode(n)
		for _, old := range before.Subnets {
			if was, err := parse[Subnet](old); err == nil && was.Prefix == n.Prefix {
				subnets[i] = over(old, subnets[i])
			}
		}
	}
	return over(s.raw, encode(struct {
		Segment
		Subnets []json.RawMessage `json:"subnets"`
	}{s, subnets}))
}

// over returns the object now with what else there is in old.
func over(old, now []byte) []byte {
	var was, is map[string]json.RawMessage
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(now, &is) != nil {
		return now // there was none
	}
	for field, value := range was {
		if _, ok := is[field]; !ok {
			is[field] = value
		}
	}
	return encode(is)
}

// encode is the value of a record. Our types always have one.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
