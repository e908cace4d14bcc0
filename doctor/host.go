package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Host is what the kernel says of the host itself.
type Host struct {
	Links     []netlink.Link
	Addresses map[netip.Addr]int // → index of the link
	Routes    []netlink.Route    // of all tables, both families
	Rules     []netlink.Rule     // of both families
	// Neighbours counts those entries, by family, that the kernel may forget: the
	// permanent ones don't count for its limit.
	Neighbours map[int]int
}

// ReadHost reads the network namespace that the calling thread is in, each table
// by one dump.
func ReadHost() (*Host, error) {
	h := &Host{Addresses: map[netip.Addr]int{}, Neighbours: map[int]int{}}
	var err error
	if h.Links, err = netlink.LinkList(); bad(err) {
		return nil, fmt.Errorf("doctor: list links: %w", err)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if bad(err) {
		return nil, fmt.Errorf("doctor: list addresses: %w", err)
	}
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			h.Addresses[ip.Unmap()] = a.LinkIndex
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if err := h.readFamily(family); err != nil {
			if family == unix.AF_INET6 {
				continue // a kernel without IPv6
			}
			return nil, err
		}
	}
	return h, nil
}

func (h *Host) readFamily(family int) error {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if bad(err) {
		return fmt.Errorf("doctor: list routes: %w", err)
	}
	for i := range routes {
		routes[i].Family = family
	}
	h.Routes = append(h.Routes, routes...)
	rules, err := netlink.RuleList(family)
	if bad(err) {
		return fmt.Errorf("doctor: list rules: %w", err)
	}
	for i := range rules {
		rules[i].Family = family
	}
	h.Rules = append(h.Rules, rules...)
	neighbours, err := netlink.NeighList(0, family)
	if bad(err) {
		return fmt.Errorf("doctor: list neighbours: %w", err)
	}
	for _, n := range neighbours {
		if n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) == 0 {
			h.Neighbours[family]++
		}
	}
	return nil
}

// bad reports whether a list can't be used. One that something changed under
// can: it is looked at again before anything is said to differ.
func bad(err error) bool { return err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) }

// link returns a link by name, nil if there is none.
func (h *Host) link(name string) netlink.Link {
	for _, l := range h.Links {
		if l.Attrs().Name == name {
			return l
		}
	}
	return nil
}

func (h *Host) nameOf(index int) string {
	for _, l := range h.Links {
		if l.Attrs().Index == index {
			return l.Attrs().Name
		}
	}
	return strconv.Itoa(index)
}

// defaults returns the default routes of the main table in a family, the best
// first.
func (h *Host) defaults(family int) []netlink.Route {
	var out []netlink.Route
	for _, r := range h.Routes {
		if r.Family == family && r.Table == unix.RT_TABLE_MAIN && r.Type == unix.RTN_UNICAST && isDefault(r) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b netlink.Route) int { return a.Priority - b.Priority })
	return out
}

// uplinks returns the names of the links that default routes of a family leave
// by, the best first.
func (h *Host) uplinks(family int) (out []string) {
	add := func(index int) {
		if name := h.nameOf(index); index != 0 && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, r := range h.defaults(family) {
		add(r.LinkIndex)
		for _, hop := range r.MultiPath {
			add(hop.LinkIndex)
		}
	}
	return out
}

// Uplink returns the link of the best default route of a family; "" for none.
func (h *Host) Uplink(v6 bool) string {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	if all := h.uplinks(family); len(all) > 0 {
		return all[0]
	}
	return ""
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// sysctl reads a value below /proc/sys; "" if there is none.
func sysctl(path string) string {
	text, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// number reads a sysctl that is one; 0 if there is none.
func number(path string) int {
	n, _ := strconv.Atoi(sysctl(path))
	return n
}

// set is the command that gives a sysctl a value until the next boot. Names of
// links may have dots: so the path is written with slashes.
func set(path, value string) string { return "sysctl -w " + quote(path+"="+value) }

// runs reports whether a process of this name runs, by what the kernel calls it
// (at most 15 bytes; see proc_pid_comm(5)).
func runs(comm string) bool {
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		if name := d.Name(); name[0] < '0' || name[0] > '9' {
			continue
		}
		text, err := os.ReadFile("/proc/" + d.Name() + "/comm")
		if err == nil && strings.TrimSpace(string(text)) == comm {
			return true
		}
	}
	return false
}
