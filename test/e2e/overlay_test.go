//go:build e2e

package e2e

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// clusterOf makes hosts a, b, c … of the engines on one LAN, in one cluster.
func clusterOf(t *testing.T, engines ...string) ([]*lab.Host, *lab.Etcd) {
	t.Helper()
	lan, err := lab.NewLAN(world.tools)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	})
	etcd := lan.StartEtcd(t)
	hosts := make([]*lab.Host, len(engines))
	errs := make([]error, len(engines))
	var wg sync.WaitGroup
	for i, e := range engines {
		h, err := lan.NewHost(lab.Config{Name: "span", Engine: world.tools.Engine(e)})
		if err != nil {
			t.Fatal(err)
		}
		hosts[i] = h
		t.Cleanup(func() {
			explain(t, h)
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
		args, err := etcd.Trust(h)
		if err != nil {
			t.Fatal(err)
		}
		h.SetFairway(append(args, "--host-name", string(rune('a'+i))))
		wg.Go(func() { errs[i] = h.PowerUp() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return hosts, etcd
}

// join makes the network of a segment on a host.
func join(t *testing.T, h *lab.Host, name string, args ...string) {
	t.Helper()
	network(t, h, "fairway", name, append([]string{
		"--ipam-driver", "fairway", "--ipam-opt", "segment=" + name, "-o", "mode=overlay", "-o", "segment=" + name,
	}, args...)...)
}

// Containers on three hosts are on one network, whatever happens to what made it.
func TestOverlay(t *testing.T) {
	t.Parallel()
	hosts, etcd := clusterOf(t, newest, oldest, newest)
	a, b, c := hosts[0], hosts[1], hosts[2]
	a.LAN.ServeDNS(t, upstreamName, upstreamAddress)
	subnets := []string{"--ipv6", "--subnet", "10.99.40.0/24", "--subnet", "fd99:40::/64"}

	refused := a.DockerErr(t, "network", "create", "-d", "fairway", "-o", "mode=overlay", "-o", "segment=bone", "bone")
	if !strings.Contains(refused, "--ipam-driver fairway --ipam-opt segment=bone") {
		t.Errorf("with Docker's own addresses: %s", refused)
	}
	join(t, a, "bone", subnets...)
	refused = b.DockerErr(t, "network", "create", "-d", "fairway", "--ipam-driver", "fairway", "--ipam-opt", "segment=bone",
		"-o", "mode=overlay", "-o", "segment=bone", "--subnet", "10.99.41.0/24", "bone")
	if !strings.Contains(refused, "segment bone has 10.99.40.0/24") {
		t.Errorf("with another subnet: %s", refused)
	}
	join(t, b, "bone", subnets...)
	join(t, c, "bone", "--ipv6") // the subnets are the segment's

	parties := map[*lab.Host]party{}
	addresses := map[*lab.Host][]string{}
	seen := map[string]bool{}
	for i, h := range hosts {
		name := "on-" + string(rune('a'+i))
		args := []string{"--network", "bone", "-p", "8080:80"}
		if h != a {
			args = append(args, "--network-alias", "front")
		}
		if h != b {
			args = append(args, "--dns", lab.Neighbour)
		}
		parties[h] = serve(t, h, name, args...)
		addresses[h] = []string{ip4(t, h, name, "bone"), ip6(t, h, name, "bone")}
		for _, ip := range addresses[h] {
			if ip == "" || seen[ip] {
				t.Fatalf("%s has %q: another one has it, too", name, ip)
			}
			seen[ip] = true
		}
	}
	for _, from := range hosts {
		for i, to := range hosts {
			name := "on-" + string(rune('a'+i))
			for _, ip := range addresses[to] {
				if from != to {
					parties[from].reaches(t, "tcp", net.JoinHostPort(ip, "80"), name, "")
					parties[from].reaches(t, "udp", net.JoinHostPort(ip, "53"), name, "")
					parties[from].pings(t, ip, true)
					if _, err := parties[from].try("probe", "large", net.JoinHostPort(ip, "53"), "4000"); err != nil {
						t.Errorf("%s: a datagram of 4,000 bytes: %v", parties[from].name, err)
					}
				}
				machine(from.Machine).reaches(t, "tcp", net.JoinHostPort(ip, "80"), name, "") // the host itself
			}
			machine(from.Machine).reaches(t, "tcp", to.IP+":8080", name, "")
			parties[from].reaches(t, "tcp", lab.Outside+":7", "neighbour", from.IP)
		}
	}
	if out := b.Fairway(t, "cluster", "hosts"); strings.Count(out, " alive ") != 3 || !strings.Contains(out, "b*") {
		t.Errorf("fairway cluster hosts:\n%s", out)
	}

	t.Run("names", func(t *testing.T) { overlayNames(t, hosts, parties, addresses) })
	t.Run("partitions", func(t *testing.T) { overlayPartitions(t, hosts, etcd, parties, addresses) })
	t.Run("fleet", func(t *testing.T) { overlayFleet(t, hosts) })
	t.Run("faults", func(t *testing.T) { overlayFaults(t, hosts, etcd, parties, addresses) })

	for _, h := range hosts {
		if err := h.Engine().RemoveAll(); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			left := h.Sh(t, "ip -o link | grep -o 'fw[bvxi][0-9a-f]*' || true; nft list tables | grep 'overlay\\|names' || true")
			if left == "" {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: left behind: %s", h.Name, left)
				break
			}
		}
	}
}

// overlayFaults kills and stops what isn't the data path while a connection from a
// to b is busy.
func overlayFaults(t *testing.T, hosts []*lab.Host, etcd *lab.Etcd, parties map[*lab.Host]party, addresses map[*lab.Host][]string) {
	a, b, c := hosts[0], hosts[1], hosts[2]
	traffic := talk(t, a.Machine, net.JoinHostPort(addresses[b][0], "80"), "12", "docker", "exec", "on-a")
	a.KillFairway(t)
	c.KillFairway(t) // for good
	parties[c].finds(t, upstreamName, upstreamAddress)
	parties[c].reaches(t, "tcp", net.JoinHostPort(addresses[a][0], "80"), "on-a", "")
	etcd.Kill()
	a.StartFairway(t) // without etcd
	b.KillFairway(t)
	b.StartFairway(t)

	// Attach and detach go on; what was attached meanwhile is reached from other hosts
	// when etcd is back.
	late := serve(t, a, "late", "--network", "bone")
	late.reaches(t, "tcp", net.JoinHostPort(addresses[a][0], "80"), "on-a", "") // the others don't know of it
	a.Docker(t, "rm", "--force", "late")
	late = serve(t, a, "late", "--network", "bone")
	etcd.Start(t)
	late.reaches(t, "tcp", net.JoinHostPort(addresses[b][0], "80"), "on-b", "")
	parties[b].reaches(t, "tcp", net.JoinHostPort(ip4(t, a, "late", "bone"), "80"), "late", "")
	traffic()

	// A host that is gone is forgotten, and with it what it had.
	for end := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		out, err := a.Try("fairway", "cluster", "forget", "c")
		if err == nil {
			break
		}
		if !strings.Contains(out, "is alive") && !strings.Contains(out, "can't be reached") || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := parties[a].askOnce("tcp", net.JoinHostPort(addresses[c][0], "80")); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("c was forgotten, and its container is reached")
		}
	}
	c.StartFairway(t)
}
