package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Config says how a host is made.
type Config struct {
	Name     string
	Engine   Engine
	Iptables string   // nft (default) or legacy
	Forward  string   // policy of the FORWARD chain before anything starts: ACCEPT (default) or DROP
	Docker   []string // more arguments for dockerd
	Fairway  []string // more arguments for fairway daemon
}

// A Host is a machine on a LAN with a Docker Engine and a fairway daemon,
// neither of them started yet.
type Host struct {
	*Machine
	LAN     *LAN
	IP, IP6 string // on the LAN

	config  Config
	number  int
	engines []*Dockerd // the first is the one that Docker and the like talk to
	fairway *daemon
	plugins []string // IDs of managed plugins
	before  state    // set by Baseline
}

// NewHost makes a host. Close it when done; with the test process it ends in
// any case.
func (l *LAN) NewHost(config Config) (_ *Host, err error) {
	l.mu.Lock()
	l.hosts++
	number := l.hosts
	l.mu.Unlock()
	if config.Name == "" {
		config.Name = "host"
	}
	iptables := config.Iptables
	if iptables == "" {
		iptables = "nft"
	}
	name := config.Name + "-" + strings.NewReplacer(".", "", "/", "-").Replace(config.Engine.Name) + "-" + fmt.Sprint(number)
	m, err := newMachine(l.Neighbour.tools, config.Engine, name, "-iptables", iptables)
	if err != nil {
		return nil, err
	}
	h := &Host{Machine: m, LAN: l, config: config, number: number}
	h.IP, h.IP6 = address(number)
	m.binds = append(m.binds, m.dir+"/fairway:/var/lib/fairway")
	h.addEngine(config.Engine, "")
	if err := h.powerOn(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// powerOn boots the machine and gives it what a host's start scripts would;
// PowerUp starts the daemons.
func (h *Host) powerOn() error {
	if err := h.boot(); err != nil {
		return err
	}
	// Duplicate address detection would make IPv6 wait a second everywhere.
	if _, err := h.try("sh", "-ec", `
		echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
		echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
		mkdir -p /run/docker/plugins /run/fairway
		printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts`); err != nil {
		return err
	}
	if err := h.LAN.plug(h); err != nil {
		return err
	}
	return h.setForward()
}

// setForward brings about the FORWARD policy as hosts come to have it: with
// forwarding on already dockerd leaves the policy alone, else it sets DROP.
func (h *Host) setForward() error {
	on := "1"
	if h.config.Forward == "DROP" {
		on = "0"
	}
	_, err := h.try("sh", "-ec", "echo "+on+" >/proc/sys/net/ipv4/ip_forward; echo "+on+
		" >/proc/sys/net/ipv6/conf/all/forwarding; echo "+on+" >/proc/sys/net/ipv6/conf/default/forwarding")
	return err
}

// Close ends the host and removes what it left: its directory and its control
// groups.
func (h *Host) Close() error {
	err := h.off()
	h.waitDaemons()
	return errors.Join(err, h.removeCgroups(), os.RemoveAll(h.dir))
}

// Reboot ends every process at once, and starts the host with empty /run, new
// namespaces, and the same disks. Nothing is started on it.
func (h *Host) Reboot(t testing.TB) {
	t.Helper()
	if err := h.off(); err != nil {
		t.Fatal(err)
	}
	h.waitDaemons()
	if err := errors.Join(h.removeCgroups(), h.powerOn()); err != nil {
		t.Fatal(err)
	}
}

func (h *Host) waitDaemons() {
	if h.fairway != nil {
		h.fairway.wait()
		h.fairway = nil
	}
	for _, e := range h.engines {
		if e.daemon != nil {
			e.daemon.wait()
			e.daemon = nil
		}
	}
}

// cgroup is the parent of all control groups of the host's containers.
func (h *Host) cgroup() string { return cgroup(filepath.Base(h.dir)) }

func (h *Host) removeCgroups() error {
	err := removeCgroups(h.cgroup())
	for _, id := range h.plugins { // dockerd has no parent for theirs
		err = errors.Join(err, removeCgroups(id))
	}
	return err
}

// isV6 reports the family of an address or a subnet.
func isV6(s string) bool {
	s, _, _ = strings.Cut(s, "/")
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}
