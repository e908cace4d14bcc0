package model

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"fairway/bridge"
	"fairway/link"
	"fairway/macvlan"
	"fairway/nat"
	"fairway/store"
	"fairway/transparent"
)

// check says which invariant (TESTING.md, part 2) doesn't hold.
func (w *world) check() error {
	records, err := w.g.records()
	if err != nil {
		return err
	}
	for _, check := range []func(store.Records) error{
		w.model.check, w.checkMemory, w.checkKernel, w.checkFirewall, w.checkAddresses, w.checkForeign, w.checkPorts, w.checkInside,
	} {
		if err := check(records); err != nil {
			return err
		}
	}
	return nil
}

// checkMemory: what the daemon goes by is what is on record (I1).
func (w *world) checkMemory(s store.Records) error {
	networks, all, ok := w.g.memory()
	if !ok {
		return nil
	}
	inMemory := map[string]store.Network{}
	for _, n := range networks {
		inMemory[n.ID] = n
	}
	if err := same("I1: network", inMemory, s.Networks); err != nil {
		return err
	}
	endpoints := map[string]store.Endpoint{}
	for _, e := range all {
		endpoints[e.ID] = e
	}
	if err := same("I1: endpoint", endpoints, s.Endpoints); err != nil {
		return err
	}
	g, ok := w.g.(*memory)
	if !ok {
		return nil
	}
	live := map[string]store.LivePorts{}
	for _, l := range g.daemon().driver.LivePorts() {
		live[l.Network+" "+l.ContainerID] = l
	}
	return same("I1: live ports", live, s.LivePorts)
}

func same[T any](what string, memory, disk map[string]T) error {
	for id := range disk {
		if _, ok := memory[id]; !ok {
			return fmt.Errorf("%s %s is on record, but the daemon doesn't know it", what, id)
		}
	}
	for id, m := range memory {
		d, ok := disk[id]
		if !ok {
			return fmt.Errorf("%s %s is not on record, but the daemon has it", what, id)
		}
		if !reflect.DeepEqual(m, d) {
			return fmt.Errorf("%s %s:\n\tin memory %+v\n\ton record %+v", what, id, m, d)
		}
	}
	return nil
}

// checkKernel: the kernel has what the records say and nothing else of ours
// (I2, I3, I4, I6).
func (w *world) checkKernel(s store.Records) error {
	want, optional, err := w.wantedLinks(s)
	if err != nil {
		return err
	}
	have, _ := w.g.lines()
	for _, line := range have {
		if i := slices.Index(want, line); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else if !slices.Contains(optional, line) && !(w.g.litter() && onOthers(line)) {
			return fmt.Errorf("I2: the kernel has\n\t%s\nwhich no record says; want\n\t%s", line, strings.Join(append(want, optional...), "\n\t"))
		}
	}
	want = slices.DeleteFunc(want, func(line string) bool { return w.g.litter() && onOthers(line) })
	if len(want) > 0 {
		return fmt.Errorf("I2: the kernel lacks\n\t%s\nof what the records say; it has\n\t%s", strings.Join(want, "\n\t"), strings.Join(have, "\n\t"))
	}
	return nil
}

// onOthers reports whether a line is of something that isn't a link on a bridge
// of others: nothing marks it as ours.
func onOthers(line string) bool {
	unmarked := strings.HasPrefix(line, "sysctl") || strings.HasPrefix(line, "neighbour")
	return unmarked && (strings.Contains(line, foreignBridge) || strings.Contains(line, crowdedBridge))
}

// wantedLinks returns the dump of a kernel that has what the records say.
// Optional is what may be there or not: the pair of an endpoint whose sandbox
// has died.
func (w *world) wantedLinks(s store.Records) (want, optional []string, err error) {
	var wanted, maybe link.Set
	for _, id := range slices.Sorted(maps.Keys(s.Networks)) {
		n := s.Networks[id]
		v, err := viewOf(n)
		if err != nil {
			return nil, nil, err
		}
		wanted = append(wanted, v.Links()...)
		for _, e := range s.Endpoints {
			if e.Network != id {
				continue
			}
			left := n.Mode == "macvlan" && e.Sandbox == "" && e.Confirmed // dockerd moves it back, or it died with its sandbox
			if left || e.Sandbox != "" && !w.g.alive(e.Sandbox) || n.Link == crowdedBridge && w.g.full() {
				maybe = append(maybe, v.Attachment(e)...)
				for _, o := range v.Attachment(e)[1:] {
					wanted = append(wanted, o) // neighbours stay
				}
				continue
			}
			wanted = append(wanted, v.Attachment(e)...)
		}
	}
	optional = w.render(maybe)
	for _, line := range optional {
		if port, _, ok := strings.Cut(line, " master="+crowdedBridge+" "); ok {
			optional = append(optional, port) // somebody took it off, and another its place
		}
	}
	return w.render(wanted), optional, nil
}

// render returns the lines of a dump that has these objects.
func (w *world) render(set link.Set) (out []string) {
	addresses := map[string][]string{}
	for _, o := range set {
		if a, ok := o.(link.Address); ok {
			addresses[a.Link] = append(addresses[a.Link], a.Prefix.String())
		}
	}
	sysctls := map[string]string{}
	for _, o := range set {
		switch o := o.(type) {
		case link.Bridge:
			for _, path := range []string{localnet(o.Name), validMark(o.Name)} {
				if sysctls[path] == "" && !o.Adopted {
					sysctls[path] = "0"
				}
			}
			if o.Adopted {
				continue // checkForeign looks at it
			}
			slices.SortFunc(addresses[o.Name], func(a, b string) int {
				return netip.MustParsePrefix(a).Compare(netip.MustParsePrefix(b))
			})
			out = append(out, strings.Join(append([]string{fmt.Sprintf("bridge %s@host mtu=%d mac=%s up=true alias=%q ipv6=%v",
				o.Name, o.MTU, o.MAC, o.Alias, o.IPv6)}, addresses[o.Name]...), " "))
		case link.Veth:
			out = append(out, w.renderVeth(o)...)
		case link.Isle:
			out = append(out, fmt.Sprintf("isle %s@host mtu=%d mac= up=true alias=%q", o.Name, o.MTU, o.Alias))
		case link.VLAN:
			out = append(out, fmt.Sprintf("vlan %s@host mtu=%d mac= up=true alias=%q", o.Name, uplinkMTU, o.Alias))
		case link.Macvlan:
			out = append(out, w.renderMacvlan(o))
		case link.Shim:
			line := fmt.Sprintf("macvlan %s@host mtu=%d mac=%s up=true alias=%q", o.Name, cmp.Or(o.MTU, uplinkMTU), o.MAC, o.Alias)
			for _, p := range whole(o.Addresses) {
				line += " " + p.String()
			}
			out = append(out, line)
		case link.HostRoute:
			out = append(out, fmt.Sprintf("route %s %s", o.Link, o.IP))
		case link.Neighbour:
			out = append(out, fmt.Sprintf("neighbour %s %s %s", o.Link, o.IP, o.MAC))
		case link.Sysctl:
			sysctls[o.Path] = o.Value
		}
	}
	for path, v := range sysctls {
		if line := "sysctl " + path + "=" + v; !asItWas(line, crowdedBridge) {
			out = append(out, line)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// renderMacvlan returns the line of a link on a parent. Where it is, dockerd
// decides.
func (w *world) renderMacvlan(m link.Macvlan) string {
	mtu := cmp.Or(m.MTU, uplinkMTU)
	l, ok := w.g.away(m)
	if !ok {
		return fmt.Sprintf("macvlan %s@host mtu=%d mac=%s up=false alias=%q", m.Name, mtu, m.MAC, m.Alias)
	}
	line := fmt.Sprintf("macvlan %s@%s mtu=%d mac=%s up=true alias=%q", l.name, l.ns, mtu, m.MAC, l.alias)
	for _, a := range slices.SortedFunc(slices.Values(m.Inside.Addresses), netip.Prefix.Compare) {
		line += " " + a.String()
	}
	return line
}

// A networkView is what a mode makes of a network's record.
type networkView interface {
	Links() link.Set
	Attachment(store.Endpoint) link.Set
	Firewall() nat.Network
	EndpointFirewall(store.Endpoint) nat.Endpoint
}

func viewOf(n store.Network) (networkView, error) {
	switch n.Mode {
	case "macvlan":
		return macvlan.New(instance, n)
	case "transparent":
		return transparent.New(instance, n)
	}
	return bridge.New(instance, n)
}

// renderVeth returns the lines of a pair. Where its inner end is, dockerd
// decides.
func (w *world) renderVeth(v link.Veth) []string {
	outer := fmt.Sprintf("veth %s@host mtu=%d mac= up=true alias=%q master=%s isolated=%v learning=%v hairpin=%v fdb=%s",
		v.Name, mtuOf(v), v.Alias, v.Master, v.Isolated, v.Learning, v.Hairpin, fdbOf(v))
	inner := fmt.Sprintf("veth %s@host mtu=%d mac=%s up=false alias=%q", v.Peer, mtuOf(v), v.PeerMAC, v.Alias)
	if end, ok := w.g.inner(v.Name); ok && end.ns != "" {
		inner = fmt.Sprintf("veth %s@%s mtu=%d mac=%s up=true alias=%q", end.name, end.ns, mtuOf(v), v.PeerMAC, end.alias)
		for _, a := range slices.SortedFunc(slices.Values(v.Inside.Addresses), netip.Prefix.Compare) {
			inner += " " + a.String()
		}
	}
	return []string{outer, inner}
}

// checkFirewall: the firewall is what the records make of it (I5).
func (w *world) checkFirewall(s store.Records) error {
	var want nat.State
	for _, n := range s.Networks {
		v, err := viewOf(n)
		if err != nil {
			return err
		}
		if v.Firewall().ID == "" {
			continue // the firewall has no part in it
		}
		want.Networks = append(want.Networks, v.Firewall())
		if n.Mode == "transparent" {
			continue // its endpoints' packets don't pass the host
		}
		for _, e := range s.Endpoints {
			if e.Network == n.ID {
				want.Endpoints = append(want.Endpoints, v.EndpointFirewall(e))
			}
		}
	}
	return w.g.checkFirewall(want)
}

// checkAddresses: no address of a network is held twice, nor is a name (I7).
func (w *world) checkAddresses(s store.Records) error {
	owner := map[string]string{}
	for id, e := range s.Endpoints {
		n, ok := s.Networks[e.Network]
		if !ok {
			return fmt.Errorf("I1: endpoint %s is on record without its network %s", id, e.Network)
		}
		for _, key := range []string{
			"link " + e.HostLink, "link " + e.Inside, fmt.Sprint(n.ID, " ", e.IPv4), fmt.Sprint(n.ID, " ", e.IPv6),
		} {
			if other, taken := owner[key]; taken && key != "link " && !strings.HasSuffix(key, "invalid Prefix") {
				return fmt.Errorf("I7: %s is held by endpoints %s and %s", key, other, id)
			}
			owner[key] = id
		}
	}
	for id, n := range s.Networks {
		key := "link " + n.Link
		if other, taken := owner[key]; taken && !n.Adopted {
			return fmt.Errorf("I7: %s is held by %s and %s", key, other, id)
		}
		owner[key] = id
	}
	return nil
}

// checkForeign: nothing of others has changed (I8).
func (w *world) checkForeign(s store.Records) error {
	want := slices.Clone(w.foreign)
	for _, id := range slices.Sorted(maps.Keys(s.Networks)) {
		v, err := bridge.New(instance, s.Networks[id])
		if err != nil || !v.Adopted {
			continue
		}
		for _, o := range v.Links() {
			a, ok := o.(link.Address)
			for i, line := range want {
				if ok && strings.HasPrefix(line, "bridge "+a.Link+"@") && !strings.Contains(line, " "+a.Prefix.String()) {
					want[i] = addAddress(line, a.Prefix)
				}
			}
		}
	}
	if _, have := w.g.lines(); !slices.Equal(have, want) && !w.g.litter() {
		return fmt.Errorf("I8: of others there is\n\t%s\nwant\n\t%s", strings.Join(have, "\n\t"), strings.Join(want, "\n\t"))
	}
	return nil
}

// addAddress puts an address in its place at the end of a bridge's line.
func addAddress(line string, p netip.Prefix) string {
	word := strings.Fields(line)
	i := slices.IndexFunc(word, func(s string) bool { return strings.HasPrefix(s, "ipv6=") }) + 1
	all := append(slices.Clone(word[i:]), p.String())
	slices.SortFunc(all, func(a, b string) int { return netip.MustParsePrefix(a).Compare(netip.MustParsePrefix(b)) })
	return strings.Join(append(word[:i:i], all...), " ")
}

// checkPorts: each published port has one owner, who holds it (I9).
func (w *world) checkPorts(s store.Records) error {
	want := map[portKey]string{}
	for id, e := range s.Endpoints {
		for _, p := range e.Published {
			if !p.HostIP.IsValid() {
				continue
			}
			k := portKey{p.Proto, p.HostIP, p.HostPort}
			for other := range want {
				if other.overlaps(k) {
					return fmt.Errorf("I9: port %s of %s is published twice", k, id)
				}
			}
			want[k] = id
		}
		if err := checkAsked(e, s.LivePorts[e.Network+" "+e.ContainerID]); err != nil {
			return err
		}
	}
	return w.g.checkPorts(want)
}

// asItWas reports whether a line is of a setting of a bridge of others' that
// nobody changed. The crowded one had leave to route 127.0.0.0/8 already, and
// must keep it whatever comes and goes there.
func asItWas(line, bridge string) bool {
	return line == "sysctl "+validMark(bridge)+"=0" ||
		line == "sysctl "+localnet(bridge)+"="+map[string]string{foreignBridge: "0", crowdedBridge: "1"}[bridge]
}

// localnet is the path of a link's leave to route 127.0.0.0/8.
func localnet(name string) string { return "net/ipv4/conf/" + name + "/route_localnet" }

// validMark is the path of a link's leave to look up the way back of what came
// by it with its mark.
func validMark(name string) string { return "net/ipv4/conf/" + name + "/src_valid_mark" }
