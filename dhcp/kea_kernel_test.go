//go:build kernel

package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairway/store"
)

// kea4 and kea6 are servers with leases of ten seconds.
const (
	kea4 = `{"Dhcp4": {"interfaces-config": {"interfaces": ["br0"]}, "lease-database": {"type": "memfile", "persist": false},
		"renew-timer": 2, "rebind-timer": 6, "valid-lifetime": 10, "authoritative": true,
		"host-reservation-identifiers": ["hw-address", "client-id"],
		"subnet4": [{"id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.%d - 192.0.2.%d"}],
			"option-data": [{"name": "routers", "data": "192.0.2.1"}],
			"reservations": [{"hw-address": "02:00:00:00:00:07", "ip-address": "192.0.2.77"}]}],
		"loggers": [{"name": "kea-dhcp4", "severity": "DEBUG", "debuglevel": 50, "output_options": [{"output": "stdout"}]}]}}`
	kea6 = `{"Dhcp6": {"server-id": {"type": "EN", "enterprise-id": 2495, "identifier": "0001", "persist": false}, "interfaces-config": {"interfaces": ["br0"]}, "lease-database": {"type": "memfile", "persist": false},
		"renew-timer": 2, "rebind-timer": 6, "preferred-lifetime": 8, "valid-lifetime": 10,
		"subnet6": [{"id": 1, "subnet": "2001:db8::/64", "interface": "br0", "pools": [{"pool": "2001:db8::%d - 2001:db8::%d"}],
			"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}]}],
		"loggers": [{"name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 50, "output_options": [{"output": "stdout"}]}]}}`
)

// kea starts a Kea server on the far side with a pool, and waits until it serves.
func (l *lan) kea(program, config string, from, to int) *server {
	l.t.Helper()
	dir := filepath.Join(l.dir, fmt.Sprint(program, from))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	file := filepath.Join(dir, "kea.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, from, to), 0o644); err != nil {
		l.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		l.t.Fatal(err)
	}
	for up := false; !up; time.Sleep(20 * time.Millisecond) { // it wants the link's carrier
		l.in(l.far, func() {
			out, _ := exec.Command("ip", "-o", "link", "show", "br0").Output()
			up = strings.Contains(string(out), "state UP")
		})
	}
	s := &server{cmd: exec.Command(program, "-c", file), log: log}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "KEA_DHCP_DATA_DIR="+dir)
	l.in(l.far, func() { err = s.cmd.Start() })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.stop)
	s.says(l.t, "_STARTED ")
	return s
}

func wish6(n int, name string) store.Lease {
	want := wish(n, name)
	want.Subnet = netip.MustParsePrefix("2001:db8::/64")
	return want
}

// Leases of a real Kea are renewed, lost when it doesn't know them any more, and
// given back.
func TestKea(t *testing.T) {
	for _, v := range []struct {
		program, config, renewed, released string
		wish                               func(int, string) store.Lease
	}{
		{"kea-dhcp4", kea4, "DHCP4_LEASE_ALLOC", "DHCP4_RELEASE", wish},
		{"kea-dhcp6", kea6, "DHCP6_RENEW", "DHCP6_RELEASE", wish6},
	} {
		t.Run(v.program, func(t *testing.T) {
			l := newLAN(t)
			s := l.kea(v.program, v.config, 50, 60)
			m := newMemory()
			c, _ := l.client(m, 0)
			got, err := c.Acquire(t.Context(), v.wish(1, "web"), false)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.said())
			}
			m.keep(got)
			inside(l, got)
			var last store.Lease
			for range 600 {
				if last = m.leases()[0]; last.Obtained.After(got.Obtained) {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if last.IP != got.IP || !last.Obtained.After(got.Obtained) || c.Lost() != 0 {
				t.Errorf("renewed: %+v\n%s", c.Leases(), s.said())
			}
			if v.program == "kea-dhcp4" {
				if r := l.acquire(c, wish(7, "reserved")); r.IP != netip.MustParseAddr("192.0.2.77") {
					t.Errorf("the reserved address is 192.0.2.77, got %s", r.IP)
				}
				c.Release("s", got.Subnet, netip.MustParseAddr("192.0.2.77"))
			}
			s.stop()
			s = l.kea(v.program, v.config, 100, 110)
			if lost := becomes(t, c, "lost"); lost.IP != got.IP {
				t.Errorf("lost: %+v", lost)
			}
			c.Release(got.Space, got.Subnet, got.IP)
			again := l.acquire(c, v.wish(1, "web"))
			c.Release(again.Space, again.Subnet, again.IP)
			s.says(t, v.released)
			if n := len(c.Leases()); n != 0 {
				t.Errorf("%d leases left", n)
			}
		})
	}
}

// inside gives a lease's address to a macvlan, as a container has it.
func inside(l *lan, got store.Lease) {
	l.t.Helper()
	l.run("ip", "link", "add", "link", "eth0", "name", "mac0", "address", got.MAC, "type", "macvlan", "mode", "bridge")
	args := []string{"ip", "addr", "add", netip.PrefixFrom(got.IP, got.Subnet.Bits()).String(), "dev", "mac0"}
	if got.IP.Is6() {
		args = append(args, "nodad")
	}
	l.run(args...)
	l.run("ip", "link", "set", "mac0", "up")
}

// DHCPv6 by dnsmasq: the name, the same client again, a chosen address, a restart.
func TestLease6(t *testing.T) {
	l := newLAN(t)
	s := l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m", "--dhcp-range=2001:db8::100,2001:db8::1ff,64,2m", "--dhcp-option=option6:dns-server,[2001:db8::53]", "--domain=lan.example")
	s.says(t, "DHCPv6, IP range")
	m := newMemory()
	c, stop := l.client(m, 5*time.Second)
	got := l.acquire(c, wish6(1, "web_1"))
	m.keep(got)
	if len(got.DNS) != 1 || got.DNS[0] != netip.MustParseAddr("2001:db8::53") || !strings.HasPrefix(got.FQDN, "web-1") {
		t.Errorf("got %+v", got)
	}
	if four := l.acquire(c, wish(1, "web_1")); !four.IP.Is4() || bytes.Equal(four.ClientID, got.ClientID) {
		t.Errorf("the IPv4 lease of the same container: %+v", four)
	}
	static := wish6(2, "db")
	static.IP = netip.MustParseAddr("2001:db8::177")
	if other := l.acquire(c, static); other.IP != static.IP {
		t.Errorf("got %s, want %s", other.IP, static.IP)
	}
	stop()
	c, _ = l.client(m, 5*time.Second)
	if now := becomes(t, c, "bound"); now.IP != got.IP || !now.Obtained.After(got.Obtained) {
		t.Errorf("after a restart %+v, want %s confirmed anew", now, got.IP)
	}
	c.Release(got.Space, got.Subnet, got.IP)
	s.says(t, "DHCPRELEASE(br0)")
}
