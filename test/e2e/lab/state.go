package lab

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// A state is what a host holds, as sets of lines by kind, so that two can be
// compared and their difference read.
type state map[string][]string

// Baseline remembers the host's state. Before that it makes and removes a
// network of each driver with a container, since some of what they set up
// stays for good: sysctls, firewall chains, the module-like parts of dockerd.
func (h *Host) Baseline(t testing.TB, drivers ...string) {
	t.Helper()
	for _, d := range drivers {
		h.Docker(t, "network", "create", "-d", d, "--ipv6", "--subnet", "fd97::/64", "--subnet", "10.97.0.0/24", "warm")
		h.Docker(t, "run", "--rm", "--network", "warm", "-p", "127.0.0.1:1:1", Image, "/bin/busybox", "true")
		h.Docker(t, "network", "rm", "warm")
	}
	var err error
	for deadline := time.Now().Add(warmTime); ; time.Sleep(100 * time.Millisecond) {
		last := h.before
		if h.before, err = h.state(); err != nil {
			t.Fatal(err)
		}
		warm := h.before.holding("10.97.0.", "fd97:")
		if last != nil && warm == "" && difference(last, h.before) == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the host does not come to rest in %v; left of a network that was removed:\n%s", h.Name, warmTime, warm)
		}
	}
}

// Clean removes every container and network of the host's engines, and then
// checks that nothing is left: every link, address, route, rule, process,
// sandbox, connection and record is as it was at Baseline. It reports whether
// the host can be used by another test.
func (h *Host) Clean(t testing.TB) (usable bool) {
	t.Helper()
	usable = true
	for _, e := range h.engines {
		if e.daemon == nil {
			continue
		}
		if err := e.RemoveAll(); err != nil {
			t.Error(err)
			usable = false
		}
	}
	return h.CheckBaseline(t) && usable
}

// CheckBaseline checks that the host is as it was at Baseline, or comes to be
// so in a few seconds; it reports whether it is.
func (h *Host) CheckBaseline(t testing.TB) bool {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(settleTime); ; time.Sleep(100 * time.Millisecond) {
		now, err := h.state()
		if err != nil {
			t.Error(err)
			return false
		}
		if diff = difference(h.before, now); diff == "" {
			return true
		}
		if time.Now().After(deadline) {
			break
		}
	}
	t.Errorf("%s: left behind (+) or lost (-) %v after all was removed:\n%s", h.Name, settleTime, diff)
	return false
}

// Accept takes the host as it is for its baseline, after a check that failed:
// the next check is to answer for itself only.
func (h *Host) Accept(t testing.TB) {
	t.Helper()
	var err error
	if h.before, err = h.state(); err != nil {
		t.Error(err)
	}
}

// Difference says in what the host differs from what it was at Baseline.
func (h *Host) Difference(t testing.TB) string {
	t.Helper()
	now, err := h.state()
	if err != nil {
		t.Fatal(err)
	}
	return difference(h.before, now)
}

// RemoveAll removes what tests made: all containers and custom networks.
func (d *Dockerd) RemoveAll() error {
	ids, err := d.Try("ps", "--all", "--quiet")
	if err != nil {
		return err
	}
	if ids != "" {
		if _, err := d.Try(append([]string{"rm", "--force", "--volumes"}, strings.Fields(ids)...)...); err != nil {
			return err
		}
	}
	// docker rm answers before the engine has counted the endpoint down.
	for deadline := time.Now().Add(settleTime); ; time.Sleep(200 * time.Millisecond) {
		if ids, err = d.Try("network", "ls", "--quiet", "--filter", "type=custom"); err != nil || ids == "" {
			return err
		}
		if _, err = d.Try(append([]string{"network", "rm"}, strings.Fields(ids)...)...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// state reads what the host holds.
func (h *Host) state() (state, error) {
	// One shell for all of it: entering the namespaces is what costs time.
	// Connections count only if they are to or from a test's subnet: 10.99.0.0/16
	// and fd99::/16 are fairway's, in all tests. Multicast is the bridge's own.
	out, err := h.try("sh", "-c", `
		echo "== link"; ip -o link | sed 's/^[0-9]*: //; s/ state [A-Z]*//; s/link-netns[id]* [^ ]*//; s/@if[0-9]*//; /^docker/s/ether [0-9a-f:]*//'
		echo "== address"; ip -o addr | sed 's/^[0-9]*: //; s/ *valid_lft.*//; /inet6 fe80/d; s/tentative//'
		echo "== route"; { ip route show table all; ip -6 route show table all; } |
			sed '/fe80::/d; /ff00::/d; /anycast/d; s/linkdown//; s/  */ /g; s/ *$//'
		for t in iptables ip6tables; do
			echo "== $t"; $t-save 2>/dev/null | sed '/^#/d; /^COMMIT/d; s/\[[0-9:]*\]//'
		done
		echo "== nft"; nft list tables 2>/dev/null | grep -v -E '^table ip6? (filter|nat|raw|mangle)$'
		echo "== fairway"; nft -s list table inet fairway 2>/dev/null | tr ',' '\n' | sed 's/elements = {//; s/[{}]//g; s/^[ \t]*//; s/[ \t]*$//; /^$/d' | sort
		echo "== guard"; nft -s list table bridge fairway 2>/dev/null | tr ',' '\n' | sed 's/elements = {//; s/[{}]//g; s/^[ \t]*//; s/[ \t]*$//; /^$/d' | sort
		echo "== sandbox"; grep nsfs /proc/self/mountinfo | cut -d' ' -f5 | grep -v default
		echo "== process"; ps -eo comm= | grep -v -E '^(ps|sh|grep|sed|probe|nsenter|docker|ls|cut|sort)$' | sort
		echo "== connection"; conntrack -L 2>/dev/null | grep -F '=10.99.' | grep -v 'dst=224' | sed 's/^\([a-z]* *[0-9]*\) [0-9]* */\1 /'
		conntrack -L -f ipv6 2>/dev/null | grep 'fd99:' | grep -v 'dst=ff0'
		true`)
	if err != nil {
		return nil, err
	}
	s, kind, table := state{}, "", ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if k, ok := strings.CutPrefix(line, "== "); ok {
			kind, table = k, ""
			continue
		}
		if t, ok := strings.CutPrefix(line, "*"); ok && strings.HasSuffix(kind, "tables") {
			table = t + " "
			continue
		}
		// A table comes with its first rule and stays, with empty built-in chains.
		if line != "" && (table == "" || !strings.HasSuffix(line, " ACCEPT") || line[0] != ':') {
			s[kind] = append(s[kind], table+line)
		}
	}
	if h.fairway != nil {
		for _, what := range []string{"endpoints", "networks", "ports"} {
			rows, err := h.Listed(what)
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				s["fairway "+what] = append(s["fairway "+what], fmt.Sprint(r))
			}
		}
	}
	return s, nil
}

// holding lists what has any of words in it.
func (s state) holding(words ...string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		for _, l := range s[k] {
			if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l, w) }) {
				out = append(out, "  "+k+": "+l)
			}
		}
	}
	return strings.Join(out, "\n")
}

// difference lists what is only in now (+) and only in before (-), as
// multisets, by kind.
func difference(before, now state) string {
	kinds := map[string]bool{}
	for k := range before {
		kinds[k] = true
	}
	for k := range now {
		kinds[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		count := map[string]int{}
		for _, l := range now[k] {
			count[l]++
		}
		for _, l := range before[k] {
			count[l]--
		}
		lines := slices.Collect(maps.Keys(count))
		sort.Strings(lines)
		for _, l := range lines {
			switch n := count[l]; {
			case n > 0:
				out = append(out, "  + "+k+": "+l)
			case n < 0:
				out = append(out, "  - "+k+": "+l)
			}
		}
	}
	return strings.Join(out, "\n")
}
