package model

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/link"
)

// A kernel is what a host's kernel holds of links. Its errors are the real
// one's.
type kernel struct {
	links      map[place]*klink
	sandboxes  map[string]bool      // path → lives
	inboxes    map[insideKey]string // what sandboxes translate
	neighbours map[neighbour]string
	sysctls    map[string]string
	routes     map[neighbour]bool // of ours to single addresses
	forwarding [2]bool            // by family
}

// A place is where a link is: its namespace, "" for the host, and its name.
type place struct{ ns, name string }

type neighbour struct {
	link string
	ip   netip.Addr
}

// A klink is one link.
type klink struct {
	place
	kind, mac, alias string
	mtu              int
	up, ipv6         bool
	group            bool   // in the group of links that are ours
	master           string // name of its bridge
	parent           string // name of the parent of a macvlan or a VLAN
	peer             *klink
	isolated         bool
	learning         bool
	hairpin          bool
	fdb              string // static entry of the port
	addresses        []netip.Prefix
	crowd            int // ports of a bridge that aren't shown one by one
}

func newKernel() *kernel {
	return &kernel{
		links: map[place]*klink{}, sandboxes: map[string]bool{}, inboxes: map[insideKey]string{}, routes: map[neighbour]bool{}, neighbours: map[neighbour]string{},
		sysctls: map[string]string{}, forwarding: [2]bool{},
	}
}

func (k *kernel) host(name string) *klink { return k.links[place{"", name}] }

// add makes a link, or says EEXIST.
func (k *kernel) add(l *klink) error {
	if k.links[l.place] != nil {
		return unix.EEXIST
	}
	k.links[l.place] = l
	if l.kind == "bridge" {
		k.sysctls[localnet(l.name)] = "0"
		k.sysctls[validMark(l.name)] = "0"
	}
	return nil
}

// remove takes a link away with all that hangs on it: a pair goes as one, and
// the ports of a bridge stay without it.
func (k *kernel) remove(l *klink) {
	for _, x := range []*klink{l, l.peer} {
		if x == nil {
			continue
		}
		delete(k.links, x.place)
		if x.ns != "" {
			continue
		}
		maps.DeleteFunc(k.neighbours, func(n neighbour, _ string) bool { return n.link == x.name })
		maps.DeleteFunc(k.routes, func(n neighbour, _ bool) bool { return n.link == x.name })
		maps.DeleteFunc(k.sysctls, func(path, _ string) bool { return strings.Contains(path, "/"+x.name+"/") })
		for _, on := range k.sorted() {
			if on.parent == x.name {
				k.remove(on)
			}
		}
		for _, port := range k.links {
			if port.ns == "" && port.master == x.name {
				port.master, port.fdb = "", ""
			}
		}
	}
}

// enslave makes l a port of a bridge. Its settings as a port begin anew.
func (k *kernel) enslave(l *klink, bridge string) error {
	b := k.host(bridge)
	if b == nil {
		return unix.ENODEV
	}
	ports := b.crowd
	for _, x := range k.links {
		if x.ns == "" && x.master == bridge {
			ports++
		}
	}
	if ports >= 1023 { // BR_MAX_PORTS less one: net/bridge/br_private.h
		return unix.EXFULL
	}
	l.master, l.isolated, l.learning, l.hairpin, l.fdb = bridge, false, true, false, ""
	return nil
}

// move puts a link into another namespace under another name, as dockerd does.
func (k *kernel) move(l *klink, to place) error {
	if k.links[to] != nil {
		return unix.EEXIST
	}
	delete(k.links, l.place)
	l.place = to
	k.links[to] = l
	return nil
}

// dieSandbox ends a namespace with all links in it.
func (k *kernel) dieSandbox(path string) {
	delete(k.sandboxes, path)
	maps.DeleteFunc(k.inboxes, func(i insideKey, _ string) bool { return i.sandbox == path })
	for _, l := range k.sorted() {
		if l.ns == path {
			k.remove(l)
		}
	}
}

// freeIndex is the first name with the prefix that is free in a namespace.
func (k *kernel) freeIndex(ns, prefix string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint(prefix, i); k.links[place{ns, name}] == nil {
			return name
		}
	}
}

// inside finds a macvlan in its sandbox.
func (k *kernel) inside(m link.Macvlan) *klink {
	for _, l := range k.sorted() {
		if l.kind == "macvlan" && l.ns != "" && l.ns == m.Sandbox && owner(l.alias) == owner(m.Alias) {
			return l
		}
	}
	return nil
}

func (k *kernel) sorted() []*klink {
	return slices.SortedFunc(maps.Values(k.links), func(a, b *klink) int {
		return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.name, b.name))
	})
}

// dump is all that the kernel holds, one line each, of links for which ours
// holds or doesn't.
func (k *kernel) dump(ours func(*klink) bool) []string {
	var out []string
	mine := map[string]bool{}
	for _, l := range k.sorted() {
		if !ours(l) {
			continue
		}
		if l.ns == "" {
			mine[l.name] = true
		}
		out = append(out, l.String())
	}
	for n, mac := range k.neighbours {
		if mine[n.link] {
			out = append(out, fmt.Sprintf("neighbour %s %s %s", n.link, n.ip, mac))
		}
	}
	for r := range k.routes {
		if mine[r.link] {
			out = append(out, fmt.Sprintf("route %s %s", r.link, r.ip))
		}
	}
	for path, v := range k.sysctls {
		if mine[strings.Split(path, "/")[3]] {
			out = append(out, "sysctl "+path+"="+v)
		}
	}
	slices.Sort(out)
	return out
}

// ours reports whether a link carries our mark, or none yet.
func (l *klink) ours() bool {
	return link.Marked(l.alias, instance) || l.alias == "" && l.group
}

func (l *klink) String() string {
	s := fmt.Sprintf("%s %s@%s mtu=%d mac=%s up=%v alias=%q", l.kind, l.name, cmp.Or(l.ns, "host"), l.mtu, l.mac, l.up, l.alias)
	if l.master != "" {
		s += fmt.Sprintf(" master=%s isolated=%v learning=%v hairpin=%v fdb=%s", l.master, l.isolated, l.learning, l.hairpin, l.fdb)
	}
	if l.kind == "bridge" {
		s += fmt.Sprintf(" ipv6=%v", l.ipv6)
	}
	for _, a := range slices.SortedFunc(slices.Values(l.addresses), netip.Prefix.Compare) {
		s += " " + a.String()
	}
	return s
}

// info describes a link as package link does.
func (l *klink) info() link.Info {
	mac, _ := net.ParseMAC(l.mac)
	return link.Info{
		Name: l.name, Kind: l.kind, MTU: l.mtu, MAC: mac, Alias: l.alias,
		Addresses: slices.Clone(l.addresses), Up: l.up, Ours: l.ours(),
	}
}
