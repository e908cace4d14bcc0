//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// What the LAN's DNS server knows, and nobody else.
const upstreamName, upstreamAddress = "upstream.test", "198.51.100.7"

// finds waits until a name has just these addresses.
func (p party) finds(t *testing.T, name string, addresses ...string) {
	t.Helper()
	slices.Sort(addresses)
	want, got := strings.Join(addresses, " "), ""
	eventually(t, p.name+" finds "+name, func() bool {
		var err error
		if got, err = p.try("probe", "lookup", name); err != nil {
			got = err.Error()
		}
		return strings.TrimSpace(got) == want
	})
	if strings.TrimSpace(got) != want {
		t.Fatalf("%s: %s, want %s", name, got, want)
	}
}

// findsNo checks that a name has no addresses; the error says says so.
func (p party) findsNo(t *testing.T, name, says string) {
	t.Helper()
	out, err := p.try("probe", "lookup", name)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s asks for %s: %q, %v; want %q", p.name, name, out, err, says)
	}
}

// overlayNames: containers find those on other hosts by all their names, and all
// else as ever. docs/overlay.md has the table of these cases.
func overlayNames(t *testing.T, hosts []*lab.Host, parties map[*lab.Host]party, addresses map[*lab.Host][]string) {
	a, b, c := hosts[0], hosts[1], hosts[2]
	for i, from := range hosts {
		for j, to := range hosts {
			name := "on-" + string(rune('a'+j))
			if i == j {
				continue
			}
			parties[from].finds(t, name, addresses[to]...)
			parties[from].finds(t, name+".bone", addresses[to]...)
		}
		parties[from].finds(t, upstreamName, upstreamAddress)
		parties[from].findsNo(t, "nobody.bone", "no such host")
	}
	parties[a].finds(t, "front", slices.Concat(addresses[b], addresses[c])...)

	b.Docker(t, "rename", "on-b", "renamed")
	parties[a].finds(t, "renamed", addresses[b]...)
	b.Docker(t, "rename", "renamed", "on-b")

	// Engines of late ask the servers of resolv.conf from the host, and old ones those
	// that are on the host.
	if found := examined(t, b, "FW090"); len(found) > 0 {
		t.Errorf("FW090: %v", found)
	}
	b.Sh(t, "cp /etc/resolv.conf /tmp/resolv.conf; echo nameserver 127.0.0.9 >/etc/resolv.conf")
	for _, h := range []*lab.Host{b, c} {
		if out := h.Fairway(t, "networks"); !strings.Contains(out, "need --dns 10.99.40.1") {
			t.Errorf("fairway networks:\n%s", out)
		}
		if found := examined(t, h, "FW090"); len(found) != 1 || !strings.Contains(found[0].Text, "network bone") || !strings.Contains(found[0].Text, "--dns 10.99.40.1") {
			t.Errorf("FW090: %v", found)
		}
	}
	blind := serve(t, c, "blind", "--network", "bone") // one on b would ask servers of Docker's own choice, by IPv6
	blind.findsNo(t, "on-a", "")
	c.Docker(t, "rm", "--force", "blind")
	b.Sh(t, "cat /tmp/resolv.conf >/etc/resolv.conf")
	c.Sh(t, `mkdir -p /etc/docker; echo '{"dns": ["203.0.113.1"]}' >/etc/docker/daemon.json`)
	if found := examined(t, c, "FW090"); len(found) > 0 {
		t.Errorf("FW090: %v", found)
	}
	c.Sh(t, "rm /etc/docker/daemon.json")
	gateway := serve(t, c, "by-gateway", "--network", "bone", "--dns", "10.99.40.1")
	gateway.finds(t, "on-a", addresses[a]...)
	gateway.finds(t, upstreamName, upstreamAddress)
	c.Docker(t, "rm", "--force", "by-gateway")
	by6 := serve(t, a, "by-six", "--network", "bone", "--dns", "2001:db8:1::1")
	by6.finds(t, "on-c", addresses[c]...)
	by6.finds(t, upstreamName, upstreamAddress)
	a.Docker(t, "rm", "--force", "by-six")

	t.Run("internal", func(t *testing.T) { internalNames(t, hosts) })
}

// internalNames: on an internal network there is no way to a server but the gateway.
func internalNames(t *testing.T, hosts []*lab.Host) {
	a, b, c := hosts[0], hosts[1], hosts[2]
	join(t, a, "inner", "--internal", "--subnet", "10.99.41.0/24")
	join(t, b, "inner", "--internal")
	join(t, c, "inner", "--internal", "-o", "dns=off")
	at := map[*lab.Host]party{}
	for _, h := range hosts {
		name := "in-" + h.Name
		at[h] = serve(t, h, name, "--network", "inner", "--dns", "10.99.41.1")
	}
	inA, inB := ip4(t, a, "in-"+a.Name, "inner"), ip4(t, b, "in-"+b.Name, "inner")
	at[a].finds(t, "in-"+b.Name, inB)
	at[b].finds(t, "in-"+a.Name, inA)
	at[a].findsNo(t, upstreamName, "")
	at[b].findsNo(t, upstreamName, "")
	at[c].findsNo(t, "in-"+b.Name, "")
	for _, h := range hosts {
		h.Docker(t, "rm", "--force", "in-"+h.Name)
		h.Docker(t, "network", "rm", "inner")
	}
}
