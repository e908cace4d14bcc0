//go:build bench

package bench

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A harm is what somebody does to what a daemon keeps.
type harm struct {
	name    string
	command []string
	says    string // the daemon, of what it repaired
	loaded  bool   // while 4 callers attach and detach
	took    sample
}

// BenchmarkRepair measures how long it takes until the daemon has made good
// what others did: from when their program has ended until the repair is in the
// daemon's log.
func BenchmarkRepair(b *testing.B) {
	var rows [][]string
	for _, present := range []int{1, 1000} {
		s := &subject{daemon: startDaemon(b, "repair-"+strconv.Itoa(present), "--firewall", "nftables"), present: present}
		s.inside(b, "iptables", "-P", "FORWARD", "DROP") // else fairway has nothing there
		s.network = s.createNetwork(b)
		for n := range present { // without a sandbox, they are never stale
			s.call(b, "/NetworkDriver.CreateEndpoint", newEndpoint(s.network, n).create)
		}
		bridge := ""
		all, err := s.links.LinkList()
		if err != nil {
			b.Fatal(err)
		}
		for _, l := range all {
			if strings.HasPrefix(l.Attrs().Name, "fwb") {
				bridge = l.Attrs().Name
			}
		}
		harms := []*harm{
			{name: "`iptables -F`", command: []string{"iptables", "-F"}},
			{name: "`iptables -F`, 4 callers attach and detach", command: []string{"iptables", "-F"}, loaded: true},
			{name: "`ip link set BRIDGE down`", command: []string{"ip", "link", "set", bridge, "down"}},
			{name: "the same, 4 callers attach and detach", command: []string{"ip", "link", "set", bridge, "down"}, loaded: true},
			{name: "`nft flush ruleset`", command: []string{"nft", "flush", "ruleset"}}, // leaves our table, from Linux 6.9
		}
		if present == 1 { // it takes the kernel seconds with 1,000 ports, and to put them back
			harms = append(harms, &harm{name: "`ip link del BRIDGE`", command: []string{"ip", "link", "del", bridge}})
		}
		for _, h := range harms {
			s.suffer(b, h)
			rows = append(rows, []string{h.name, strconv.Itoa(present), ms(h.took.p50()), ms(h.took.p95()), ms(h.took.max())})
		}
	}
	table([]string{"repaired after", "endpoints", "p50 ms", "p95 ms", "max ms"}, rows)
	b.ReportMetric(0, "ns/op")
}

// inside runs a command in the daemon's namespace.
func (d *daemon) inside(b *testing.B, command ...string) {
	b.Helper()
	args := append([]string{"-t", strconv.Itoa(d.cmd.Process.Pid), "-n"}, command...)
	if out, err := exec.CommandContext(world.ctx, "nsenter", args...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", command, err, out)
	}
}

func (s *subject) suffer(b *testing.B, h *harm) {
	if h.loaded {
		ctx, cancel := context.WithCancel(world.ctx)
		var callers sync.WaitGroup
		for c := range 4 {
			callers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					e := newEndpoint(s.network, 2000+c*1000+n%1000)
					_ = s.tryAttach(e) // the bridge may be gone just now
					_ = s.tryDetach(e)
				}
			})
		}
		defer callers.Wait()
		defer cancel()
	}
	for range min(*rounds, 20) {
		pause := 250 * time.Millisecond // that after the last one is over then
		if n := len(h.took); n > 0 {
			pause = max(pause, 4*h.took[n-1])
		}
		time.Sleep(pause)
		before, err := os.ReadFile(s.log)
		if err != nil {
			b.Fatal(err)
		}
		s.inside(b, h.command...)
		start := time.Now()
		for {
			if now, err := os.ReadFile(s.log); err == nil && strings.Contains(string(now[len(before):]), "repaired: "+h.says) {
				break
			}
			if time.Since(start) > 10*time.Second {
				b.Fatalf("%s: not repaired\n%s", h.name, s.tail())
			}
			time.Sleep(time.Millisecond)
		}
		h.took = append(h.took, time.Since(start))
	}
}
