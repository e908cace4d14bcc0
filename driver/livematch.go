package driver

import (
	"slices"

	"fairway/store"
)

// answers reports whether a, which is published already, is what want asks for.
func answers(a, want store.PortBinding) bool {
	return a.Proto == want.Proto && a.Port == want.Port && a.HostIP == want.HostIP &&
		a.HostPort >= want.HostPort && a.HostPort <= max(want.HostPort, want.HostPortEnd)
}

// carriedOutBy reports whether p is published for the request r.
func carriedOutBy(r, p store.PortBinding) bool {
	if r.Proto != p.Proto || r.Port != p.Port {
		return false
	}
	if !p.HostIP.IsValid() && !p.OnItsOwn() { // gateway mode routed: the host has no part in it
		return true
	}
	return (!r.HostIP.IsValid() || r.HostIP == p.HostIP || p.OnItsOwn()) &&
		(r.HostPort == 0 || p.HostPort >= r.HostPort && p.HostPort <= max(r.HostPort, r.HostPortEnd))
}

// settled are added ports, to be found quickly: there may be thousands.
type settled map[settledKey][]store.PortBinding

type settledKey struct {
	proto          uint8
	hostPort, port uint16
}

func newSettled(added []store.PortBinding) settled {
	s := settled{}
	for _, a := range added {
		for _, hostPort := range []uint16{a.HostPort, 0} { // 0: see carriedOutBy
			k := settledKey{a.Proto, hostPort, a.Port}
			s[k] = append(s[k], a)
		}
	}
	return s
}

// of returns those of published that are published for one of s.
func (s settled) of(published []store.PortBinding) (out []store.PortBinding) {
	for _, p := range published {
		if _, ok := s.find(p); ok {
			out = append(out, p)
		}
	}
	return out
}

// find returns the one of s that p is published for.
func (s settled) find(p store.PortBinding) (store.PortBinding, bool) {
	same := s[settledKey{p.Proto, p.HostPort, p.Port}]
	i := slices.IndexFunc(same, func(a store.PortBinding) bool { return carriedOutBy(a, p) })
	if i < 0 {
		return p, false
	}
	return same[i], true
}

// answer returns the one of s that is what want asks for.
func (s settled) answer(want store.PortBinding) (store.PortBinding, bool) {
	for port := int(want.HostPort); port <= int(max(want.HostPort, want.HostPortEnd)); port++ {
		same := s[settledKey{want.Proto, uint16(port), want.Port}]
		if i := slices.IndexFunc(same, func(a store.PortBinding) bool { return answers(a, want) }); i >= 0 {
			return same[i], true
		}
	}
	return want, false
}

func setOf(all []store.PortBinding) map[store.PortBinding]bool {
	out := make(map[store.PortBinding]bool, len(all))
	for _, p := range all {
		out[p] = true
	}
	return out
}

// without returns what is in all and not in others.
func without(all, others []store.PortBinding) (out []store.PortBinding) {
	not := setOf(others)
	for _, p := range all {
		if !not[p] {
			out = append(out, p)
		}
	}
	return out
}
