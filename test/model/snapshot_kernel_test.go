//go:build kernel

package model

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/link"
)

func (g *real) lines() (ours, others []string) {
	k, err := g.look()
	if err != nil {
		return []string{err.Error()}, nil
	}
	return k.lines()
}

func (g *real) inner(hostLink string) (klink, bool) {
	k, err := g.look()
	if err != nil {
		return klink{}, false
	}
	l := k.host(hostLink)
	if l == nil || l.peer == nil {
		return klink{}, false
	}
	return *l.peer, true
}

// hasVLANs is false: many a kernel that this runs on lacks them, see test/vm.
func (g *real) hasVLANs() bool { return false }

func (g *real) away(m link.Macvlan) (klink, bool) {
	k, err := g.look()
	if err != nil {
		return klink{}, false
	}
	l := k.inside(m)
	if l == nil {
		return klink{}, false
	}
	return *l, true
}

// look returns what the kernel holds, as it was when it was first asked for since
// the records were read: all checks of one moment look at the same.
func (g *real) look() (*kernel, error) {
	if g.seen != nil {
		return g.seen, nil
	}
	k, err := g.snapshot()
	if err == nil {
		g.seen = k
	}
	return k, err
}

// snapshot reads what the kernel holds into the form of the one of memory.
func (g *real) snapshot() (*kernel, error) {
	k := newKernel()
	byIndex := map[int]*klink{}
	links, err := g.nl.LinkList()
	if err != nil {
		return nil, err
	}
	addresses, err := addressesAt(g.nl)
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range links {
		if l.Attrs().Name == "lo" {
			continue
		}
		x, err := g.read(l, "", addresses, names)
		if err != nil {
			return nil, err
		}
		k.links[x.place], byIndex[l.Attrs().Index] = x, x
	}
	if err := g.readBoxes(k, byIndex); err != nil {
		return nil, err
	}
	for _, l := range links { // pairs with both ends here
		if a := l.Attrs(); l.Type() == "veth" && a.NetNsID < 0 && byIndex[a.ParentIndex] != nil {
			byIndex[a.Index].peer = byIndex[a.ParentIndex]
		}
	}
	for _, x := range byIndex {
		if x.kind == "veth" && x.master != "" {
			x.mac = "" // the kernel's choice
		}
	}
	return k, g.readTables(k, names)
}

// readBoxes reads the links in sandboxes.
func (g *real) readBoxes(k *kernel, byIndex map[int]*klink) error {
	g.mu.Lock()
	paths := make([]string, 0, len(g.boxes))
	for path := range g.boxes {
		paths = append(paths, path)
	}
	g.mu.Unlock()
	for _, path := range paths {
		_, h, err := g.box(path)
		if err != nil {
			continue
		}
		links, err := h.LinkList()
		addresses, listErr := addressesAt(h)
		h.Close()
		if err = errors.Join(err, listErr); err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() != "veth" && l.Type() != "macvlan" {
				continue
			}
			x, err := g.read(l, path, addresses, nil)
			if err != nil {
				return err
			}
			if x.peer = byIndex[l.Attrs().ParentIndex]; x.peer != nil {
				x.peer.peer = x
			}
			k.links[x.place] = x
		}
	}
	return nil
}

// addressesAt returns the addresses of a namespace by the links' indices, but for
// link-local ones.
func addressesAt(h *netlink.Handle) (map[int][]netip.Prefix, error) {
	all, err := h.AddrList(nil, netlink.FAMILY_ALL)
	out := map[int][]netip.Prefix{}
	for _, a := range all {
		ones, _ := a.Mask.Size()
		ip, _ := netip.AddrFromSlice(a.IP)
		if ip = ip.Unmap(); !ip.IsLinkLocalUnicast() {
			out[a.LinkIndex] = append(out[a.LinkIndex], netip.PrefixFrom(ip, ones))
		}
	}
	return out, err
}

func (g *real) read(l netlink.Link, ns string, addresses map[int][]netip.Prefix, names map[int]string) (*klink, error) {
	a := l.Attrs()
	x := &klink{
		place: place{ns, a.Name}, kind: l.Type(), mac: a.HardwareAddr.String(), mtu: a.MTU,
		up: a.Flags&net.FlagUp != 0, master: names[a.MasterIndex],
		// Once the daemon has been here its instance is written as that of memory.
		alias:     strings.Replace(a.Alias, "fairway:"+g.own+":", "fairway:"+instance+":", 1),
		addresses: addresses[a.Index],
	}
	if x.kind == "ifb" || x.kind == "dummy" {
		x.kind, x.mac = "isle", "" // the kernel's choice
	}
	if ns == "" && x.master != "" {
		return x, g.readPort(x, l)
	}
	if x.kind == "bridge" {
		v, err := g.sysctl("net/ipv6/conf/" + x.name + "/disable_ipv6")
		x.ipv6 = v == "0"
		return x, err
	}
	return x, nil
}

func (g *real) readPort(x *klink, l netlink.Link) error {
	p, err := g.nl.LinkGetProtinfo(l)
	if err != nil {
		return err
	}
	x.isolated, x.learning, x.hairpin = p.Isolated, p.Learning, p.Hairpin
	entries, err := g.nl.NeighList(l.Attrs().Index, unix.AF_BRIDGE)
	for _, e := range entries {
		if e.State&unix.NUD_NOARP != 0 && e.Vlan == 0 {
			x.fdb = e.HardwareAddr.String()
		}
	}
	return err
}

func (g *real) readTables(k *kernel, names map[int]string) error {
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		entries, err := g.nl.NeighList(0, f)
		if err != nil {
			return err
		}
		for _, e := range entries {
			ip, _ := netip.AddrFromSlice(e.IP)
			if e.State&unix.NUD_PERMANENT != 0 {
				k.neighbours[neighbour{names[e.LinkIndex], ip.Unmap()}] = e.HardwareAddr.String()
			}
		}
	}
	for _, l := range k.sorted() {
		if l.ns == "" && l.kind == "bridge" {
			for _, path := range []string{localnet(l.name), validMark(l.name)} {
				v, err := g.sysctl(path)
				if err != nil {
					return err
				}
				k.sysctls[path] = v
			}
		}
	}
	return nil
}

func (g *real) sysctl(path string) (v string, err error) {
	err = g.in(func() error {
		b, err := os.ReadFile("/proc/sys/" + path)
		v = strings.TrimSpace(string(b))
		if err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
		return nil
	})
	return v, err
}
