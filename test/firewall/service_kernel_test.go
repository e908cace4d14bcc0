//go:build kernel

package firewall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairway/nat"
)

// serviceConf is an /etc/nftables.conf as people write it, with the two lines
// that docs/firewall.md asks for.
const serviceConf = `#!/usr/sbin/nft -f
flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif lo accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 9001 accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "fw*" accept
		oifname "fw*" accept
	}
	chain output {
		type filter hook output priority filter; policy accept;
	}
}
`

// TestNftablesService: what nftables.service runs when it starts and reloads
// (nft -f), and when it stops (nft flush ruleset), each of which takes away all
// there is of nftables, but for a table that is the daemon's: see TestOwned.
func TestNftablesService(t *testing.T) { eachOpen(t, testNftablesService) }

func testNftablesService(t *testing.T, kind backend) {
	w := newWorld(t, kind)
	w.host.serve(t, "tcp4", "192.0.2.1:9000")
	w.host.serve(t, "tcp4", "192.0.2.1:9001")
	conf := filepath.Join(t.TempDir(), "nftables.conf")
	load := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.host.run(t, "nft", "-f", conf)
	}
	load(serviceConf)
	fw := w.firewall(t)
	a, b := networks()
	a1, b1 := endpoints()
	s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
	fw.apply(t, s)
	holds := func(when, closed string) {
		t.Helper()
		check(t, append(w.common(),
			probe{when + ": the host's own port that input accepts", w.lan, "tcp", "192.0.2.1:9001", "host 192.0.2.2"},
			probe{when + ": the host's own port", w.lan, "tcp", "192.0.2.1:9000", closed}))
	}
	holds("at first", "")
	load(serviceConf)
	if r := fw.reconcile(t, s); len(r) == 0 {
		t.Error("Reconcile found nothing after nftables.service reloaded")
	}
	holds("after a reload", "")
	w.host.run(t, "nft", "flush", "ruleset")
	if r := fw.reconcile(t, s); len(r) == 0 {
		t.Error("Reconcile found nothing after nftables.service stopped")
	}
	holds("after a stop", "host 192.0.2.2")

	load(strings.NewReplacer("iifname \"fw*\" accept", "", "oifname \"fw*\" accept", "").Replace(serviceConf))
	fw.reconcile(t, s)
	check(t, []probe{
		{"outside, without the accepts", w.a1, "tcp", "192.0.2.2:80", ""},
		{"published, without the accepts", w.lan, "tcp", "192.0.2.1:8080", ""},
		{"published, from the host", w.host, "tcp", "192.0.2.1:8080", "a1 192.0.2.1"},
	})
}

// TestBridgeNetfilter: with br_netfilter, what a bridge passes on goes through
// the rules for what is routed, too. Nothing depends on whether it does.
func TestBridgeNetfilter(t *testing.T) { eachBackend(t, testBridgeNetfilter) }

func testBridgeNetfilter(t *testing.T, kind backend) {
	for _, value := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+value, func(t *testing.T) {
			w := newWorld(t, kind)
			w.host.sysctl(t, "net/bridge/bridge-nf-call-iptables", value)
			w.host.sysctl(t, "net/bridge/bridge-nf-call-ip6tables", value)
			w.docker(t, engines[1])
			w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
			w.host.run(t, "ip6tables", "-P", "FORWARD", "DROP")
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			fw.apply(t, nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}})
			check(t, w.common())
			check(t, w.besideDocker(engines[1], "DROP"))
		})
	}
}
