//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// rows are the options of the built-in bridge: those about links and
// addresses here, those about packets in rows_packet_test.go.
func rows() []row {
	return append([]row{
		{
			name: "none", check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt")
				serve(t, h, "b1", "--network", "opt", "--publish", "8080:80")
				a.reaches(t, "tcp", "b1:80", "b1", addr4(driver, 2))
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
				neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "b1", lab.Neighbour)
				want(t, "MTU", linkValue(t, a, "eth0", "mtu"), "1500")
			},
		}, {
			name: "bridge.name", create: opt("bridge.name=labbr0"), check: func(t *testing.T, h *lab.Host, _ string) {
				serve(t, h, "a1", "--network", "opt")
				want(t, "ports of labbr0", len(lines(h.Exec(t, "ip", "-o", "link", "show", "master", "labbr0"))), 1)
				h.Docker(t, "rm", "--force", "a1")
				h.Docker(t, "network", "rm", "opt")
				if out, err := h.Try("ip", "link", "show", "labbr0"); err == nil {
					t.Errorf("labbr0 is still there: %s", out)
				}
			},
		}, {
			name: "bridge.name of a bridge that is there", create: opt("bridge.name=theirs0"),
			before: func(t *testing.T, h *lab.Host) func() {
				h.Exec(t, "ip", "link", "add", "theirs0", "type", "bridge") // down, as made
				return func() { h.Exec(t, "ip", "link", "del", "theirs0") }
			},
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt")
				serve(t, h, "b1", "--network", "opt")
				a.reaches(t, "tcp", "b1:80", "b1", "")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
				h.Docker(t, "rm", "--force", "a1", "b1")
				h.Docker(t, "network", "rm", "opt")
				h.Exec(t, "ip", "link", "show", "theirs0")
			},
		}, {
			name: "bridge.default_bridge=false", create: opt("bridge.default_bridge=false"), check: func(t *testing.T, h *lab.Host, _ string) {
				serve(t, h, "a1", "--network", "opt").reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
			},
		}, {
			name: "driver.mtu", create: opt("driver.mtu=1400"), check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt")
				want(t, "MTU in the container", linkValue(t, a, "eth0", "mtu"), "1400")
				bridge := bridgeOf(t, h, "opt")
				want(t, "MTU of the bridge", linkValue(t, machine(h.Machine), bridge, "mtu"), "1400")
			},
		}, {
			name: "container_iface_prefix", create: opt("container_iface_prefix=lan"), check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt")
				want(t, "MTU of lan0", linkValue(t, a, "lan0", "mtu"), "1500")
			},
		}, {
			name: "bridge.inhibit_ipv4", create: opt("bridge.inhibit_ipv4=true"), check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt")
				serve(t, h, "b1", "--network", "opt")
				out := h.Exec(t, "ip", "-o", "-4", "addr", "show", "dev", bridgeOf(t, h, "opt"))
				want(t, "IPv4 addresses of the bridge", out, "")
				a.reaches(t, "tcp", "b1:80", "b1", addr4(driver, 2))
			},
		}, {
			name:   "aux-address DefaultGatewayIPv4",
			create: []string{"--aux-address", "DefaultGatewayIPv4={gw4}"},
			check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt")
				want(t, "default route", defaultRoute(t, a, "-4"), addr4(driver, 99))
				out := h.Exec(t, "ip", "-o", "-4", "addr", "show", "dev", bridgeOf(t, h, "opt"))
				if !strings.Contains(out, addr4(driver, 1)+"/24") {
					t.Errorf("the bridge has %q, want %s", out, addr4(driver, 1))
				}
			},
		}, {
			name: "enable_ipv6", v6: true, check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip6", addr6(driver, 0xa))
				serve(t, h, "b1", "--network", "opt", "--publish", "8080:80")
				a.reaches(t, "tcp6", at(ip6(t, h, "b1", "opt"), 80), "b1", addr6(driver, 0xa))
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", h.IP6)
				neighbour(h).reaches(t, "tcp6", at(h.IP6, 8080), "b1", lab.Neighbour6)
				want(t, "default route", defaultRoute(t, a, "-6"), addr6(driver, 1))
			},
		}, {
			name: "enable_ipv4=false", v6: true, noIPv4: true, create: []string{"--ipv4=false"}, only: newest,
			check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip6", addr6(driver, 0xa))
				serve(t, h, "b1", "--network", "opt", "--publish", "8080:80")
				want(t, "IPv4 addresses", ip4(t, h, "a1", "opt"), "")
				a.reaches(t, "tcp6", "b1:80", "b1", addr6(driver, 0xa))
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", h.IP6)
				neighbour(h).reaches(t, "tcp6", at(h.IP6, 8080), "b1", lab.Neighbour6)
			},
		}, {
			name: "endpoint.sysctls", only: newest, check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network",
					"name=opt,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1")
				out, err := a.try("cat", "/proc/sys/net/ipv4/conf/eth0/log_martians")
				if err != nil || out != "1" {
					t.Errorf("log_martians is %q, %v, want 1", out, err)
				}
			},
		}, {
			name: "advertise_addr", create: opt("advertise_addr_nmsgs=1", "advertise_addr_ms=100"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				serve(t, h, "a1", "--network", "opt").pings(t, "a1", true)
			},
		},
	}, packetRows()...)
}

// bridgeOf finds the bridge of a network that has containers: the one whose
// port the host's end of a container's link is.
func bridgeOf(t testing.TB, h *lab.Host, network string) string {
	t.Helper()
	id := h.Docker(t, "network", "inspect", "--format", "{{.Id}}", network)
	if _, err := h.Try("ip", "link", "show", "br-"+id[:12]); err == nil {
		return "br-" + id[:12]
	}
	rows, err := h.Listed("networks")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r["id"] == id {
			return r["link"].(string)
		}
	}
	t.Fatalf("no bridge found for network %s", network)
	return ""
}

// linkValue returns the word after a key in what ip link shows.
func linkValue(t testing.TB, p party, link, key string) string {
	t.Helper()
	out, err := p.try("ip", "link", "show", "dev", link)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(out)
	for i := range f[:len(f)-1] {
		if f[i] == key {
			return f[i+1]
		}
	}
	t.Fatalf("%s: no %s in %q", link, key, out)
	return ""
}

// defaultRoute returns the gateway of a party's default route.
func defaultRoute(t testing.TB, p party, family string) string {
	t.Helper()
	out, err := p.try("ip", family, "route", "show", "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines(out) {
		if f := strings.Fields(l); len(f) > 2 && f[0] == "default" && f[1] == "via" {
			return f[2]
		}
	}
	return out
}

func lines(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' }) }

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
