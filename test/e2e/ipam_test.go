//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// ours makes the arguments that choose fairway's own address management.
func ours(args ...string) []string {
	if world.driver == "bridge" {
		return args
	}
	return append([]string{"--ipam-driver", "fairway"}, args...)
}

func TestOwnIPAM(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		network(t, h, world.driver, "n1", ours(
			"--subnet", subnet4(world.driver), "--ip-range", addr4(world.driver, 64)+"/28", "--gateway", addr4(world.driver, 254),
			"--aux-address", "printer="+addr4(world.driver, 64), "--aux-address", "scanner="+addr4(world.driver, 65),
			"--ipv6", "--subnet", subnet6(world.driver))...)
		a := serve(t, h, "a1", "--network", "n1")
		b := serve(t, h, "b1", "--network", "n1", "--ip", addr4(world.driver, 200))
		got := netip.MustParseAddr(ip4(t, h, "a1", "n1"))
		if r := netip.MustParsePrefix(addr4(world.driver, 64) + "/28"); !r.Contains(got) ||
			got == netip.MustParseAddr(addr4(world.driver, 64)) || got == netip.MustParseAddr(addr4(world.driver, 65)) {
			t.Errorf("a1 has %s, want one of %s that is not an aux-address", got, r)
		}
		want(t, "default route", defaultRoute(t, a, "-4"), addr4(world.driver, 254))
		a.reaches(t, "tcp4", "b1:80", "b1", got.String())
		b.reaches(t, "tcp6", "a1:80", "a1", ip6(t, h, "b1", "n1"))
		out := h.DockerErr(t, runArgs("c1", "--network", "n1", "--ip", addr4(world.driver, 200))...)
		if !strings.Contains(out, addr4(world.driver, 200)) && world.driver == "fairway" {
			t.Errorf("an address given twice: %q, want a line that names it", out)
		}
	})
}

// TestDefaultPools checks that networks without a subnet get pools that clash
// neither with each other nor with the host's routes.
func TestDefaultPools(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		var pools []netip.Prefix
		for _, route := range lines(h.Exec(t, "ip", "-4", "route", "show")) {
			if p, err := netip.ParsePrefix(strings.Fields(route)[0]); err == nil {
				pools = append(pools, p)
			}
		}
		for _, name := range []string{"n1", "n2", "n3"} {
			network(t, h, world.driver, name, ours()...)
			pool := netip.MustParsePrefix(h.Docker(t, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", name))
			for _, other := range pools {
				if pool.Overlaps(other) {
					t.Errorf("%s has %s, which overlaps %s", name, pool, other)
				}
			}
			pools = append(pools, pool)
			serve(t, h, "on-"+name, "--network", name).reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		}
	})
}

// TestPreferredSize asks for a subnet of a size beside a network whose subnet
// is Docker's choice, which fairway's IPAM knows only as a network's.
func TestPreferredSize(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		network(t, h, world.driver, "n1")
		network(t, h, world.driver, "n2", ours("--subnet", "0.0.0.0/26")...)
		a := serve(t, h, "a1", "--network", "n2")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		if out, err := a.try("ip", "-4", "addr", "show", "dev", "eth0"); err != nil || !strings.Contains(out, "/26") {
			t.Errorf("eth0 has %q, %v, want an address of a /26", out, err)
		}
	})
}

// TestRestartInSmallPool restarts a container twenty times where its address
// is the only one that is ever free: the delay of reuse must not refuse it.
func TestRestartInSmallPool(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		network(t, h, world.driver, "n1", ours("--subnet", strings.TrimSuffix(subnet("9"), "0/24")+"0/29")...)
		for _, name := range []string{"a1", "b1", "c1", "d1"} {
			serve(t, h, name, "--network", "n1", "--stop-timeout", "1")
		}
		e := serve(t, h, "e1", "--network", "n1", "--stop-timeout", "1")
		out := h.DockerErr(t, runArgs("f1", "--network", "n1")...)
		if world.driver == "fairway" && !strings.Contains(out, "6 of 6 in use") {
			t.Errorf("a sixth container in a /29: %q, want that 6 of 6 are in use", out)
		}
		for range 20 {
			h.Docker(t, "restart", "e1")
		}
		e.reaches(t, "tcp", "a1:80", "a1", "")
	})
}

// TestSmallPrefixes runs networks where network and broadcast address count.
func TestSmallPrefixes(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		base := strings.TrimSuffix(subnet("8"), "0/24")
		network(t, h, world.driver, "n1", ours("--subnet", base+"0/31", "--gateway", base+"0")...)
		a := serve(t, h, "a1", "--network", "n1")
		want(t, "address in a /31", ip4(t, h, "a1", "n1"), base+"1")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
	})
}

// TestSharedSubnet has two networks on one bridge and in one subnet, each
// with a range of its own.
func TestSharedSubnet(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // Docker's own refuses: one bridge, one network
		}
		h.Sh(t, "ip link add shared0 type bridge; ip link set shared0 up")
		defer h.Exec(t, "ip", "link", "del", "shared0")
		for name, r := range map[string]string{"n1": addr4("fairway", 64) + "/26", "n2": addr4("fairway", 128) + "/26"} {
			network(t, h, "fairway", name, ours("--subnet", subnet4("fairway"), "--ip-range", r, "--gateway", addr4("fairway", 1),
				"--ipam-opt", "shared=true", "--opt", "com.docker.network.bridge.name=shared0")...)
		}
		a := serve(t, h, "a1", "--network", "n1")
		b := serve(t, h, "b1", "--network", "n2")
		a.reaches(t, "tcp", at(ip4(t, h, "b1", "n2"), 80), "b1", ip4(t, h, "a1", "n1"))
		b.reaches(t, "tcp", at(ip4(t, h, "a1", "n1"), 80), "a1", ip4(t, h, "b1", "n2"))
		h.Docker(t, "rm", "--force", "b1")
		h.Docker(t, "network", "rm", "n2")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		h.Docker(t, "rm", "--force", "a1")
		h.Docker(t, "network", "rm", "n1")
		h.Exec(t, "ip", "link", "show", "shared0") // not ours to delete
	})
}

// TestIPAMAlone uses each half of the plugin without the other.
func TestIPAMAlone(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // Docker's own half is what every other test uses
		}
		network(t, h, "bridge", "n1", "--ipam-driver", "fairway", "--subnet", "10.98.5.0/24")
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", "")

		network(t, h, "fairway", "n2", "--ipam-driver", "null")
		b := serve(t, h, "b1", "--network", "n2")
		want(t, "addresses of eth0", mustTry(t, b, "ip", "-4", "-o", "addr", "show", "dev", "eth0"), "")
	})
}

// TestPoolRefusals checks what the user reads.
func TestPoolRefusals(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // the words are fairway's
		}
		network(t, h, "fairway", "n1", ours("--subnet", subnet("6"))...)
		out := h.DockerErr(t, append(append([]string{"network", "create", "--driver", "fairway"}, ours(
			"--subnet", strings.Replace(subnet("6"), "0/24", "128/25", 1))...), "n2")...)
		if !strings.Contains(out, "overlap") || !strings.Contains(out, subnet("6")) {
			t.Errorf("an overlapping pool: %q, want which pool it overlaps", out)
		}
		out = h.DockerErr(t, append(append([]string{"network", "create", "--driver", "fairway"}, ours(
			"--subnet", subnet("7"), "--ip-range", subnet("6"))...), "n2")...)
		if !strings.Contains(out, subnet("6")) {
			t.Errorf("a range outside the subnet: %q, want a line that names it", out)
		}
		want(t, "networks", h.Docker(t, "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"), "n1")
	})
}

// TestWithoutMAC: under its other name fairway's address management is asked
// without MAC addresses, which ipvlans need and others don't mind.
func TestWithoutMAC(t *testing.T) {
	if world.driver != "fairway" {
		return
	}
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		defer tidy(t, h)
		network(t, h, "fairway", "n1", "--ipam-driver", "fairway-ipvlan", "--subnet", "10.96.1.0/24", "--ip-range", "10.96.1.64/28")
		a := serve(t, h, "a1", "--network", "n1")
		got := ip4(t, h, "a1", "n1")
		if !netip.MustParsePrefix("10.96.1.64/28").Contains(netip.MustParseAddr(got)) {
			t.Errorf("a1 has %s, want one of the range", got)
		}
		want(t, "MAC address", linkValue(t, a, "eth0", "link/ether"), inNetwork(t, h, "a1", "n1", "MacAddress"))
		machine(h.Machine).reaches(t, "tcp", at(got, 80), "a1", "")
		if out := h.DockerErr(t, "network", "create", "--driver", "fairway", "--ipam-driver", "fairway-ipvlan", "--subnet", "10.96.1.0/24", "no"); !strings.Contains(out, "10.96.1.0/24") {
			t.Errorf("a subnet given twice: %q", out)
		}
		if out := h.DockerErr(t, "network", "create", "--driver", "fairway", "--ipam-driver", "fairway-ipvlan", "--ipam-opt", "source=dhcp", "--ipam-opt", "parent=eth0", "--subnet", "10.96.2.0/24", "no"); !strings.Contains(out, "not allowed with --ipam-driver fairway-ipvlan") {
			t.Errorf("DHCP: %q", out)
		}
	})
}
