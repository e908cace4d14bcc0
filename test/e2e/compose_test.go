//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestComposeSet makes, by the calls that docker compose makes, what a compose
// file can say about networks:
//
//	networks:
//	  front: {driver: X, driver_opts: {com.docker.network.driver.mtu: 1400}, labels: {tier: front}, attachable: true}
//	  back:  {driver: X, internal: true, enable_ipv6: true, ipam: {driver: Y, config: [{subnet, ip_range, gateway, aux_addresses}, {subnet}]}}
//	  outer: {external: true, name: outer-net}
//	services:
//	  web: {networks: {front: {aliases: [www], mac_address}, back: {ipv4_address, ipv6_address}},
//	        ports: ["8080:80", {target: 53, published: 8053, protocol: udp, host_ip: 127.0.0.1}],
//	        expose: [81], dns: [192.0.2.53], dns_search: [example.org], extra_hosts: ["printer:192.0.2.9"], hostname: web}
//	  db:  {networks: {back: {aliases: [db1, db2]}}, hostname: db}
//	  job: {networks: {front: {link_local_ips}, outer: {}}, links: ["web:site"], sysctls}
//	  side: {network_mode: "service:web"}
func TestComposeSet(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		d := world.driver
		network(t, h, d, "p_front", append(opt("driver.mtu=1400"), "--label", "tier=front", "--attachable", "--subnet", subnet("1"))...)
		back := strings.TrimSuffix(subnet("2"), "0/24")
		network(t, h, d, "p_back", ours("--internal", "--ipv6", "--subnet", subnet("2"), "--ip-range", back+"128/25", "--gateway", back+"1",
			"--aux-address", "nas="+back+"200", "--subnet", subnet6(d))...)
		network(t, h, d, "outer-net", "--subnet", subnet("3"))

		create(t, h, "web", "p_front", "--hostname", "web", "--network-alias", "www", "--network-alias", "web",
			"--mac-address", "02:22:00:00:00:01", "--publish", "8080:80", "--publish", "127.0.0.1:8053:53/udp", "--expose", "81",
			"--dns", "192.0.2.53", "--dns-search", "example.org", "--add-host", "printer:192.0.2.9")
		h.Docker(t, "network", "connect", "--ip", back+"20", "--ip6", addr6(d, 0x20), "--alias", "web", "p_back", "web")
		create(t, h, "db", "p_back", "--hostname", "db", "--network-alias", "db1", "--network-alias", "db2")
		create(t, h, "job", "p_front", "--hostname", "job", "--link", "web:site", "--link-local-ip", "169.254.7.7",
			"--sysctl", "net.ipv4.conf.all.log_martians=1", "--restart", "unless-stopped")
		h.Docker(t, "network", "connect", "outer-net", "job")
		for _, name := range []string{"db", "web", "job"} {
			h.Docker(t, "start", name)
		}
		h.Docker(t, "run", "--detach", "--name", "side", "--network", "container:web", lab.Image, "probe", "sleep")

		web, job, side := container(h, "web"), container(h, "job"), container(h, "side")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "web", lab.Neighbour)
		neighbour(h).isShutOut(t, "udp", at(h.IP, 8053))
		machine(h.Machine).reaches(t, "udp", "127.0.0.1:8053", "web", "")
		for _, name := range []string{"www:80", "web:81", "site:80"} {
			job.reaches(t, "tcp", name, "web", ip4(t, h, "job", "p_front"))
		}
		web.reaches(t, "tcp4", "db1:80", "db", back+"20")
		web.reaches(t, "tcp6", "db2:80", "db", addr6(d, 0x20))
		side.reaches(t, "tcp4", "db:80", "db", back+"20")
		side.reaches(t, "tcp", "127.0.0.1:80", "web", "127.0.0.1")
		job.isShutOut(t, "tcp", at(ip4(t, h, "db", "p_back"), 80))
		container(h, "db").isShutOut(t, "tcp", lab.Outside+":7")
		web.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		if out := mustTry(t, web, "ip", "link"); !strings.Contains(out, "02:22:00:00:00:01") || !strings.Contains(out, "mtu 1400") {
			t.Errorf("web's links lack the MAC address or MTU 1400:\n%s", out)
		}
		if out := mustTry(t, web, "cat", "/etc/hosts", "/etc/resolv.conf"); !strings.Contains(out, "192.0.2.9\tprinter") ||
			!strings.Contains(out, "example.org") {
			t.Errorf("web's hosts and resolver:\n%s", out)
		}
		if out := mustTry(t, job, "ip", "addr"); !strings.Contains(out, "169.254.7.7") {
			t.Errorf("job lacks its link-local address:\n%s", out)
		}
		// Up again, as after an edit of the file: one service is made anew.
		h.Docker(t, "rm", "--force", "db")
		create(t, h, "db", "p_back", "--hostname", "db", "--network-alias", "db1")
		h.Docker(t, "start", "db")
		web.reaches(t, "tcp4", "db1:80", "db", back+"20")
	})
}

func create(t testing.TB, h *lab.Host, name, network string, args ...string) {
	t.Helper()
	all := append([]string{"create", "--name", name, "--network", network}, args...)
	h.Docker(t, append(all, lab.Image, "probe", "serve", "tcp:80", "tcp:81", "udp:53")...)
}
