//go:build kernel

package link

import (
	"testing"
)

// A container's name goes on both ends of a pair that is on the host, on the
// outer one of a pair that isn't, and on no link of somebody else's.
func TestAnnotate(t *testing.T) {
	c := newConn(t)
	waiting, moved := testVeth(c, 1), testVeth(c, 2)
	must(t, c.Apply(t.Context(), append(network(c), waiting, moved)))
	path := handOver(t, moved, "ip link set eth0 up")
	run(t, "ip", "link", "set", "fwv1", "type", "bridge_slave", "hairpin", "on") // not its business
	run(t, "ip", "link", "add", "fwv3", "type", "veth", "peer", "fwi3")
	named := func(v Veth, id string) Veth {
		v.Alias = Mark(c.instance, id, "web")
		return v
	}
	must(t, c.Annotate(t.Context(), Set{
		testBridge(c), named(waiting, "e1"), named(moved, "e2"), named(testVeth(c, 3), "e3"), named(testVeth(c, 4), "e4"),
	}))
	for name, want := range map[string]string{
		"fwv1": Mark(c.instance, "e1", "web"), "fwi1": Mark(c.instance, "e1", "web"), "fwv2": Mark(c.instance, "e2", "web"),
		"fwv3": "", "fwi3": "", "fwb1": testBridge(c).Alias,
	} {
		if info, err := c.Link(t.Context(), "", name); err != nil || info.Alias != want {
			t.Errorf("alias of %s is %q, %v; want %q", name, info.Alias, err, want)
		}
	}
	if info, err := c.Link(t.Context(), path, "eth0"); err != nil || info.Alias != moved.Alias {
		t.Errorf("alias in the sandbox is %q, %v; want %q", info.Alias, err, moved.Alias)
	}
	repairs, err := c.Reconcile(t.Context(), append(network(c), named(waiting, "e1"), named(moved, "e2")))
	if err != nil || len(repairs) != 1 || repairs[0].What != "hairpin was true" {
		t.Errorf("repairs %v, %v; want just what was changed", repairs, err)
	}
	must(t, c.Annotate(t.Context(), Set{named(waiting, "e9")})) // another endpoint's
	clean(t, c, append(network(c), named(waiting, "e1"), named(moved, "e2")))
}
