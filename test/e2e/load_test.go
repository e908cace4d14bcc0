//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// TestManyAtOnce starts 200 containers on 4 networks at once and removes them
// at once; fewer on the oldest engine, which takes twice as long for each. It has
// the machine for itself: no test runs beside it.
func TestManyAtOnce(t *testing.T) {
	for engine, containers := range map[string]int{oldest: 80, newest: 200} {
		t.Run(engine, func(t *testing.T) { manyAtOnce(t, engine, containers) })
	}
}

func manyAtOnce(t *testing.T, engine string, containers int) {
	const networks = 4
	h, release := borrow(t, engine)
	defer release()
	for n := range networks {
		network(t, h, world.driver, fmt.Sprintf("n%d", n), ours("--subnet", subnet(fmt.Sprint(n+1)))...)
	}
	allAtOnce(t, containers, func(i int) error {
		args := []string{"--network", fmt.Sprintf("n%d", i%networks)}
		if i%10 == 0 {
			args = append(args, "--publish", fmt.Sprintf("%d:80", 20000+i))
		}
		_, err := h.TryDocker(runArgs(fmt.Sprintf("c%d", i), args...)...)
		return err
	})
	holders := map[string]string{}
	ids := strings.Fields(h.Docker(t, "ps", "--quiet"))
	want(t, "containers that run", len(ids), containers)
	out := h.Docker(t, append([]string{"inspect", "--format",
		"{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"}, ids...)...)
	for _, l := range lines(out) {
		name, ip, _ := strings.Cut(l, " ")
		if other, ok := holders[ip]; ok || ip == "" {
			t.Errorf("%s and %s have the address %q", name, other, ip)
		}
		holders[ip] = name
	}
	neighbour(h).asks(t, "tcp", at(h.IP, 20050))
	allAtOnce(t, containers, func(i int) error {
		_, err := h.TryDocker("rm", "--force", fmt.Sprintf("c%d", i))
		return err
	})
	if world.driver == "fairway" {
		endpoints, err := h.Listed("endpoints")
		if err != nil || len(endpoints) > 0 {
			t.Errorf("endpoints left: %v, %v", endpoints, err)
		}
	}
	recount(t, h, networks)
}

// recount removes the networks. Engines up to 24 may miscount a network's
// endpoints when many go at once, whatever the driver, and then refuse to
// remove it though they list none (moby#42119); they count anew when they start.
func recount(t *testing.T, h *lab.Host, networks int) {
	t.Helper()
	for n := range networks {
		name := fmt.Sprintf("n%d", n)
		_, err := h.TryDocker("network", "rm", name)
		if err == nil {
			continue
		}
		listed := h.Docker(t, "network", "inspect", "--format", "{{len .Containers}}", name)
		if h.Engine().Version() != oldest || listed != "0" || !strings.Contains(err.Error(), "active endpoints") {
			t.Fatalf("%v; %s containers listed", err, listed)
		}
		t.Logf("the engine miscounts the endpoints of %s: restarting it", name)
		h.RestartEngine(t)
		h.Docker(t, "network", "rm", name)
	}
}

// allAtOnce calls a function for each number, all at the same time, and shows
// the first few errors.
func allAtOnce(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(i) })
	}
	wait.Wait()
	failed := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		if failed++; failed <= 3 {
			t.Error(err)
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed", failed, n)
	}
}

// TestBridgeIsFull has an endpoint come to a bridge of the host's that has all
// the ports that the kernel gives one. It is refused in one line, leaves nothing,
// and comes when a port is free.
func TestBridgeIsFull(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // its error is about a link that nobody knows
		}
		h.Sh(t, `
			ip link add crowd0 type bridge
			for i in $(seq 1023); do
				echo link add crowd$i-0 group 77 master crowd0 type veth peer name crowd$i-1 group 77
			done | ip -batch -`)
		defer h.Sh(t, "ip link del group 77; ip link del crowd0")
		lan0(t, h, "--opt", "com.docker.network.bridge.name=crowd0")
		look := func() string {
			return h.Sh(t, "ip -br link | cut -d' ' -f1; ip neigh show dev crowd0; docker ps -aq; ls /run/docker/netns")
		}
		before := look()
		out := h.DockerErr(t, append([]string{"run", "--rm"}, runArgs("a1", "--network", "n1", "--publish", "8080:80")[1:]...)...)
		const says = "bridge crowd0 has the 1,023 ports that a bridge can have: remove one, or use another network: exchange full\n"
		if !strings.Contains(out, says) {
			t.Errorf("docker run says %q, want a line that ends in %q", out, says)
		}
		want(t, "what is there afterwards", look(), before)
		for _, what := range []string{"endpoints", "ports"} {
			if left, err := h.Listed(what); err != nil || len(left) > 0 {
				t.Errorf("%s left: %v, %v", what, left, err)
			}
		}
		h.Exec(t, "ip", "link", "del", "crowd500-0")
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80").reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Docker(t, "rm", "--force", "a1")
		h.Docker(t, "network", "rm", "n1")
	})
}
