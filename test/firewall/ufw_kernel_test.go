//go:build kernel

package firewall

import (
	"testing"

	"fairway/nat"
)

// TestUfw: ufw's policies of INPUT and FORWARD are DROP. What must pass does all
// the same, before and after all that ufw does to its rules, and what ufw says
// about the host's own ports stands.
func TestUfw(t *testing.T) {
	for _, c := range []struct {
		kind    backend
		flavour string // of everybody's iptables
	}{{viaIptables, "legacy"}, {viaNftables, "nft"}} {
		t.Run(c.kind.name+"/"+c.flavour, func(t *testing.T) {
			useFlavour(t, c.flavour)
			w := newWorld(t, c.kind)
			w.host.serve(t, "tcp4", "192.0.2.1:9000")
			w.host.serve(t, "tcp4", "192.0.2.1:9001")
			ufw := newUfw(t, w, c.flavour)
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
			fw.apply(t, s)
			for _, step := range [][]string{{"--force", "enable"}, {"reload"}, {"--force", "disable"}, {"--force", "enable"}} {
				ufw.do(t, append([]string{"ufw"}, step...)...)
				fw.reconcile(t, s)
				closed := ""
				if step[len(step)-1] == "disable" {
					closed = "host 192.0.2.2"
				}
				check(t, append(w.common(),
					probe{"the host's own port that ufw allows", w.lan, "tcp", "192.0.2.1:9001", "host 192.0.2.2"},
					probe{"the host's own port", w.lan, "tcp", "192.0.2.1:9000", closed}))
				if t.Failed() {
					w.dump(t)
					t.Fatalf("after ufw %v", step)
				}
			}
		})
	}
}

// newUfw returns a machine with ufw, not enabled, that allows port 9001 and
// denies 8080, which is of no effect on what is forwarded: docs/firewall.md.
func newUfw(t *testing.T, w *world, flavour string) *machine {
	t.Helper()
	m := newMachine(t, w.host, "ufw")
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, what := range []string{"", "-save", "-restore"} {
			m.do(t, "ln", "-sf", program+"-"+flavour+what, "/usr/sbin/"+program+what)
		}
	}
	m.do(t, "ufw", "allow", "9001/tcp")
	m.do(t, "ufw", "deny", "8080")
	return m
}

// TestUfwDecides: with publish=host-firewall, ufw deny 8080 means deny.
func TestUfwDecides(t *testing.T) {
	t.Parallel()
	w, _, _, _ := hostFirewall(t, viaNftables)
	ufw := newMachine(t, w.host, "ufw")
	ufw.do(t, "ufw", "allow", "8080/tcp")
	ufw.do(t, "ufw", "--force", "enable")
	for _, step := range []struct{ rule, tcp string }{{"", "a1 192.0.2.2"}, {"deny", ""}} {
		if step.rule != "" {
			ufw.do(t, "ufw", step.rule, "8080/tcp")
		}
		check(t, []probe{
			{"ufw " + step.rule, w.lan, "tcp", "192.0.2.1:8080", step.tcp},
			{"ufw " + step.rule + ", never allowed", w.lan, "udp", "192.0.2.1:8080", ""},
		})
	}
}
