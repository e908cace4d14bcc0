//go:build e2e

package e2e

import (
	"net"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// overlayPartitions cuts host b off: from etcd alone, then from everybody. Those who
// still reach each other lose nothing, containers come and go on b all the while,
// and once it is back all reach all.
func overlayPartitions(t *testing.T, hosts []*lab.Host, etcd *lab.Etcd, parties map[*lab.Host]party, addresses map[*lab.Host][]string) {
	a, b, c := hosts[0], hosts[1], hosts[2]
	web := func(ip string) string { return net.JoinHostPort(ip, "80") }
	toB := talk(t, a.Machine, web(addresses[b][0]), "4", "docker", "exec", "on-a")
	toC := talk(t, a.Machine, web(addresses[c][1]), "8", "docker", "exec", "on-a")

	heal := etcd.Cut(t, b)
	first := serve(t, b, "first", "--network", "bone")
	first.reaches(t, "tcp", web(addresses[b][0]), "on-b", "") // the others don't know of it
	parties[b].reaches(t, "tcp", web(addresses[c][0]), "on-c", "")
	parties[c].reaches(t, "tcp", web(addresses[b][1]), "on-b", "")
	elsewhere := serve(t, a, "elsewhere", "--network", "bone")
	elsewhere.reaches(t, "tcp", web(addresses[c][0]), "on-c", "")
	toB()

	back := a.LAN.Cut(t, b)
	second := serve(t, b, "second", "--network", "bone")
	second.reaches(t, "tcp", web(ip6(t, b, "first", "bone")), "first", "")
	b.Docker(t, "rm", "--force", "first")
	parties[a].reaches(t, "udp", net.JoinHostPort(addresses[c][0], "53"), "on-c", "")
	parties[a].pings(t, addresses[b][0], false)
	toC()
	back()
	heal()

	seen := map[string]string{}
	for _, x := range []struct {
		host *lab.Host
		name string
		from party
	}{{a, "elsewhere", parties[b]}, {a, "elsewhere", parties[c]}, {b, "second", parties[a]}, {b, "second", elsewhere}, {b, "second", parties[c]}} {
		for _, ip := range []string{ip4(t, x.host, x.name, "bone"), ip6(t, x.host, x.name, "bone")} {
			x.from.reaches(t, "tcp", web(ip), x.name, "")
			if other := seen[ip]; other != "" && other != x.name {
				t.Errorf("%s has %s, and so has %s", x.name, ip, other)
			}
			seen[ip] = x.name
		}
	}
	if out := a.Fairway(t, "cluster", "hosts"); strings.Contains(out, "cut off") {
		t.Errorf("fairway cluster hosts:\n%s", out)
	}
	a.Docker(t, "rm", "--force", "elsewhere")
	b.Docker(t, "rm", "--force", "second")
}
