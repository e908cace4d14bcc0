//go:build kernel

package link

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// clean fails the test if want is not what the kernel holds.
func clean(t testing.TB, c *Conn, want Set) {
	t.Helper()
	have, err := c.read("", want)
	must(t, err)
	for _, s := range plan("", want, have, c.marks) {
		t.Errorf("%s: %s", s.object, s.what)
	}
}

func TestApplyMakesEverything(t *testing.T) {
	c := newConn(t)
	want := append(network(c), endpoint(c, 1)...)
	must(t, c.Apply(t.Context(), want))
	clean(t, c, want)
	must(t, c.Apply(t.Context(), want))
	clean(t, c, want)
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	if left := names(t, c); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestApplyFailsClean(t *testing.T) {
	c := newConn(t)
	err := c.Apply(t.Context(), endpoint(c, 1))
	if !errors.Is(err, unix.ENODEV) {
		t.Fatalf("Apply with a missing bridge: %v, want ENODEV", err)
	}
	must(t, c.Apply(t.Context(), network(c)))
	bad := slices.Concat(endpoint(c, 1), Set{Neighbour{Link: "gone", IP: endpoint(c, 1)[1].(Neighbour).IP, MAC: mac("02:00:00:00:00:01")}})
	err = c.Apply(t.Context(), bad)
	if !errors.Is(err, unix.ENODEV) {
		t.Fatalf("Apply with a neighbour on a missing link: %v, want ENODEV", err)
	}
	if _, err := c.Link(t.Context(), "", "fwv1"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("failed Apply left fwv1 behind: %v", err)
	}
	if left := names(t, c); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	clean(t, c, network(c))
}

func TestApplyRefusesWhatIsNotOurs(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), network(c)))
	run(t, "ip", "link", "add", "fwv1", "type", "bridge")
	err := c.Apply(t.Context(), endpoint(c, 1))
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("a stranger's link in the way: %v, want EEXIST", err)
	}
	run(t, "ip", "link", "add", "fwi2", "type", "bridge")
	err = c.Apply(t.Context(), endpoint(c, 2))
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("a stranger's link in the way of the peer: %v, want EEXIST", err)
	}
	if got := names(t, c); len(got) != 3 {
		t.Errorf("links %v, want fwb1 and the strangers", got)
	}
}

// A container's name becomes known, and may change, while the endpoint lives.
func TestApplyRenames(t *testing.T) {
	c := newConn(t)
	want := append(network(c), endpoint(c, 1)...)
	must(t, c.Apply(t.Context(), want))
	v := want[4].(Veth)
	before, err := c.Link(t.Context(), "", v.Name)
	must(t, err)
	path := ""
	for _, name := range []string{"web", "db"} {
		if name == "db" {
			path = handOver(t, v, "ip link set eth0 up")
			v.Sandbox = path
		}
		v.Alias = Mark(c.instance, "e1", name)
		want[4] = v
		must(t, c.Apply(t.Context(), want))
		clean(t, c, want)
		after, err := c.Link(t.Context(), "", v.Name)
		must(t, err)
		if after.Alias != v.Alias || after.Index != before.Index {
			t.Errorf("%s: alias %q of link %d, want it on link %d", name, after.Alias, after.Index, before.Index)
		}
	}
}

// What is left of another endpoint under the same name makes way.
func TestApplyReplacesAnotherEndpoint(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), append(network(c), testVeth(c, 1))))
	v := testVeth(c, 2)
	v.Name, v.Peer = "fwv1", "fwi1"
	must(t, c.Apply(t.Context(), Set{v}))
	clean(t, c, append(network(c), v))
	v.Name = "fwv3" // only the peer's name is in the way
	must(t, c.Apply(t.Context(), Set{v}))
	clean(t, c, append(network(c), v))
}
