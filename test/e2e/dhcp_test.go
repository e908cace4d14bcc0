//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// The LAN's DHCP server gives out this range, and one address by its MAC address.
const (
	dhcpRange    = "203.0.113.224/27"
	dhcpMAC      = "02:11:22:33:44:66"
	dhcpReserved = "203.0.113.77"
)

// dhcpd starts the LAN's DHCP server.
func dhcpd(t testing.TB, h *lab.Host) *lab.DHCPServer {
	t.Helper()
	return h.LAN.ServeDHCP(t, "--dhcp-range=203.0.113.225,203.0.113.250,2m", "--dhcp-option=option:router,"+lab.Neighbour,
		"--dhcp-range=2001:db8:1::1000,2001:db8:1::1fff,64,2m",
		"--dhcp-option=121,10.50.0.0/16,203.0.113.9,0.0.0.0/0,"+lab.Neighbour, "--dhcp-option=26,1400",
		"--dhcp-host="+dhcpMAC+","+dhcpReserved, "--dhcp-authoritative")
}

// byDHCP are the arguments for a network whose addresses come from the LAN.
func byDHCP(parent string, more ...string) []string {
	return append([]string{"--ipam-driver", "fairway", "--ipam-opt", "source=dhcp", "--ipam-opt", "parent=" + parent}, more...)
}

// TestDHCP has containers on a LAN get their addresses there, with a subnet that
// the user names and without.
func TestDHCP(t *testing.T) {
	if world.driver != "fairway" {
		return
	}
	on(t, []string{oldest, newest}, func(t *testing.T, h *lab.Host) {
		for name, subnet := range map[string][]string{"subnet": {"--subnet", lanSubnet, "--ipv6", "--subnet", lanSubnet6, "--gateway", lab.Neighbour6}, "no subnet": nil} {
			t.Run(name, func(t *testing.T) {
				defer tidy(t, h)
				s := dhcpd(t, h)
				macvlan(t, h, "fairway", "lan", append(byDHCP("eth0", subnet...), "--opt", "parent=eth0")...)
				pool := lanSubnet
				if subnet == nil {
					pool = "0.0.0.0/0" // what the daemon knows the network by, too
				}
				want(t, "pool", h.Docker(t, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "lan"), pool)
				a := serve(t, h, "a1", "--network", "lan")
				serve(t, h, "b1", "--network", "lan", "--mac-address", dhcpMAC)
				ip := ip4(t, h, "a1", "lan")
				if !netip.MustParsePrefix(dhcpRange).Contains(netip.MustParseAddr(ip)) {
					t.Errorf("a1 has %s, want one of %s", ip, dhcpRange)
				}
				want(t, "the reserved address", ip4(t, h, "b1", "lan"), dhcpReserved)
				want(t, "prefix", inNetwork(t, h, "a1", "lan", "IPPrefixLen"), "24")
				want(t, "default route", defaultRoute(t, a, "-4"), lab.Neighbour)
				want(t, "route", strings.Fields(mustTry(t, a, "ip", "route", "show", "10.50.0.0/16"))[2], "203.0.113.9")
				want(t, "MTU", linkValue(t, a, "eth0", "mtu"), "1400")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip)
				a.reaches(t, "tcp4", "b1:80", "b1", ip)
				neighbour(h).reaches(t, "tcp", at(ip, 80), "a1", lab.Neighbour)
				s.Says(t, "client provides name: a1") // engines before 29 tell it afterwards
				leased(t, h, ip, "bound")

				h.KillFairway(t)
				h.StartFairway(t)
				leased(t, h, ip, "bound")
				if text := scraped(t, h); !strings.Contains(text, `fairway_dhcp_leases{network="lan",state="bound"} `) ||
					!strings.Contains(text, `fairway_dhcp_renewals_total{network="lan",result="lost"} 0`) {
					t.Errorf("metrics:\n%s", text)
				}
				h.Docker(t, "restart", "--time", "0", "b1")
				want(t, "the reserved address after a restart", ip4(t, h, "b1", "lan"), dhcpReserved)
				neighbour(h).reaches(t, "tcp", at(dhcpReserved, 80), "b1", lab.Neighbour)
				if subnet != nil {
					six := ip6(t, h, "a1", "lan")
					if !netip.MustParsePrefix("2001:db8:1::1000/116").Contains(netip.MustParseAddr(six)) {
						t.Errorf("a1 has %s, want one of the server's", six)
					}
					a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", six)
					leased(t, h, six, "bound")
					serve(t, h, "c1", "--network", "lan", "--ip", "203.0.113.240")
					want(t, "an address that is asked for", ip4(t, h, "c1", "lan"), "203.0.113.240")
				}
				h.Docker(t, "rm", "--force", "a1")
				s.Says(t, "DHCPRELEASE(lan) "+ip)
			})
		}
	})
}

// scraped returns the daemon's metrics.
func scraped(t *testing.T, h *lab.Host) string {
	t.Helper()
	socket := fmt.Sprintf("/proc/%d/root/run/fairway/admin.sock", h.PID())
	out, err := exec.CommandContext(t.Context(), "curl", "-s", "--unix-socket", socket, "http://fairway/metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestSLAAC has containers take their IPv6 addresses from the LAN's router.
func TestSLAAC(t *testing.T) {
	if world.driver != "fairway" {
		return
	}
	on(t, []string{oldest, newest}, func(t *testing.T, h *lab.Host) {
		defer tidy(t, h)
		for m, link := range map[*lab.Machine]string{h.LAN.Neighbour: "lan", h.Machine: "eth0"} { // they are configured already
			m.Exec(t, "sysctl", "-qw", "net.ipv6.conf."+link+".accept_ra=0")
		}
		h.LAN.ServeDHCP(t, "--dhcp-range=203.0.113.225,203.0.113.250,2m", "--enable-ra", "--dhcp-range=2001:db8:1::,ra-only")
		macvlan(t, h, "fairway", "lan", onLAN("--opt", "ipv6_mode=slaac")...)
		a := serve(t, h, "a1", "--network", "lan", "--mac-address", dhcpMAC)
		const made = "2001:db8:1:0:11:22ff:fe33:4466" // of dhcpMAC
		var rows []map[string]any
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			var err error
			if rows, err = h.Listed("endpoints"); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(fmt.Sprint(rows), made+"/64") {
				break
			}
		}
		if !strings.Contains(fmt.Sprint(rows), "slaac:["+made+"/64]") {
			t.Errorf("endpoints %v, want %s", rows, made)
		}
		a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", made)
		neighbour(h).reaches(t, "tcp", at(made, 80), "a1", lab.Neighbour6)
		if out := h.DockerErr(t, "network", "create", "--driver", "fairway", "--ipv6", "--subnet", "2001:db8:7::/64", "--opt", "mode=macvlan", "--opt", "parent=eth0", "--opt", "ipv6_mode=slaac", "no"); !strings.Contains(out, "not allowed with --ipv6") {
			t.Errorf("with --ipv6: %q", out)
		}
	})
}

// leased waits until a lease is in a state.
func leased(t *testing.T, h *lab.Host, ip, state string) {
	t.Helper()
	var rows []map[string]any
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if rows, err = h.Listed("leases"); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r["ip"] == ip && r["state"] == state {
				return
			}
		}
	}
	t.Errorf("leases %v, want %s %s", rows, ip, state)
}

// TestDHCPBridge has containers on a bridge of the host's, which the LAN is
// plugged into.
func TestDHCPBridge(t *testing.T) {
	if world.driver != "fairway" {
		return
	}
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		defer tidy(t, h)
		s := dhcpd(t, h)
		h.LAN.Plug(t, h, "eth7")
		defer h.LAN.Unplug(t, h, "eth7")
		h.Sh(t, "ip link add dbr0 type bridge; ip link set eth7 master dbr0; ip link set dbr0 up")
		defer h.Exec(t, "ip", "link", "del", "dbr0")
		network(t, h, "fairway", "lan", byDHCP("dbr0", "--subnet", lanSubnet, "--opt", "com.docker.network.bridge.name=dbr0")...)
		defer h.Docker(t, "network", "rm", "lan")
		a := serve(t, h, "a1", "--network", "lan")
		defer h.Docker(t, "rm", "--force", "a1", "b1")
		b := serve(t, h, "b1", "--network", "lan", "--mac-address", dhcpMAC)
		want(t, "the reserved address", ip4(t, h, "b1", "lan"), dhcpReserved)
		want(t, "default route", defaultRoute(t, a, "-4"), lab.Neighbour)
		want(t, "addresses of the bridge", h.Exec(t, "ip", "-4", "addr", "show", "dev", "dbr0"), "")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip4(t, h, "a1", "lan"))
		b.reaches(t, "tcp", "a1:80", "a1", dhcpReserved)
		neighbour(h).reaches(t, "tcp", at(dhcpReserved, 80), "b1", lab.Neighbour)
		s.Says(t, "client provides name: b1")
	})
}

// TestDHCPSilence has no server: one line says so, and just the network that asks
// waits.
func TestDHCPSilence(t *testing.T) {
	if world.driver != "fairway" {
		return
	}
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		macvlan(t, h, "fairway", "lan", append(byDHCP("eth0", "--subnet", lanSubnet), "--opt", "parent=eth0")...)
		network(t, h, "fairway", "n1")
		out := make(chan string, 1)
		go func() { out <- h.DockerErr(t, runArgs("a1", "--network", "lan")...) }()
		for i := range 3 {
			serve(t, h, fmt.Sprintf("b%d", i), "--network", "n1")
		}
		select {
		case got := <-out:
			t.Errorf("answered before the others: %q", got)
		default:
		}
		if got := <-out; !strings.Contains(got, "parent eth0: no DHCP server answered within 10s") {
			t.Errorf("no server: %q", got)
		}
		if out := h.DockerErr(t, append([]string{"network", "create", "--driver", "fairway", "--ip-range", lanRange}, byDHCP("eth0", "--subnet", lanSubnet, "no")...)...); !strings.Contains(out, "not allowed with source=dhcp") {
			t.Errorf("an ip-range: %q", out)
		}
	})
}

// TestDHCPLife restarts everything there is around a container: it has the same
// address, and the same lease, ever after.
func TestDHCPLife(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		if world.driver != "fairway" {
			return
		}
		h := running(t, engine)
		s := dhcpd(t, h)
		macvlan(t, h, "fairway", "lan", append(byDHCP("eth0", "--subnet", lanSubnet), "--opt", "parent=eth0")...)
		const mac = "02:11:22:33:44:77" // the server has no address for it in store
		serve(t, h, "a1", "--network", "lan", "--mac-address", mac)
		ip := ip4(t, h, "a1", "lan")
		same := func(what string) {
			t.Helper()
			want(t, "address", ip4(t, h, "a1", "lan"), ip)
			neighbour(h).reaches(t, "tcp", at(ip, 80), "a1", lab.Neighbour)
			leased(t, h, ip, "bound")
			if t.Failed() {
				t.Fatalf("after: %s", what)
			}
		}
		same("start")
		h.Engine().Kill()
		h.StartEngine(t)
		h.Docker(t, "start", "a1")
		same("kill of the engine")
		h.KillFairway(t)
		h.StartFairway(t)
		same("kill of the daemon")
		h.Reboot(t)
		h.StartFairway(t)
		h.StartEngine(t)
		h.Docker(t, "start", "a1")
		same("reboot")
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		s.Says(t, "DHCPRELEASE(lan) "+ip)
		nothingOfOurs(t, h)
	})
}
