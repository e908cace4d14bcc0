//go:build e2e

package e2e

import (
	"testing"

	"fairway/test/e2e/lab"
)

// packetRows are the options that say where packets may go.
func packetRows() []row {
	return append([]row{
		{
			name: "bridge.enable_ip_masquerade=false", create: opt("bridge.enable_ip_masquerade=false"),
			check: func(t *testing.T, h *lab.Host, driver string) {
				// The engine of sid drops the answers (its filter of direct access),
				// so what counts is whom the server saw.
				a := serve(t, h, "a1", "--network", "opt", "--ip", addr4(driver, 10))
				_, _ = a.askOnce("udp", lab.Outside+":7")
				h.LAN.Sees(t, "udp", addr4(driver, 10))
			},
		}, {
			name: "bridge.enable_icc=false", create: opt("bridge.enable_icc=false"), v6: true,
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt")
				b := serve(t, h, "b1", "--network", "opt")
				a.isShutOut(t, "tcp4", "b1:80")
				b.isShutOut(t, "udp4", "a1:53")
				a.isShutOut(t, "tcp6", at(ip6(t, h, "b1", "opt"), 80))
				a.pings(t, ip4(t, h, "b1", "opt"), false)
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
				machine(h.Machine).reaches(t, "tcp", at(ip4(t, h, "b1", "opt"), 80), "b1", "")
			},
		}, {
			name: "bridge.host_binding_ipv4", create: opt("bridge.host_binding_ipv4=127.0.0.1"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				serve(t, h, "a1", "--network", "opt", "--publish", "8080:80", "--publish", h.IP+":8081:81")
				machine(h.Machine).reaches(t, "tcp", "127.0.0.1:8080", "a1", "")
				neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "a1", lab.Neighbour)
				neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
			},
		}, {
			name: "host_ipv4", create: opt("host_ipv4=203.0.113.250"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				h.Exec(t, "ip", "addr", "add", "203.0.113.250/32", "dev", "eth0")
				defer h.Exec(t, "ip", "addr", "del", "203.0.113.250/32", "dev", "eth0")
				a := serve(t, h, "a1", "--network", "opt")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", "203.0.113.250")
			},
		}, {
			name: "host_ipv6", create: opt("host_ipv6=2001:db8:1::250"), v6: true,
			check: func(t *testing.T, h *lab.Host, _ string) {
				h.Exec(t, "ip", "addr", "add", "2001:db8:1::250/128", "dev", "eth0", "nodad")
				defer h.Exec(t, "ip", "addr", "del", "2001:db8:1::250/128", "dev", "eth0")
				a := serve(t, h, "a1", "--network", "opt")
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", "2001:db8:1::250")
			},
		}, {
			name: "bridge.trusted_host_interfaces", create: opt("bridge.trusted_host_interfaces=eth0"),
			check: func(t *testing.T, h *lab.Host, driver string) {
				h.LAN.Route(t, subnet4(driver), h)
				serve(t, h, "a1", "--network", "opt", "--publish", "8080:80", "--ip", addr4(driver, 10))
				neighbour(h).reaches(t, "tcp", at(addr4(driver, 10), 80), "a1", lab.Neighbour)
				neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
				neighbour(h).isShutOut(t, "tcp", at(addr4(driver, 10), 81))
			},
		},
	}, append(gatewayRows(4), gatewayRows(6)...)...)
}

// gatewayRows are the gateway modes of a family.
func gatewayRows(family int) []row {
	v6, key := family == 6, "bridge.gateway_mode_ipv4="
	tcp, udp := "tcp4", "udp4"
	if v6 {
		key, tcp, udp = "bridge.gateway_mode_ipv6=", "tcp6", "udp6"
	}
	// The addresses of container a1, of the host, of the neighbour.
	who := func(h *lab.Host, driver string) (a1, host, client, out string) {
		if v6 {
			return addr6(driver, 10), h.IP6, lab.Neighbour6, lab.Outside6
		}
		return addr4(driver, 10), h.IP, lab.Neighbour, lab.Outside
	}
	start := func(t *testing.T, h *lab.Host, driver string) party {
		args := []string{"--network", "opt", "--publish", "8080:80", "--ip", addr4(driver, 10)}
		if v6 {
			args = append(args, "--ip6", addr6(driver, 10))
		}
		return serve(t, h, "a1", args...)
	}
	route := func(t *testing.T, h *lab.Host, driver string) {
		h.LAN.Route(t, map[bool]string{false: subnet4(driver), true: subnet6(driver)}[v6], h)
	}
	return []row{
		{
			name: key + "nat", create: opt(key + "nat"), v6: v6,
			check: func(t *testing.T, h *lab.Host, driver string) {
				route(t, h, driver)
				a := start(t, h, driver)
				ip, host, client, out := who(h, driver)
				neighbour(h).reaches(t, tcp, at(host, 8080), "a1", client)
				neighbour(h).isShutOut(t, tcp, at(ip, 80))
				neighbour(h).isShutOut(t, udp, at(ip, 53))
				a.reaches(t, tcp, at(out, 7), "neighbour", host)
			},
		}, {
			name: key + "nat-unprotected", create: opt(key + "nat-unprotected"), v6: v6,
			check: func(t *testing.T, h *lab.Host, driver string) {
				route(t, h, driver)
				a := start(t, h, driver)
				ip, host, client, out := who(h, driver)
				neighbour(h).reaches(t, tcp, at(host, 8080), "a1", client)
				neighbour(h).reaches(t, tcp, at(ip, 81), "a1", client)
				neighbour(h).reaches(t, udp, at(ip, 53), "a1", client)
				a.reaches(t, tcp, at(out, 7), "neighbour", host)
			},
		}, {
			name: key + "routed", create: opt(key + "routed"), v6: v6,
			check: func(t *testing.T, h *lab.Host, driver string) {
				route(t, h, driver)
				a := start(t, h, driver)
				ip, host, client, out := who(h, driver)
				neighbour(h).reaches(t, tcp, at(ip, 80), "a1", client)
				neighbour(h).pings(t, ip, true)
				neighbour(h).isShutOut(t, tcp, at(ip, 81))
				neighbour(h).isShutOut(t, tcp, at(host, 8080))
				a.reaches(t, tcp, at(out, 7), "neighbour", ip)
			},
		}, {
			name: key + "isolated", create: append(opt(key+"isolated"), "--internal"), v6: v6,
			check: func(t *testing.T, h *lab.Host, driver string) {
				start(t, h, driver)
				b := serve(t, h, "b1", "--network", "opt")
				ip, _, _, out := who(h, driver)
				b.reaches(t, tcp, at(ip, 80), "a1", "")
				machine(h.Machine).isShutOut(t, tcp, at(ip, 80))
				b.isShutOut(t, tcp, at(out, 7))
				flag, scope := "-4", "global"
				if v6 {
					flag = "-6"
				}
				got := h.Exec(t, "ip", "-o", flag, "addr", "show", "dev", bridgeOf(t, h, "opt"), "scope", scope)
				want(t, "addresses of the bridge", got, "")
			},
		},
	}
}
