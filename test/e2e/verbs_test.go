//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// A party is somebody who can ask: a container, a host, the neighbour.
type party struct {
	name string
	try  func(args ...string) (string, error)
}

func container(h *lab.Host, name string) party {
	return party{name, func(args ...string) (string, error) {
		return h.TryDocker(append([]string{"exec", name}, args...)...)
	}}
}

func machine(m *lab.Machine) party { return party{m.Name, m.Try} }

func neighbour(h *lab.Host) party { return machine(h.LAN.Neighbour) }

// An answer is what a container's server said.
type answer struct {
	Name string // the server's host name
	From string // the client's address, as the server saw it
}

// asks returns the answer to one question; it is repeated for some seconds,
// since docker run returns before the server in the container listens.
func (p party) asks(t testing.TB, proto, addr string, from ...string) answer {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var a answer
		if a, err = p.askOnce(proto, addr, from...); err == nil {
			return a
		}
	}
	t.Fatalf("%s asks %s %s: no answer: %v", p.name, proto, addr, err)
	return answer{}
}

func (p party) askOnce(proto, addr string, from ...string) (answer, error) {
	out, err := p.try(append([]string{"probe", "ask", proto, addr}, from...)...)
	if err != nil {
		return answer{}, err
	}
	f := strings.Fields(out)
	if len(f) != 3 || f[2] != "hello" {
		return answer{}, fmt.Errorf("unexpected answer %q", out)
	}
	return answer{Name: f[0], From: f[1]}, nil
}

// reaches checks who answers, and as whom the server sees the client; seen ""
// leaves that open.
func (p party) reaches(t testing.TB, proto, addr, server, seen string) {
	t.Helper()
	a := p.asks(t, proto, addr)
	if a.Name != server || seen != "" && a.From != seen {
		t.Errorf("%s asks %s %s: %s answered and saw %s, want %s and %s", p.name, proto, addr, a.Name, a.From, server, seen)
	}
}

// isShutOut checks that nobody answers.
func (p party) isShutOut(t testing.TB, proto, addr string) {
	t.Helper()
	if a, err := p.askOnce(proto, addr); err == nil {
		t.Errorf("%s asks %s %s: %s answered, want no answer", p.name, proto, addr, a.Name)
	}
}

// pings checks that an address answers an echo request, or does not.
func (p party) pings(t testing.TB, addr string, want bool) {
	t.Helper()
	args := []string{"/bin/busybox", "ping", "-c", "1", "-W", "1", addr}
	if !want {
		if _, err := p.try(args...); err == nil {
			t.Errorf("%s pings %s: it answers, want no answer", p.name, addr)
		}
		return
	}
	var err error
	for range 4 {
		if _, err = p.try(args...); err == nil {
			return
		}
	}
	t.Errorf("%s pings %s: %v", p.name, addr, err)
}

// serve starts a container that answers on 80/tcp, 81/tcp and 53/udp under its
// name, with more arguments for docker run.
func serve(t testing.TB, h *lab.Host, name string, args ...string) party {
	t.Helper()
	h.Docker(t, runArgs(name, args...)...)
	return container(h, name)
}

func runArgs(name string, args ...string) []string {
	all := append([]string{"run", "--detach", "--name", name, "--hostname", name}, args...)
	return append(all, lab.Image, "probe", "serve", "tcp:80", "tcp:81", "udp:53")
}

// network creates a network; its name is returned.
func network(t testing.TB, h *lab.Host, driver, name string, args ...string) string {
	t.Helper()
	h.Docker(t, append(append([]string{"network", "create", "--driver", driver}, args...), name)...)
	return name
}

// ip4 and ip6 return a container's address in a network, as Docker shows it.
func ip4(t testing.TB, h *lab.Host, name, network string) string {
	t.Helper()
	return inNetwork(t, h, name, network, "IPAddress")
}

func ip6(t testing.TB, h *lab.Host, name, network string) string {
	t.Helper()
	return inNetwork(t, h, name, network, "GlobalIPv6Address")
}

func inNetwork(t testing.TB, h *lab.Host, name, network, field string) string {
	t.Helper()
	return inspect(t, h, name, fmt.Sprintf(`(index .NetworkSettings.Networks %q).%s`, network, field))
}

// inspect returns one value that docker inspect shows.
func inspect(t testing.TB, h *lab.Host, name, expression string) string {
	t.Helper()
	return h.Docker(t, "inspect", "--format", "{{"+expression+"}}", name)
}

func at(ip string, port int) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }

// Subnets of tests: the harness looks for connections left over in fairway's.
func subnet4(driver string) string { return prefix(driver, "10.98", "10.99") + ".0.0/24" }
func subnet6(driver string) string { return prefix(driver, "fd98", "fd99") + "::/64" }
func addr4(driver string, n int) string {
	return fmt.Sprintf("%s.0.%d", prefix(driver, "10.98", "10.99"), n)
}
func addr6(driver string, n int) string {
	return fmt.Sprintf("%s::%x", prefix(driver, "fd98", "fd99"), n)
}

func prefix(driver, bridge, fairway string) string {
	if driver == "bridge" {
		return bridge
	}
	return fairway
}
