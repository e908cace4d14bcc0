//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestPublish asks published ports from everywhere that they must be reached
// from, and checks whom the container saw.
func TestPublish(t *testing.T) {
	on(t, all, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		network(t, h, world.driver, "n2", "--subnet", subnet("2"))
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--publish", "8053:53/udp")
		same := serve(t, h, "b1", "--network", "n1")
		other := serve(t, h, "c1", "--network", "n2")
		docker := serve(t, h, "d1", "--network", "bridge")
		for proto, port := range map[string]int{"tcp": 8080, "udp": 8053} {
			neighbour(h).reaches(t, proto, at(h.IP, port), "a1", lab.Neighbour)
			machine(h.Machine).reaches(t, proto, at(h.IP, port), "a1", "")
			machine(h.Machine).reaches(t, proto, at("127.0.0.1", port), "a1", "")
			same.reaches(t, proto, at(h.IP, port), "a1", "")
			a.reaches(t, proto, at(h.IP, port), "a1", "")
			docker.reaches(t, proto, at(h.IP, port), "a1", "")
			seen := ip4(t, h, "c1", "n2")
			if world.driver == "bridge" {
				seen = "" // Docker's proxy or masquerade hides it
			}
			other.reaches(t, proto, at(h.IP, port), "a1", seen)
		}
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 80))
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8081))
	})
}

// TestPublishForms checks the ways to ask for a port.
func TestPublishForms(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		h.Exec(t, "ip", "addr", "add", "203.0.113.240/24", "dev", "eth0")
		defer h.Exec(t, "ip", "addr", "del", "203.0.113.240/24", "dev", "eth0")
		n := neighbour(h)

		serve(t, h, "a1", "--network", "n1", "--publish", "203.0.113.240:8080:80", "--publish", "127.0.0.1:8081:80")
		n.reaches(t, "tcp", "203.0.113.240:8080", "a1", lab.Neighbour)
		n.isShutOut(t, "tcp", at(h.IP, 8080))
		n.isShutOut(t, "tcp", at(h.IP, 8081))
		machine(h.Machine).reaches(t, "tcp", "127.0.0.1:8081", "a1", "")

		// A range on the host side: the first that is free, by container.
		serve(t, h, "b1", "--network", "n1", "--publish", "9000-9002:80")
		serve(t, h, "c1", "--network", "n1", "--publish", "9000-9002:80")
		n.reaches(t, "tcp", at(h.IP, 9000), "b1", lab.Neighbour)
		n.reaches(t, "tcp", at(h.IP, 9001), "c1", lab.Neighbour)
		// A range on both.
		serve(t, h, "d1", "--network", "n1", "--publish", "9010-9011:80-81")
		n.reaches(t, "tcp", at(h.IP, 9011), "d1", lab.Neighbour)

		// A port of the system's choice, and every port that the image exposes.
		serve(t, h, "e1", "--network", "n1", "--publish", "80")
		n.reaches(t, "tcp", at(h.IP, published(t, h, "e1", "tcp", 80)), "e1", lab.Neighbour)
		h.Docker(t, "run", "--detach", "--name", "f1", "--hostname", "f1", "--network", "n1", "--publish-all",
			lab.ExposingImage, "probe", "serve", "tcp:80", "udp:53")
		n.reaches(t, "tcp", at(h.IP, published(t, h, "f1", "tcp", 80)), "f1", lab.Neighbour)
		n.reaches(t, "udp", at(h.IP, published(t, h, "f1", "udp", 53)), "f1", lab.Neighbour)
	})
}

// published returns the host's port that an operator finds for a container's.
func published(t testing.TB, h *lab.Host, name, proto string, port int) int {
	t.Helper()
	if world.driver == "bridge" {
		out := h.Docker(t, "port", name, fmt.Sprintf("%d/%s", port, proto))
		var found int
		_, err := fmt.Sscan(out[strings.LastIndex(out, ":")+1:], &found)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	id := h.Docker(t, "inspect", "--format", "{{.Id}}", name)
	rows, err := h.Listed("ports")
	if err != nil {
		t.Fatal(err)
	}
	ip := ip4(t, h, name, "n1")
	for _, r := range rows {
		if r["ip"] == ip && r["protocol"] == proto && r["port"] == float64(port) {
			return int(r["host_port"].(float64))
		}
	}
	t.Fatalf("fairway ports has no %d/%s of %s (%s): %v", port, proto, name, id, rows)
	return 0
}

func TestPortConflicts(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		taken := func(args ...string) {
			t.Helper()
			out := h.DockerErr(t, runArgs("z1", append([]string{"--network", "n1"}, args...)...)...)
			if !strings.Contains(out, "port is already allocated") && !strings.Contains(out, "address already in use") {
				t.Errorf("%v: %q, want that the port is already allocated", args, out)
			}
			if world.driver == "fairway" && !strings.Contains(out, "port is already allocated") {
				t.Errorf("%v: %q, want Docker's own words: port is already allocated", args, out)
			}
			h.Docker(t, "rm", "--force", "z1")
		}
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--publish", "127.0.0.1:8081:80", "--publish", "8053:53/udp")
		taken("--publish", "8080:80")
		taken("--publish", "127.0.0.1:8080:80")
		taken("--publish", "8081:80")
		taken("--publish", "8053:53/udp")
		serve(t, h, "b1", "--network", "n1", "--publish", h.IP+":8081:80", "--publish", "8053:80/tcp")
		h.Docker(t, "rm", "--force", "a1", "b1")

		// A process of the host.
		for _, p := range []struct{ proto, addr string }{{"tcp", ":8080"}, {"udp", ":8080"}, {"tcp", "127.0.0.1:8080"}} {
			_, stop := h.Start(t, "probe", "hold", p.proto, p.addr)
			taken("--publish", "8080:80/"+p.proto)
			stop()
			serve(t, h, "z1", "--network", "n1", "--publish", "8080:80/"+p.proto)
			if out, err := h.Try("timeout", "1", "probe", "hold", p.proto, p.addr); err == nil || !strings.Contains(out, "in use") {
				t.Errorf("a process takes the published port %s: %q, want: address already in use", p.addr, out)
			}
			h.Docker(t, "rm", "--force", "z1")
		}

		// Docker's own bridge, both ways.
		serve(t, h, "d1", "--network", "bridge", "--publish", "8080:80")
		taken("--publish", "8080:80")
		h.Docker(t, "rm", "--force", "d1")
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		out := h.DockerErr(t, runArgs("d1", "--network", "bridge", "--publish", "8080:80")...)
		if !strings.Contains(out, "already") {
			t.Errorf("Docker's bridge takes fairway's port: %q", out)
		}
	})
}

// TestPublishByDocker checks that ports are where tools look for them, if
// Docker is to publish them.
func TestPublishByDocker(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			lan0(t, h)
		} else {
			lan0(t, h, "--opt", "publish_by=docker")
		}
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		if out := h.Docker(t, "ps", "--format", "{{.Ports}}"); !strings.Contains(out, "0.0.0.0:8080->80/tcp") {
			t.Errorf("docker ps shows the ports %q", out)
		}
		if out := h.Docker(t, "port", "a1"); !strings.Contains(out, "80/tcp -> 0.0.0.0:8080") {
			t.Errorf("docker port shows %q", out)
		}
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", "")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		serve(t, h, "b1", "--network", "n1").reaches(t, "tcp", "a1:80", "a1", ip4(t, h, "b1", "n1"))
	})
}

// TestPublishClients checks that only those reach a published port that the
// network, or the container, names (publish=).
func TestPublishClients(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // has no such option
		}
		lan0(t, h, "--opt", "publish=198.51.100.0/24")
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		serve(t, h, "b1", "--network", "name=n1,driver-opt=publish="+lab.Neighbour, "--publish", "8081:80")
		machine(h.Machine).reaches(t, "tcp", at(h.IP, 8080), "a1", h.IP)
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
		neighbour(h).reaches(t, "tcp", at(h.IP, 8081), "b1", lab.Neighbour)
	})
}

// TestStaleConnections checks that a published UDP port reaches a new
// container at once, though its client keeps its source port (moby#8795).
func TestStaleConnections(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		client := fmt.Sprintf("%s:%d", h.IP, 8053)
		for i, name := range []string{"a1", "b1", "c1"} {
			serve(t, h, name, "--network", "n1", "--publish", "8053:53/udp", "--ip", addr4(world.driver, 20+i))
			a := neighbour(h).asks(t, "udp", client, lab.Neighbour+":5353")
			want(t, "who answers", a.Name, name)
			h.Docker(t, "rm", "--force", name)
		}
	})
}
