package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The kinds of keys, below the cluster's prefix.
const (
	kindHost     = "hosts"     // hosts/HOST: a Host
	kindAlive    = "alive"     // alive/HOST: the host's incarnation; goes with its lease
	kindSegment  = "segments"  // segments/SEGMENT: a Segment
	kindVNI      = "vnis"      // vnis/NUMBER: the name of the segment that has it
	kindMember   = "members"   // members/SEGMENT/HOST: an owner; the host has networks of it
	kindEndpoint = "endpoints" // endpoints/SEGMENT/HOST/ID: an Endpoint
	kindBlock    = "blocks"    // blocks/SEGMENT/BLOCK: the owner that hands it out
	kindClaim    = "claims"    // claims/SEGMENT/BLOCK/IP: the owner of an address in whosever block
	kindWant     = "wants"     // wants/SEGMENT/BLOCK/IP: who wants it of its owner; goes with the asker's lease

	kindNetwork   = "networks"    // networks/NAME: a Network
	kindNetworkOn = "networks-on" // networks-on/NAME/HOST: a NetworkReport
)

func hostKey(host string) string            { return kindHost + "/" + host }
func aliveKey(host string) string           { return kindAlive + "/" + host }
func segmentKey(segment string) string      { return kindSegment + "/" + segment }
func vniKey(vni uint32) string              { return kindVNI + "/" + strconv.FormatUint(uint64(vni), 10) }
func memberKey(segment, host string) string { return kindMember + "/" + segment + "/" + host }

func networkKey(name string) string { return kindNetwork + "/" + name }

func networkOnKey(name, host string) string { return kindNetworkOn + "/" + name + "/" + host }

func endpointKey(segment, host, id string) string {
	return kindEndpoint + "/" + segment + "/" + host + "/" + id
}

func blockKey(segment string, b netip.Prefix) string {
	return kindBlock + "/" + segment + "/" + blockName(b)
}

func claimKey(segment string, b netip.Prefix, ip netip.Addr) string {
	return kindClaim + "/" + segment + "/" + blockName(b) + "/" + ip.String()
}

func wantKey(segment string, b netip.Prefix, ip netip.Addr) string {
	return kindWant + "/" + segment + "/" + blockName(b) + "/" + ip.String()
}

// blockName writes a prefix without a slash.
func blockName(b netip.Prefix) string { return b.Addr().String() + "-" + strconv.Itoa(b.Bits()) }

func parseBlock(s string) (netip.Prefix, error) {
	at := strings.LastIndexByte(s, '-')
	if at < 0 {
		return netip.Prefix{}, fmt.Errorf("block %q", s)
	}
	p, err := netip.ParsePrefix(s[:at] + "/" + s[at+1:])
	if err == nil && (p != p.Masked() || blockName(p) != s) {
		err = fmt.Errorf("block %q", s)
	}
	return p, err
}

// A path is a key, taken apart.
type path struct {
	kind, segment, host, id string
	block                   netip.Prefix
	ip                      netip.Addr
}

// errKind is what parseKey says of a kind that a newer version may have made.
var errKind = errors.New("a kind of record that isn't known") //nolint:gochecknoglobals // an error value

// parseKey takes a key apart, and refuses what can't be one of ours.
func parseKey(key string) (p path, err error) {
	parts := strings.Split(key, "/")
	p.kind = parts[0]
	wrong := fmt.Errorf("key %q", key)
	want := map[string]int{
		kindHost: 2, kindAlive: 2, kindSegment: 2, kindVNI: 2, kindMember: 3, kindEndpoint: 4, kindBlock: 3, kindClaim: 4, kindWant: 4,
		kindNetwork: 2, kindNetworkOn: 3,
	}
	if want[p.kind] == 0 {
		return p, fmt.Errorf("key %q: %w", key, errKind)
	}
	if len(parts) != want[p.kind] {
		return p, wrong
	}
	for _, s := range parts[1:] {
		if s == "" || len(s) > 256 {
			return p, wrong
		}
	}
	switch p.kind {
	case kindVNI:
		p.id = parts[1]
		return p, nil
	case kindHost, kindAlive:
		p.host = parts[1]
		return p, CheckName(p.host)
	case kindNetwork:
		p.id = parts[1]
		return p, CheckName(p.id)
	case kindNetworkOn:
		p.id, p.host = parts[1], parts[2]
		return p, cmp.Or(CheckName(p.id), CheckName(p.host))
	}
	p.segment = parts[1]
	if err := CheckName(p.segment); err != nil {
		return p, err
	}
	switch p.kind {
	case kindMember:
		p.host = parts[2]
		return p, CheckName(p.host)
	case kindEndpoint:
		p.host, p.id = parts[2], parts[3]
		return p, CheckName(p.host)
	case kindBlock, kindClaim, kindWant:
		if p.block, err = parseBlock(parts[2]); err != nil {
			return p, err
		}
	}
	if p.kind == kindClaim || p.kind == kindWant {
		p.ip, err = netip.ParseAddr(parts[3])
		if err == nil && (!p.block.Contains(p.ip) || p.ip.String() != parts[3]) {
			err = wrong
		}
	}
	return p, err
}
