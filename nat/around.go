package nat

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An Around is what is on the host besides fairway's networks and matters to
// them.
type Around struct {
	// Foreign are bridges of others' containers and virtual machines, but for
	// those with the names that Docker gives.
	Foreign []string
	// Lookalikes are links with a name like Docker's bridges that are none.
	Lookalikes []string
	// Uplinks are bridges that lead to the outside: a default route goes by
	// them, or a port of them is no end of a container or virtual machine.
	Uplinks map[string]bool
	// FiltersBridged: iptables may get bridged frames to see (br_netfilter).
	FiltersBridged bool
}

// dockers are the names that Docker gives to its bridges. One of them with a
// network card in it is still a bridge of containers.
var dockers = regexp.MustCompile(`^(docker0|docker_gwbridge|br-[0-9a-f]{12})$`) //nolint:gochecknoglobals // a constant

// LooksLikeDockers reports whether the rules take a link for one of Docker's
// bridges by its name.
func LooksLikeDockers(name string) bool {
	return name == "docker0" || name == "docker_gwbridge" || strings.HasPrefix(name, "br-")
}

// LookAround reads the host's links and default routes. Bridges of ours are not
// foreign, nor those that were and are about to go: they carry the mark of the
// instance still.
func LookAround(instance string, ours map[string]bool) (Around, error) {
	links, err := hostLinks()
	if err != nil {
		return Around{}, err
	}
	gateways := map[int]bool{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			if family == unix.AF_INET6 {
				continue // a kernel without IPv6
			}
			return Around{}, fmt.Errorf("nat: list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil {
				if ones, _ := r.Dst.Mask.Size(); ones != 0 {
					continue
				}
			}
			if r.Type != unix.RTN_UNICAST {
				continue
			}
			gateways[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				gateways[hop.LinkIndex] = true
			}
		}
	}
	mark := "fairway:" + instance + ":"
	links = slices.DeleteFunc(links, func(l hostLink) bool {
		return !ours[l.name] && l.kind == "bridge" && strings.HasPrefix(l.alias, mark)
	})
	a := sortOut(links, gateways, ours)
	_, err = os.Stat("/proc/sys/net/bridge")
	a.FiltersBridged = err == nil
	return a, nil
}

// sortOut says what each link is to us.
func sortOut(links []hostLink, gateways map[int]bool, ours map[string]bool) Around {
	a := Around{Uplinks: map[string]bool{}}
	outward := map[int]bool{} // index of a bridge with a port to the outside
	for _, l := range links {
		if l.master != 0 && l.kind != "veth" && l.kind != "tuntap" && l.kind != "tun" {
			outward[l.master] = true
		}
	}
	for _, l := range links {
		name := l.name
		if CheckLink(name) != nil {
			continue // no rule can name it
		}
		isBridge := l.kind == "bridge"
		uplink := isBridge && (gateways[l.index] || outward[l.index] && !dockers.MatchString(name))
		if uplink {
			a.Uplinks[name] = true
		}
		switch {
		case ours[name]:
		case LooksLikeDockers(name) && (!isBridge || uplink):
			a.Lookalikes = append(a.Lookalikes, name)
		case isBridge && !uplink && !LooksLikeDockers(name):
			a.Foreign = append(a.Foreign, name)
		}
	}
	slices.Sort(a.Foreign)
	slices.Sort(a.Lookalikes)
	return a
}
