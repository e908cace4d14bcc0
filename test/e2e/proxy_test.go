//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// TestProxied asks published ports where the kernel can't translate: by ::1, and
// by IPv6 for a container that has none; with each firewall, after a crash of the
// daemon in between, and beside what the kernel does translate.
func TestProxied(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		h := own(t, lab.Config{Name: "own", Engine: world.tools.Engine(engine)})
		drivers := []string{"bridge"}
		if world.driver == "fairway" {
			h.StartFairway(t, "--firewall", "nftables")
			drivers = append(drivers, "fairway")
		}
		h.StartEngine(t)
		h.Baseline(t, drivers...)
		lan0(t, h)
		network(t, h, world.driver, "n2", "--subnet", subnet("2"), "--ipv6", "--subnet", sixth("2"))
		network(t, h, world.driver, "n3", "--subnet", subnet("3"), "--ipv6", "--subnet", sixth("3"), "--internal")
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--publish", "8053:53/udp", "--publish", "[::1]:8083:81", "--publish", "8082:82")
		serve(t, h, "b1", "--network", "n2", "--publish", "8081:80", "--publish", "8054:53/udp")
		serve(t, h, "c1", "--network", "n3")
		if world.driver == "fairway" {
			serve(t, h, "d1", "--network", "name=n1,driver-opt=publish=loopback", "--publish", "8090:80", "--publish", "8090:53/udp")
			serve(t, h, "e1", "--network", "name=n1,driver-opt=publish=iface:eth0", "--publish", "8091:80", "--publish", "8091:53/udp")
		}
		proxied(t, h)
		if world.driver == "fairway" {
			h.KillFairway(t)
			h.StartFairway(t, "--firewall", "iptables")
			proxied(t, h)
			listedAsProxied(t, h)
		}
		// One that is gone is refused, and the port is free.
		h.Docker(t, "rm", "--force", "a1")
		machine(h.Machine).isShutOut(t, "tcp6", "[::1]:8080")
		_, stop := h.Start(t, "probe", "hold", "tcp", "[::]:8080")
		stop()
		h.Clean(t)
	})
}

// sixth returns the n-th IPv6 subnet of the tests.
func sixth(n string) string { return strings.Replace(subnet6(world.driver), "::", ":"+n+"::", 1) }

func proxied(t *testing.T, h *lab.Host) {
	t.Helper()
	host, far := machine(h.Machine), neighbour(h)
	gateway4, gateway6 := addr4(world.driver, 1), strings.TrimSuffix(sixth("2"), "/64")+"1"
	linkLocal := strings.Fields(h.Exec(t, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link"))[3]
	linkLocal = strings.TrimSuffix(linkLocal, "/64") + "%lan"
	var wait sync.WaitGroup
	defer wait.Wait()
	for proto, port := range map[string]int{"tcp6": 8080, "udp6": 8053} {
		// IPv6 to a container without: everybody.
		host.reaches(t, proto, at("::1", port), "a1", gateway4)
		host.reaches(t, proto, at(h.IP6, port), "a1", gateway4)
		far.reaches(t, proto, at(h.IP6, port), "a1", gateway4)
		far.reaches(t, proto, at(linkLocal, port), "a1", gateway4)
		container(h, "b1").reaches(t, proto, at(h.IP6, port), "a1", gateway4)
		// To one that has it: what the kernel can't translate, and nothing else.
		host.reaches(t, proto, at("::1", port+1), "b1", gateway6)
		far.reaches(t, proto, at(linkLocal, port+1), "b1", gateway6)
		far.reaches(t, proto, at(h.IP6, port+1), "b1", lab.Neighbour6)
		if world.driver == "fairway" { // Docker's proxy lets it pass
			inside := strings.TrimSuffix(sixth("3"), "/64") + "1"
			wait.Go(func() { container(h, "c1").isShutOut(t, proto, at(inside, port)) })
			wait.Go(func() { container(h, "c1").isShutOut(t, proto, at(inside, port+1)) })
			// Who may reach what is published.
			host.reaches(t, proto, at(h.IP6, 8090), "d1", gateway4)
			wait.Go(func() { far.isShutOut(t, proto, at(h.IP6, 8090)) })
			far.reaches(t, proto, at(h.IP6, 8091), "e1", gateway4)
			wait.Go(func() { container(h, "b1").isShutOut(t, proto, at(h.IP6, 8091)) })
		}
	}
	host.reaches(t, "tcp6", "[::1]:8083", "a1", gateway4)
	far.isShutOut(t, "tcp6", at(h.IP6, 8083))
	host.isShutOut(t, "tcp6", "[::1]:8082") // nobody listens there
	host.reaches(t, "tcp4", "127.0.0.1:8080", "a1", "")
	far.reaches(t, "tcp4", at(h.IP, 8080), "a1", lab.Neighbour)
}

// listedAsProxied checks what fairway ports says of the ports above.
func listedAsProxied(t *testing.T, h *lab.Host) {
	t.Helper()
	rows, err := h.Listed("ports")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, r := range rows {
		got[fmt.Sprintf("%v %v %v", r["protocol"], r["host_ip"], r["host_port"])] = r["proxied"]
	}
	for port, want := range map[string]any{
		"tcp :: 8080": "all", "udp :: 8053": "all", "tcp ::1 8083": "all", "tcp :: 8081": "local", "udp :: 8054": "local",
		"tcp 0.0.0.0 8080": nil, "tcp 0.0.0.0 8081": nil,
	} {
		if is, there := got[port]; !there || is != want {
			t.Errorf("fairway ports: %s is proxied: %v, want %v", port, is, want)
		}
	}
	if out := h.Fairway(t, "ports"); !strings.Contains(out, "PROXIED") {
		t.Errorf("fairway ports has no column PROXIED:\n%s", out)
	}
}
