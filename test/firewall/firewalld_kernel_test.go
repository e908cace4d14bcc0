//go:build kernel

package firewall

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"fairway/nat"
	"fairway/nat/firewalld"
)

// busConfig is that of a system bus on which root may do everything.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="*"/>
    <allow send_destination="*"/>
    <allow receive_type="*"/>
  </policy>
</busconfig>
`

// A manager is firewalld, running on the world's host.
type manager struct {
	*machine
	t    *testing.T
	bus  *dbus.Conn
	stop func()
}

func newManager(t *testing.T, w *world, settings string) *manager {
	t.Helper()
	m := &manager{machine: newMachine(t, w.host, "firewalld"), t: t}
	if err := os.WriteFile(filepath.Join(m.run, "bus.conf"), []byte(busConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	if settings != "" {
		m.do(t, "sed", "-i", settings, "/etc/firewalld/firewalld.conf")
	}
	m.do(t, "mkdir", "-p", "/run/dbus")
	m.start(t, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile")
	within(t, "D-Bus", func() bool { _, err := os.Stat(m.socket()); return err == nil })
	var err error
	if m.bus, err = dbus.Connect("unix:path=" + m.socket()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.bus.Close() })
	m.boot()
	return m
}

func (m *manager) socket() string { return filepath.Join(m.run, "dbus/system_bus_socket") }

// boot starts firewalld and waits for its rules.
func (m *manager) boot() {
	m.t.Helper()
	m.stop = m.machine.start(m.t, "firewalld", "--nofork", "--nopid")
	within(m.t, "firewalld", m.running)
}

// running reports whether firewalld answers: it does once its rules are there.
func (m *manager) running() bool {
	var zone string
	return m.ask("getDefaultZone").Store(&zone) == nil
}

func (m *manager) ask(method string, args ...any) *dbus.Call {
	const name = "org.fedoraproject.FirewallD1"
	return m.bus.Object(name, "/org/fedoraproject/FirewallD1").Call(name+"."+method, dbus.FlagNoAutoStart, args...)
}

// zoned returns a Firewall with a zone, and runs the zone's task.
func (w *world) zoned(t *testing.T, m *manager) *hosted {
	t.Helper()
	for link, id := range map[string]string{"fwa": "aaaaaaaaaaaaaaaa", "fwb": "bbbbbbbbbbbbbbbb"} {
		w.host.run(t, "ip", "link", "set", link, "alias", "fairway:test1:"+id)
	}
	h := w.firewall(t)
	z, err := firewalld.New(firewalld.Options{
		Options: nat.Options{Instance: "test1"}, Address: "unix:path=" + m.socket(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.host.do(func() { _ = z.Run(ctx) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	h.f = firewalld.NewFirewall(h.f, z)
	return h
}

// members returns the links of the zone.
func (m *manager) members() string {
	var links []string
	if err := m.ask("zone.getInterfaces", "fairway").Store(&links); err != nil {
		return err.Error()
	}
	slices.Sort(links)
	return strings.Join(links, " ")
}

// TestFirewalld: beside firewalld's own tables, which reject what they don't
// know, all passes that must, and nothing else; over a reload and a restart.
func TestFirewalld(t *testing.T) { eachBackend(t, testFirewalld) }

func testFirewalld(t *testing.T, kind backend) {
	for _, c := range []struct{ name, settings string }{
		{"nftables", ""},
		{"iptables", "s/^FirewallBackend=.*/FirewallBackend=iptables/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kind)
			w.host.serve(t, "tcp4", ":9001")
			m := newManager(t, w, c.settings)
			fw := w.zoned(t, m)
			a, b := networks()
			a1, b1 := endpoints()
			s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
			fw.apply(t, s)
			within(t, "the zone holds both bridges", func() bool { return m.members() == "fwa fwb" })
			w.besideFirewalld(t, fw, s, "at first")
			if t.Failed() {
				t.Log(w.host.run(t, "nft", "list", "ruleset"))
				return
			}

			m.do(t, "firewall-cmd", "--reload")
			within(t, "the zone holds both bridges after a reload", func() bool { return m.members() == "fwa fwb" })
			w.besideFirewalld(t, fw, s, "after a reload")

			m.stop()
			if m.running() {
				t.Fatal("firewalld still runs")
			}
			m.boot()
			within(t, "the zone holds both bridges after a restart", func() bool { return m.members() == "fwa fwb" })
			w.besideFirewalld(t, fw, s, "after a restart")

			// A bridge that we didn't make, and one that somebody put elsewhere.
			w.bridge(t, "adopted", "172.30.3.1/24")
			if err := m.ask("zone.changeZoneOfInterface", "home", "fwb").Err; err != nil {
				t.Fatal(err)
			}
			adopted := nat.Network{ID: "cccccccccccccccc", Link: "adopted", Families: []nat.Family{{
				Subnet: netip.MustParsePrefix("172.30.3.0/24"), Mode: nat.ModeNAT, Masquerade: true,
			}}}
			fw.apply(t, nat.State{Networks: []nat.Network{adopted}})
			if got := m.members(); got != "fwa" {
				t.Errorf("zone with a bridge adopted and one in zone home: %q, want fwa", got)
			}
			fw.remove(t, nat.State{Networks: []nat.Network{adopted}})
			if err := m.ask("zone.changeZoneOfInterface", "fairway", "fwb").Err; err != nil {
				t.Fatal(err)
			}

			fw.remove(t, nat.State{Endpoints: []nat.Endpoint{b1}})
			fw.remove(t, nat.State{Networks: []nat.Network{b}})
			if got := m.members(); got != "fwa" {
				t.Errorf("zone after a network is gone: %q, want fwa", got)
			}
			if err := m.ask("zone.removeInterface", "fairway", "fwa").Err; err != nil {
				t.Fatal(err)
			}
			if r := fw.reconcile(t, nat.State{Networks: []nat.Network{a}, Endpoints: []nat.Endpoint{a1}}); len(r) == 0 || m.members() != "fwa" {
				t.Errorf("Reconcile repaired %v, zone is %q", r, m.members())
			}
		})
	}
}

// besideFirewalld checks what passes, with our rules repaired as they are after
// the kernel's notification.
func (w *world) besideFirewalld(t *testing.T, fw *hosted, s nat.State, when string) {
	t.Helper()
	for _, r := range fw.reconcile(t, s) {
		t.Logf("%s: repaired %v", when, r)
	}
	check(t, append(w.common(),
		probe{"the host's own service, from the LAN", w.lan, "tcp", "192.0.2.1:9001", ""},
		probe{"the host's own service, from a container", w.a1, "tcp", "172.30.1.1:9001", ""},
	))
	if t.Failed() {
		t.Logf("%s", when)
	}
}
