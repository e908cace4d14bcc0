package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Addresses of the LAN and of what lies behind its router.
const (
	Neighbour  = "203.0.113.1"
	Neighbour6 = "2001:db8:1::1"
	Outside    = "198.51.100.1"
	Outside6   = "2001:db8:ffff::1"
)

// A LAN is a bridge in a machine of its own, the neighbour: another host and
// the router to the outside at once. There 7/tcp and 7/udp answer with the
// client's address, as the neighbour sees it.
type LAN struct {
	Neighbour *Machine

	mu    sync.Mutex
	hosts int
}

// NewLAN makes a LAN with its neighbour.
func NewLAN(tools *Tools) (*LAN, error) {
	m, err := newMachine(tools, tools.Any(), "neighbour")
	if err != nil {
		return nil, err
	}
	l := &LAN{Neighbour: m}
	if err := m.boot(); err != nil {
		return nil, err
	}
	// No DAD: the answer to the first question must not wait for it.
	if _, err := m.try("sh", "-ec", `
		echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
		echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
		ip link add lan type bridge
		ip link set lan up
		ip addr add 203.0.113.1/24 dev lan
		ip addr add 2001:db8:1::1/64 dev lan nodad
		ip addr add 198.51.100.1/32 dev lo
		ip addr add 2001:db8:ffff::1/128 dev lo nodad
		/fw/probe serve tcp:7 udp:7 </dev/null >/run/seen 2>&1 &`); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends the neighbour; hosts on the LAN lose their uplink.
func (l *LAN) Close() error {
	return errors.Join(l.Neighbour.off(), os.RemoveAll(l.Neighbour.dir))
}

// Sees checks that the neighbour's server was asked by an address.
func (l *LAN) Sees(t testing.TB, proto, address string) {
	t.Helper()
	line := proto + " " + address
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := l.Neighbour.try("grep", "-qxF", line, "/run/seen"); err == nil {
			return
		}
	}
	t.Errorf("the neighbour was not asked by %s; last askers:\n%s", line, l.Neighbour.Exec(t, "tail", "-5", "/run/seen"))
}

// NeverSaw checks that the neighbour's server was not asked by an address.
func (l *LAN) NeverSaw(t testing.TB, proto, address string) {
	t.Helper()
	if _, err := l.Neighbour.try("grep", "-qxF", proto+" "+address, "/run/seen"); err == nil {
		t.Errorf("the neighbour was asked by %s %s", proto, address)
	}
}

// address returns the n-th host's addresses.
func address(n int) (v4, v6 string) {
	return fmt.Sprintf("203.0.113.%d", 10+n), fmt.Sprintf("2001:db8:1::%x", 0x10+n)
}

// plug gives a host its uplink eth0, both families, and the way out.
func (l *LAN) plug(h *Host) error {
	port := fmt.Sprintf("port%d", h.number)
	_, _ = l.Neighbour.try("ip", "link", "del", port) // of before a reboot: the kernel takes its time
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace = "eth0", netlink.NsPid(h.PID())
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: port, PeerNamespace: netlink.NsPid(l.Neighbour.PID()),
	}); err != nil {
		return fmt.Errorf("lab: plug %s into the LAN: %w", h.Name, err)
	}
	if _, err := l.Neighbour.try("ip", "link", "set", port, "master", "lan", "up"); err != nil {
		return err
	}
	_, err := h.try("sh", "-ec", fmt.Sprintf(`
		ip link set eth0 up
		ip addr add %s/24 dev eth0
		ip addr add %s/64 dev eth0 nodad
		ip route add default via %s
		ip -6 route add default via %s
		echo nameserver %[3]s >/etc/resolv.conf`, h.IP, h.IP6, Neighbour, Neighbour6))
	return err
}

// Route lets the neighbour send packets for a subnet to a host, as somebody on
// its LAN could, until the test ends.
func (l *LAN) Route(t testing.TB, subnet string, h *Host) {
	t.Helper()
	family, via := "-4", h.IP
	if isV6(subnet) {
		family, via = "-6", h.IP6
	}
	l.Neighbour.Exec(t, "ip", family, "route", "add", subnet, "via", via)
	t.Cleanup(func() {
		if l.Neighbour.init != nil {
			_, _ = l.Neighbour.try("ip", family, "route", "del", subnet, "via", via)
		}
	})
}

// Plug gives a host another link on the LAN, without addresses, until the test
// ends. Unplug takes it away before; both may be repeated.
func (l *LAN) Plug(t testing.TB, h *Host, name string) {
	t.Helper()
	port := fmt.Sprintf("%s.%d", name, h.number)
	l.Unplug(t, h, name)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace = name, netlink.NsPid(h.PID())
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: port, PeerNamespace: netlink.NsPid(l.Neighbour.PID()),
	}); err != nil {
		t.Fatalf("lab: plug %s of %s into the LAN: %v", name, h.Name, err)
	}
	l.Neighbour.Exec(t, "ip", "link", "set", port, "master", "lan", "up")
	h.Exec(t, "ip", "link", "set", name, "up")
	t.Cleanup(func() {
		if l.Neighbour.init != nil {
			_, _ = l.Neighbour.try("ip", "link", "del", port)
		}
	})
}

// Unplug takes away what Plug gave. The neighbour forgets whom it had learned:
// a host with two links on a LAN answers for its address by either.
func (l *LAN) Unplug(t testing.TB, h *Host, name string) {
	t.Helper()
	_, _ = l.Neighbour.try("ip", "link", "del", fmt.Sprintf("%s.%d", name, h.number))
	l.Neighbour.Exec(t, "ip", "neigh", "flush", "dev", "lan")
}
