//go:build kernel

package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a newer owner has made of an object is left alone.
func TestRemoveLeavesWhatIsAnothers(t *testing.T) {
	c := newConn(t)
	old := endpoint(c, 1)
	must(t, c.Apply(t.Context(), append(network(c), old...)))
	// The same addresses for another container, before the first one's are gone.
	newer := endpoint(c, 1)
	v := testVeth(c, 2)
	newer[0] = v
	for i, o := range newer[1:] {
		n := o.(Neighbour)
		n.MAC = v.PeerMAC
		newer[i+1] = n
	}
	must(t, c.Apply(t.Context(), newer))
	run(t, "sysctl", "-qw", "net.ipv4.conf.fwb1.route_localnet=0")
	must(t, c.Remove(t.Context(), append(old, network(c)[3])))
	must(t, c.Quiesce(t.Context()))
	clean(t, c, append(network(c)[:3], newer...))

	// Another endpoint's pair of a name that was this one's.
	other := v
	other.Alias = Mark(c.instance, "e9", "")
	must(t, c.Remove(t.Context(), Set{other}))
	must(t, c.Quiesce(t.Context()))
	clean(t, c, append(network(c)[:3], newer...))

	// Somebody else's link of a name that was ours.
	run(t, "ip", "link", "add", "fwv1", "type", "bridge")
	must(t, c.Remove(t.Context(), old))
	must(t, c.Quiesce(t.Context()))
	if !slices.Contains(names(t, c), "fwv1") {
		t.Error("a stranger's link was removed")
	}
}

// A bridge that somebody else made in the place of ours, while fairway was not
// looking, is left alone with all that is on it.
func TestBridgeTaken(t *testing.T) {
	c := newConn(t)
	run(t, "ip", "link", "add", "fwb1", "up", "type", "bridge")
	run(t, "ip", "address", "add", "172.30.0.1/24", "dev", "fwb1")
	run(t, "sysctl", "-qw", "net.ipv4.conf.fwb1.route_localnet=1")
	look := func() string {
		info, err := c.Link(t.Context(), "", "fwb1")
		must(t, err)
		return fmt.Sprint(info.Kind, info.MTU, info.MAC, info.Alias, info.Up) + run(t, "ip", "-o", "-4", "address", "show", "fwb1")
	}
	before := look()
	want := append(network(c), endpoint(c, 1)...)
	repairs, err := c.Reconcile(t.Context(), want)
	if !errors.Is(err, unix.EEXIST) || len(repairs) > 0 {
		t.Errorf("reconciled %v, error %v; want nothing and EEXIST", repairs, err)
	}
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	if after := look(); after != before {
		t.Errorf("it is now\n%s\nwas\n%s", after, before)
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf.fwb1.route_localnet"); got != "1\n" {
		t.Errorf("route_localnet is %s", got)
	}
	err = c.Apply(t.Context(), endpoint(c, 1))
	const refused = "link: add veth fwv1 to fwb1: somebody else's link is in the place of bridge fwb1: " +
		"remove or rename it, and fairway makes the bridge again: file exists"
	if !errors.Is(err, unix.EEXIST) || err.Error() != refused {
		t.Errorf("an endpoint there:\n got %v\nwant %s", err, refused)
	}
	if got := names(t, c); !slices.Equal(got, []string{"fwb1"}) {
		t.Errorf("links %v, want only the bridge", got)
	}
	run(t, "ip", "link", "set", "fwb1", "down") // before Linux 6.2 no link that is up is renamed
	run(t, "ip", "link", "set", "fwb1", "up", "name", "br0")
	_, err = c.Reconcile(t.Context(), network(c))
	must(t, err)
	must(t, c.Apply(t.Context(), endpoint(c, 1)))
	clean(t, c, want)

	// The same when it was ours a moment ago.
	run(t, "ip", "link", "del", "fwb1")
	run(t, "ip", "link", "add", "fwb1", "type", "bridge")
	if err = c.Apply(t.Context(), endpoint(c, 2)); err == nil || strings.ReplaceAll(err.Error(), "fwv2", "fwv1") != refused {
		t.Errorf("an endpoint there:\n got %v\nwant %s", err, refused)
	}
}

// A link that is about to be removed is as good as gone, and can be made again
// at once.
func TestRemoveThenApply(t *testing.T) {
	c := newConn(t)
	want := append(network(c), endpoint(c, 1)...)
	must(t, c.Apply(t.Context(), want))
	for range 5 {
		before, err := c.Link(t.Context(), "", "fwv1")
		must(t, err)
		must(t, c.Remove(t.Context(), want))
		if _, err := c.Link(t.Context(), "", "fwb1"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("a bridge that is being removed: %v, want ENODEV", err)
		}
		must(t, c.Apply(t.Context(), want))
		after, err := c.Link(t.Context(), "", "fwv1")
		must(t, err)
		if after.Index == before.Index {
			t.Error("the pair is still the one that was removed")
		}
		clean(t, c, want)
	}
	must(t, c.Quiesce(t.Context()))
	clean(t, c, want)
}

// Many callers at once, on threads of other namespaces, some detaching while
// others attach.
func TestConcurrent(t *testing.T) {
	c := newConn(t)
	want := network(c)
	must(t, c.Apply(t.Context(), want))
	var wg sync.WaitGroup
	for i := range 100 {
		keep := i%2 == 0
		if keep {
			want = append(want, endpoint(c, i)...)
		}
		wg.Go(func() {
			if err := c.Apply(t.Context(), endpoint(c, i)); err != nil {
				t.Error(err)
			}
			if !keep {
				if err := c.Remove(t.Context(), endpoint(c, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, c.Quiesce(t.Context()))
	clean(t, c, want)
	start := time.Now()
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	t.Logf("51 links removed in %s", time.Since(start))
	if left := names(t, c); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// The private group for removals must be nobody else's.
func TestGraveIsNobodyElses(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), slices.Concat(network(c), endpoint(c, 1), endpoint(c, 2))))
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	run(t, "ip", "link", "set", "br0", "group", fmt.Sprint(c.group|1))
	run(t, "ip", "link", "set", "br0", "alias", "fairway:ffff0000:other")
	must(t, c.Remove(t.Context(), slices.Concat(endpoint(c, 1), endpoint(c, 2))))
	must(t, c.Quiesce(t.Context()))
	if got := names(t, c); len(got) != 2 {
		t.Errorf("links %v, want fwb1 and br0", got)
	}
}

type crash struct{}

// TestCrash ends the process, so to speak, before every side effect in turn. A
// new one finds what was left: it makes it whole or removes it.
func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *Conn, want Set) error
	}{
		{"apply", func(c *Conn, want Set) error { return c.Apply(context.Background(), want) }},
		{"remove", func(c *Conn, want Set) error {
			return errors.Join(c.Apply(context.Background(), want), c.Remove(context.Background(), want))
		}},
	} {
		for n := 1; ; n++ {
			finished := false
			t.Run(fmt.Sprintf("%s %d", tt.name, n), func(t *testing.T) {
				newNamespace(t)
				steps := 0
				var last string
				c, err := New(Options{Instance: me, Step: func(name string) {
					if steps++; steps == n && name != "link.delete" { // which is on another goroutine
						last = name
						panic(crash{})
					}
				}})
				must(t, err)
				want := append(network(c), endpoint(c, 1)...)
				finished = survives(func() { must(t, tt.do(c, want)) })
				must(t, c.Quiesce(t.Context()))
				must(t, c.Close())
				again := connect(t, me)
				_, err = again.Reconcile(t.Context(), want)
				if err != nil {
					t.Errorf("crash before %s: %v", last, err)
				}
				clean(t, again, want)
				_, err = again.Reconcile(t.Context(), nil)
				must(t, err)
				must(t, again.Quiesce(t.Context()))
				if left := names(t, again); left != nil {
					t.Errorf("crash before %s left %v", last, left)
				}
			})
			if finished || t.Failed() {
				if n < 4 {
					t.Errorf("%s has only %d side effects", tt.name, n)
				}
				break
			}
		}
	}
}

// survives reports whether f came to its end.
func survives(f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, is := r.(crash); !is {
				panic(r)
			}
		}
	}()
	f()
	return true
}

// Objects may name the namespace that they live in.
func TestNamespace(t *testing.T) {
	c := newConn(t)
	path, _ := newSandbox(t)
	want := append(network(c), endpoint(c, 1)...)
	for i, o := range want {
		switch o := o.(type) {
		case Bridge:
			o.Namespace = path
			want[i] = o
		case Veth:
			o.Namespace = path
			want[i] = o
		case Address:
			o.Namespace = path
			want[i] = o
		case Neighbour:
			o.Namespace = path
			want[i] = o
		case Sysctl:
			o.Namespace = path
			want[i] = o
		}
	}
	must(t, c.Apply(t.Context(), want))
	if here := names(t, c); here != nil {
		t.Errorf("links in the wrong namespace: %v", here)
	}
	info, err := c.Link(t.Context(), path, "fwb1")
	must(t, err)
	if !info.Up || info.Kind != "bridge" || info.MTU != 1400 || len(info.Addresses) < 2 {
		t.Errorf("%+v: want the bridge, up, with its addresses", info)
	}
	inside(t, path, func() {
		if got := run(t, "sysctl", "-n", "net.ipv4.conf.fwb1.route_localnet"); strings.TrimSpace(got) != "1" {
			t.Errorf("route_localnet is %s there", got)
		}
		run(t, "ip", "link", "del", "fwv1")
	})
	repairs, err := c.Reconcile(t.Context(), want)
	must(t, err)
	if len(repairs) != 1 {
		t.Errorf("repairs %v, want the pair", repairs)
	}
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	inside(t, path, func() {
		if out := run(t, "ip", "-o", "link"); strings.Count(out, "\n") != 1 {
			t.Errorf("left behind:\n%s", out)
		}
	})
	must(t, c.Remove(t.Context(), Set{Neighbour{Namespace: "/nonexistent", Link: "x"}, Veth{Namespace: "/nonexistent", Name: "x"}}))
}
