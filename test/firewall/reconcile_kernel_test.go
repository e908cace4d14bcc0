//go:build kernel

package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/nat"
)

// ours returns the lines of the host's rules that have to do with fairway,
// less the counters.
func (w *world) ours(t *testing.T) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(w.host.run(t, "iptables-save") + w.host.run(t, "ip6tables-save")) {
		if strings.Contains(line, "FAIRWAY") || strings.Contains(line, "fairway") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "") + w.table(t)
}

// foreign returns all other lines of rules.
func (w *world) foreign(t *testing.T) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(w.host.run(t, "iptables-save") + w.host.run(t, "ip6tables-save")) {
		if !strings.Contains(line, "FAIRWAY") && !strings.Contains(line, "fairway") && strings.HasPrefix(line, "-A") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestReconcile: whatever is done to the rules, one Reconcile makes them right,
// says so, and a second one finds nothing and writes nothing.
func TestReconcileIptables(t *testing.T) {
	kind := viaIptables
	tampers := []struct {
		name    string
		command string // in a shell
		clean   bool   // nothing of ours is touched
	}{
		{"nothing", "true", true},
		{"iptables -F", "iptables -F; ip6tables -F", false},
		{"nat flushed", "iptables -t nat -F; ip6tables -t nat -F", false},
		{"raw flushed", "iptables -t raw -F", false},
		{"jump gone from DOCKER-USER", "iptables -D DOCKER-USER 1", false},
		{"a rule after ours in DOCKER-USER", "iptables -A DOCKER-USER -s 198.51.100.0/24 -j DROP", false},
		{"a rule of an administrator before ours", "iptables -I DOCKER-USER -s 198.51.100.0/24 -j DROP", true},
		{"Docker moves its jump", "iptables -D FORWARD -j DOCKER-USER; iptables -I FORWARD -j DOCKER-USER", true},
		{"a foreign rule before the drops", "iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT", false},
		{"jump to the drops doubled", "iptables -I FORWARD -m comment --comment fairway:test1 -j FAIRWAY-FORWARD", false},
		{"jump to the translation gone", "iptables -t nat -F PREROUTING", false},
		{"one port gone", "iptables -t nat -D FAIRWAY-DNAT 1", false},
		{"a rule too many", "iptables -I FAIRWAY-IN-fwa -j RETURN", false},
		{"rules in another order", "iptables -D FAIRWAY-FORWARD 1; iptables -A FAIRWAY-FORWARD " +
			"-m comment --comment fairway:test1 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j RETURN", false},
		{"a chain too many", "iptables -N FAIRWAY-IN-gone; iptables -A FAIRWAY-FORWARD -o gone -j FAIRWAY-IN-gone", false},
		{"another instance's rule", "iptables -A INPUT -m comment --comment fairway:other:1234 -j RETURN", true},
		{"another instance's chain", "iptables -N FAIRWAY-IN-other; iptables -A FAIRWAY-IN-other -m comment --comment fairway:other -j DROP", true},
		{"IPv6 chain emptied", "ip6tables -F FAIRWAY-IN-fwb", false},
		{"all flushed and removed", "for t in filter nat raw; do iptables -t $t -F; iptables -t $t -X; done", false},
	}
	for _, flavour := range flavours {
		t.Run(flavour, func(t *testing.T) {
			useFlavour(t, flavour)
			w := newWorld(t, kind)
			w.docker(t, engines[0])
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
			fw.apply(t, s)
			for _, tamper := range tampers {
				t.Run(tamper.name, func(t *testing.T) {
					w.host.run(t, "sh", "-c", tamper.command)
					foreign := w.foreign(t)
					repairs := fw.reconcile(t, s)
					if (len(repairs) == 0) != tamper.clean {
						t.Errorf("Reconcile repaired %v, nothing expected: %v", repairs, tamper.clean)
					}
					if again := fw.reconcile(t, s); len(again) != 0 {
						t.Errorf("a second Reconcile repaired %v\n%s", again, w.ours(t))
					}
					if now := w.foreign(t); now != foreign {
						t.Errorf("Reconcile changed foreign rules from\n%s to\n%s", foreign, now)
					}
				})
			}
			check(t, w.common())
		})
	}
}

// TestReconcileTakesOver: a Firewall of a new process finds what an old one
// left, and keeps it without a write; what nobody wants any more goes.
func TestReconcileTakesOver(t *testing.T) { eachBackend(t, testReconcileTakesOver) }

func testReconcileTakesOver(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, nil)
	before := w.ours(t)
	fw.close(t)
	fw = w.firewall(t)
	if r := fw.reconcile(t, s); len(r) != 0 {
		t.Errorf("Reconcile by a new Firewall repaired %v", r)
	}
	if after := w.ours(t); after != before {
		t.Errorf("rules changed from\n%s to\n%s", before, after)
	}
	fw.close(t)
	fw = w.firewall(t)
	if r := fw.reconcile(t, nat.State{}); len(r) == 0 {
		t.Error("Reconcile to nothing repaired nothing")
	}
	if left := w.ours(t); left != "" {
		t.Errorf("Reconcile to nothing left\n%s", left)
	}
}

// TestDockerStartsLater: the rules of both engines are put in after ours, as
// dockerd does at its start; at once and after Reconcile everything holds.
func TestDockerStartsLater(t *testing.T) { eachBackend(t, testDockerStartsLater) }

func testDockerStartsLater(t *testing.T, kind backend) {
	for _, e := range engines[:2] {
		t.Run(e.name, func(t *testing.T) {
			w, fw, s := start(t, kind, nil)
			w.docker(t, e)
			check(t, w.common())
			if r := fw.reconcile(t, s); len(r) == 0 {
				t.Error("Reconcile did not put its jump into DOCKER-USER")
			}
			check(t, w.common())
			check(t, w.besideDocker(e, "DROP"))
			w.dump(t)
		})
	}
}

// TestDockerMakesNetworkLater: 20.10 puts the rules of a new network at the
// head of FORWARD and its jumps before them; with nothing repaired yet, the
// new network's containers don't reach ours.
func TestDockerMakesNetworkLater(t *testing.T) { eachBackend(t, testDockerMakesNetworkLater) }

func testDockerMakesNetworkLater(t *testing.T, kind backend) {
	w := newWorld(t, kind)
	w.docker(t, engines[0])
	fw := w.firewall(t)
	a, b := networks()
	fw.apply(t, nat.State{Networks: []nat.Network{a, b}})
	w.host.run(t, "sh", "-c", `
		iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT
		iptables -D FORWARD -j DOCKER-USER; iptables -I FORWARD -j DOCKER-USER`)
	check(t, []probe{
		{"unpublished, from docker0", w.d1, "tcp", "172.30.1.2:81", ""},
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
	})
}

// TestAdministratorInDockerUser: a DROP before our accept wins, and a RETURN
// there still lets published ports work.
func TestAdministratorInDockerUser(t *testing.T) { eachBackend(t, testAdministratorInDockerUser) }

func testAdministratorInDockerUser(t *testing.T, kind backend) {
	for _, c := range []struct{ rule, want string }{
		{"-i eth0 -s 192.0.2.2 -j DROP", ""},
		{"-i eth0 -s 192.0.2.2 -j RETURN", "a1 192.0.2.2"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t, kind)
			w.docker(t, engines[0])
			w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
			w.host.run(t, "sh", "-c", "iptables -I DOCKER-USER "+c.rule)
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			fw.apply(t, nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}})
			check(t, []probe{{"published", w.lan, "tcp", "192.0.2.1:8080", c.want}})
		})
	}
}

// TestUplinkBridge: a network on a bridge that the host's default route goes
// by takes nothing from the other traffic of that bridge.
func TestUplinkBridge(t *testing.T) { eachBackend(t, testUplinkBridge) }

func testUplinkBridge(t *testing.T, kind backend) {
	w := newWorld(t, kind)
	w.host.run(t, "sh", "-c", `
		ip link add br-lan type bridge forward_delay 0
		ip address flush dev eth0
		ip link set eth0 master br-lan
		ip address add 192.0.2.1/24 dev br-lan
		ip -6 address add 2001:db8:f::1/64 dev br-lan nodad
		ip link set br-lan up
		ip route replace default via 192.0.2.2
		ip -6 route replace default via 2001:db8:f::2`)
	w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
	a, b := networks()
	a1, b1 := endpoints()
	// A third network on the uplink bridge itself.
	c := nat.Network{ID: "cccccccccccccccc", Link: "br-lan", ICC: true, Families: []nat.Family{
		{Subnet: netip.MustParsePrefix("198.51.100.0/24"), Mode: nat.ModeNAT, Masquerade: true},
	}}
	for _, networks := range [][]nat.Network{{a, b}, {a, b, c}} {
		fw := w.firewall(t)
		s := nat.State{Networks: networks, Endpoints: []nat.Endpoint{a1, b1}}
		fw.reconcile(t, s)
		check(t, []probe{
			{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
			{"published", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
			{"unpublished", w.lan, "tcp", "172.30.1.2:81", ""},
		})
		w.dump(t)
		fw.close(t)
	}
}

// TestApplyRemove: an endpoint's update takes the place of what was there, and
// when all is removed nothing is left, however often it is said.
func TestApplyRemove(t *testing.T) { eachOpen(t, testApplyRemove) }

func testApplyRemove(t *testing.T, kind backend) {
	for _, flavour := range flavours {
		t.Run(flavour, func(t *testing.T) {
			useFlavour(t, flavour)
			w := newWorld(t, kind)
			w.docker(t, engines[1])
			foreign := w.foreign(t)
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
			fw.apply(t, s)
			fw.apply(t, s)
			moved := a1
			moved.Ports = []nat.Port{port(6, "", 8088, "172.30.1.2:80"), port(132, "", 8088, "172.30.1.2:80")}
			fw.apply(t, nat.State{Endpoints: []nat.Endpoint{moved}})
			check(t, []probe{
				{"old port", w.lan, "tcp", "192.0.2.1:8080", ""},
				{"old loopback port", w.host, "tcp", "127.0.0.1:8082", ""},
				{"new port", w.lan, "tcp", "192.0.2.1:8088", "a1 192.0.2.2"},
			})
			s.Endpoints[0] = moved
			if r := fw.reconcile(t, s); len(r) != 0 {
				t.Errorf("Reconcile after an update repaired %v", r)
			}
			// An endpoint's rules are gone behind our back: Remove still works.
			if kind.name == viaIptables.name {
				w.host.run(t, "iptables", "-t", "nat", "-F", "FAIRWAY-DNAT")
			} else {
				w.host.run(t, "nft", "flush", "map", "inet", "fairway", "ports4")
			}
			for range 2 {
				fw.remove(t, nat.State{Endpoints: []nat.Endpoint{moved}})
				fw.remove(t, nat.State{Endpoints: []nat.Endpoint{b1}})
				fw.remove(t, nat.State{Networks: []nat.Network{a}})
				fw.remove(t, nat.State{Networks: []nat.Network{b}})
			}
			if left := w.ours(t); left != "" {
				t.Errorf("removal left\n%s", left)
			}
			if now := w.foreign(t); now != foreign {
				t.Errorf("foreign rules changed from\n%s to\n%s", foreign, now)
			}
		})
	}
}

// TestGuardForward: the policy becomes DROP, in one family at a time.
func TestGuardForward(t *testing.T) { eachBackend(t, testGuardForward) }

func testGuardForward(t *testing.T, kind backend) {
	w, fw, _ := start(t, kind, nil)
	w.host.run(t, "iptables", "-P", "FORWARD", "ACCEPT")
	w.host.run(t, "ip6tables", "-P", "FORWARD", "ACCEPT")
	for range 2 {
		var err error
		w.host.do(func() { err = fw.f.GuardForward(t.Context(), false) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for program, want := range map[string]string{"iptables": "-P FORWARD DROP", "ip6tables": "-P FORWARD ACCEPT"} {
		if got := w.host.run(t, program, "-S", "FORWARD"); !strings.HasPrefix(got, want) {
			t.Errorf("%s -S FORWARD: %q, want %q first", program, got, want)
		}
	}
	check(t, []probe{{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"}})
}
