package nat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// ErrAllocated is why a host port can't be taken: another endpoint or a
// process of the host has it. The words are Docker's.
var ErrAllocated = errors.New("port is already allocated")

// A Request is for one port of the host.
type Request struct {
	Proto   uint8        // IP protocol number: 6 tcp, 17 udp, 132 sctp
	HostIPs []netip.Addr // the same port is taken on each; 0.0.0.0 and :: for all of a family
	// Targets are where a Proxy carries what comes to the port's sockets, one for
	// each of HostIPs; an invalid one for nowhere. It may be nil.
	Targets []netip.AddrPort
	// First to Last: the first free one is taken. 0: an ephemeral port, out of
	// net.ipv4.ip_local_port_range less ip_local_reserved_ports. Last may be 0
	// for just First.
	First, Last uint16
}

// A Held port is a port of the host on one of its addresses.
type Held struct {
	Owner  string
	Proto  uint8
	HostIP netip.Addr
	Port   uint16
	Target netip.AddrPort // where a Proxy carries what comes to its socket; invalid: nowhere
	// Err is why no socket holds the port although it is the owner's; nil for
	// sctp, which has none.
	Err error
}

// A Proxy carries to a container what comes to a socket that holds a port and
// the kernel hasn't translated: see nat/proxy.
type Proxy interface {
	// Serve begins with it. The socket listens, or is bound for udp, with a filter
	// that is the proxy's to replace; nothing uses it any more when stop returns.
	Serve(fd int, proto uint8, to netip.AddrPort) (stop func(), err error)
}

// Ports are the host's ports that are taken for endpoints. Each is held by a
// bound socket, so that no other process gets it (KERNEL.md 1.5). It doesn't
// listen, unless a Proxy serves on it, and has no goroutine or buffer. They are
// let go when the process ends: Restore takes them again.
type Ports struct {
	step  func(string)
	proxy Proxy

	mu     sync.Mutex
	owners map[string][]*hold
	byPort map[protoPort][]*hold // the same
}

// A hold is a port on one address.
type hold struct {
	key
	owner  string
	target netip.AddrPort // see Request
	fd     int            // -1: no socket of its own
	// twin has the same port on all addresses of the other family, and one socket
	// is for both: that of the one for IPv6. See openBoth.
	twin *hold
	stop func() // ends what the proxy does on it; nil: nothing
	err  error  // why there is no socket
}

type key struct {
	protoPort
	ip netip.Addr
}

type protoPort struct {
	proto uint8
	port  uint16
}

func newKey(proto uint8, ip netip.Addr, port uint16) key {
	return key{protoPort{proto, port}, ip.Unmap()}
}

// NewPorts returns an empty set of ports. Step is told of every change before
// it is made; it may be nil, and so may proxy: targets are of no use then.
func NewPorts(step func(string), proxy Proxy) *Ports {
	if step == nil {
		step = func(string) {}
	}
	makeRoom(roomAtStart)
	return &Ports{step: step, proxy: proxy, owners: map[string][]*hold{}, byPort: map[protoPort][]*hold{}}
}

// Reserve takes a port for every request, or none at all, and returns them in
// the order of the requests. What the owner held before and requests again it
// keeps; what it doesn't request any more is free afterwards. If it fails, the
// owner has what it had before. The same requests get the same ports.
//
// A port that is taken is ErrAllocated; an address that is not the host's is
// unix.EADDRNOTAVAIL.
func (p *Ports) Reserve(ctx context.Context, owner string, want []Request) ([]uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := checkRequests(want); err != nil {
		return nil, err
	}
	p.step("ports.reserve")
	r := newReservation(p, owner, want)
	if err := r.run(ctx); err != nil {
		r.undo()
		return nil, err
	}
	r.finish()
	return r.ports, nil
}

func checkRequests(want []Request) error {
	for _, w := range want {
		if ProtoName(w.Proto) == "" {
			return fmt.Errorf("ports: protocol %d: want tcp, udp or sctp", w.Proto)
		}
		if len(w.HostIPs) == 0 || slices.ContainsFunc(w.HostIPs, func(a netip.Addr) bool { return !a.IsValid() }) {
			return fmt.Errorf("ports: port %d: no host address", w.First)
		}
		if w.Last != 0 && w.Last < w.First {
			return fmt.Errorf("ports: range %d-%d: ends before it begins", w.First, w.Last)
		}
		if w.Targets != nil && len(w.Targets) != len(w.HostIPs) {
			return fmt.Errorf("ports: port %d: %d targets for %d host addresses", w.First, len(w.Targets), len(w.HostIPs))
		}
	}
	return nil
}

// Restore takes ports again that the owner had before a restart. Those that
// somebody else took meanwhile are in the error, one line each; they stay the
// owner's, since packets from outside are translated before a socket sees them.
// An address need not be the host's yet.
func (p *Ports) Restore(owner string, held []Held) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step("ports.restore")
	holds := make([]*hold, 0, len(held))
	for _, h := range held {
		k := newKey(h.Proto, h.HostIP, h.Port)
		i := slices.IndexFunc(p.byPort[k.protoPort], func(o *hold) bool { return o.owner == owner && o.key == k })
		var n *hold
		if i >= 0 {
			n = p.byPort[k.protoPort][i]
		} else {
			n = &hold{key: k, owner: owner, fd: -1, err: p.conflict(k, nil)}
			p.owners[owner] = append(p.owners[owner], n)
			p.byPort[k.protoPort] = append(p.byPort[k.protoPort], n)
		}
		if n.target != h.Target {
			_ = p.retarget(n, h.Target)
		}
		holds = append(holds, n)
	}
	return p.reopen(holds)
}

// Release gives back all that the owner holds.
func (p *Ports) Release(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.owners[owner]) > 0 {
		p.step("ports.release")
	}
	closeAll(p.owners[owner])
	p.set(owner, nil)
}

// Held lists all that is held, by owner.
func (p *Ports) Held() []Held {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Held
	for owner, holds := range p.owners {
		for _, h := range holds {
			out = append(out, Held{Owner: owner, Proto: h.proto, HostIP: h.ip, Port: h.port, Target: h.target, Err: h.err})
		}
	}
	slices.SortStableFunc(out, func(a, b Held) int { return strings.Compare(a.Owner, b.Owner) })
	return out
}

// Close lets every port go.
func (p *Ports) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, holds := range p.owners {
		closeAll(holds)
	}
	clear(p.owners)
	clear(p.byPort)
	return nil
}

// conflict returns the error for k if an owner has it already: the table knows
// what sockets can't say, sctp and what Restore couldn't bind. Holds in except
// don't count.
func (p *Ports) conflict(k key, except map[*hold]bool) error {
	for _, h := range p.byPort[k.protoPort] {
		if overlap(h.ip, k.ip) && !except[h] {
			return conflictOf(k, h.owner)
		}
	}
	return nil
}

// set makes holds all that owner has.
func (p *Ports) set(owner string, holds []*hold) {
	for _, h := range p.owners[owner] {
		same := slices.DeleteFunc(p.byPort[h.protoPort], func(o *hold) bool { return o == h })
		if p.byPort[h.protoPort] = same; len(same) == 0 {
			delete(p.byPort, h.protoPort)
		}
	}
	delete(p.owners, owner)
	for _, h := range holds {
		p.byPort[h.protoPort] = append(p.byPort[h.protoPort], h)
	}
	if len(holds) > 0 {
		p.owners[owner] = holds
	}
}

// overlap reports whether a socket on a and one on b want the same packets.
func overlap(a, b netip.Addr) bool {
	return a == b || a.Is6() == b.Is6() && (a.IsUnspecified() || b.IsUnspecified())
}
