//go:build kernel

package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReconcile disturbs the kernel behind the Conn's back and has it repaired.
func TestReconcile(t *testing.T) {
	c := newConn(t)
	want := slices.Concat(network(c), endpoint(c, 1), endpoint(c, 2))
	must(t, c.Apply(t.Context(), want))
	for _, tt := range []struct{ name, do, repaired string }{
		{"nothing", "true", ""},
		{"bridge gone", "ip link del fwb1", "bridge fwb1, address 172.30.0.1/24 on fwb1, address fd00:30::1/64 on fwb1, sysctl net/ipv4/conf/fwb1/route_localnet=1, veth fwv1 to fwb1, neighbour 172.30.0.3 on fwb1, neighbour fd00:30::3 on fwb1, veth fwv2 to fwb1, neighbour 172.30.0.4 on fwb1, neighbour fd00:30::4 on fwb1"},
		{"pair gone", "ip link del fwv1", "veth fwv1 to fwb1"},
		{"port out", "ip link set fwv1 nomaster", "veth fwv1 to fwb1"},
		{"port down", "ip link set fwv1 down", "veth fwv1 to fwb1"},
		{"port flags", "ip link set fwv1 type bridge_slave learning on isolated on hairpin on guard off", "veth fwv1 to fwb1"},
		{"port MTU", "ip link set fwv1 mtu 1280", "veth fwv1 to fwb1"},
		{"port IPv6", "sysctl -qw net.ipv6.conf.fwv1.disable_ipv6=0", "veth fwv1 to fwb1"},
		{"port alias", "ip link set fwv1 alias nonsense", "veth fwv1 to fwb1"},
		{"port group", "ip link set fwv1 group 7", "veth fwv1 to fwb1"},
		{"peer alias", "ip link set fwi1 alias nonsense", "veth fwv1 to fwb1"},
		{"peer MAC", "ip link set fwi1 address 02:00:00:00:99:99 mtu 1300", "veth fwv1 to fwb1"},
		{"FDB", "bridge fdb del 02:00:00:00:00:01 dev fwv1 master", "veth fwv1 to fwb1"},
		{"bridge down", "ip link set fwb1 down", "bridge fwb1, address fd00:30::1/64 on fwb1, neighbour 172.30.0.3 on fwb1, neighbour fd00:30::3 on fwb1, neighbour 172.30.0.4 on fwb1, neighbour fd00:30::4 on fwb1"},
		{"bridge MTU", "ip link set fwb1 mtu 1300", "bridge fwb1"},
		{"bridge MAC", "ip link set fwb1 address 02:00:00:00:99:99", "bridge fwb1, neighbour 172.30.0.3 on fwb1, neighbour fd00:30::3 on fwb1, neighbour 172.30.0.4 on fwb1, neighbour fd00:30::4 on fwb1"},
		{"bridge STP", "ip link set fwb1 type bridge stp_state 1 forward_delay 900", "bridge fwb1"},
		{"bridge alias", "ip link set fwb1 alias nonsense", "bridge fwb1"},
		{"bridge accepts RA", "sysctl -qw net.ipv6.conf.fwb1.accept_ra=1", "bridge fwb1"},
		{"address gone", "ip address del 172.30.0.1/24 dev fwb1", "address 172.30.0.1/24 on fwb1, neighbour 172.30.0.3 on fwb1, neighbour 172.30.0.4 on fwb1"},
		{"address length", "ip address del fd00:30::1/64 dev fwb1; ip address add fd00:30::1/56 dev fwb1 nodad", "address fd00:30::1/64 on fwb1"},
		{"address of somebody's", "ip address add 10.9.8.7/24 dev fwb1; ip address add fd00:9::7/64 dev fwb1 nodad; ip address add 172.30.0.250/32 dev fwb1", ""},
		{"another network's bridge", "ip link set fwb1 alias fairway:0123abcd:n2", "bridge fwb1, address 172.30.0.1/24 on fwb1, address fd00:30::1/64 on fwb1, sysctl net/ipv4/conf/fwb1/route_localnet=1, veth fwv1 to fwb1, neighbour 172.30.0.3 on fwb1, neighbour fd00:30::3 on fwb1, veth fwv2 to fwb1, neighbour 172.30.0.4 on fwb1, neighbour fd00:30::4 on fwb1"},
		{"neighbour gone", "ip neigh del 172.30.0.3 dev fwb1", "neighbour 172.30.0.3 on fwb1"},
		{"neighbour stolen", "ip neigh replace fd00:30::3 lladdr 02:00:00:00:99:99 dev fwb1", "neighbour fd00:30::3 on fwb1"},
		{"neighbour not permanent", "ip neigh replace fd00:30::3 lladdr 02:00:00:00:00:01 nud stale dev fwb1", "neighbour fd00:30::3 on fwb1"},
		{"neighbour too many", "ip neigh add 172.30.0.99 lladdr 02:00:00:00:99:99 dev fwb1", "neighbour 172.30.0.99 on fwb1"},
		{"sysctl", "sysctl -qw net.ipv4.conf.fwb1.route_localnet=0", "sysctl net/ipv4/conf/fwb1/route_localnet=1"},
		{"strangers", "ip link add fwv9 type veth peer fwi9", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The subtest's goroutine has a thread of its own.
			for do := range strings.SplitSeq(tt.do, ";") {
				runIn(t, c, strings.Fields(do)...)
			}
			repairs, err := c.Reconcile(t.Context(), want)
			must(t, err)
			var got []string
			for _, r := range repairs {
				got = append(got, r.Object)
			}
			if g := strings.Join(got, ", "); g != tt.repaired {
				t.Errorf("repaired %s\n want %s", g, tt.repaired)
			}
			clean(t, c, want)
			if again, err := c.Reconcile(t.Context(), want); err != nil || len(again) > 0 {
				t.Errorf("second time: %v, %v", again, err)
			}
		})
	}
}

// TestReconcileRemovesOrphans leaves what a crash leaves, and strangers.
func TestReconcileRemovesOrphans(t *testing.T) {
	c := newConn(t)
	other := connect(t, "ffff0000")
	keep := slices.Concat(network(c), endpoint(c, 1))
	must(t, c.Apply(t.Context(), slices.Concat(keep, endpoint(c, 2))))
	b := testBridge(other)
	b.Name = "fwb9"
	v := testVeth(other, 9)
	v.Master = "fwb9"
	must(t, other.Apply(t.Context(), Set{b, v}))
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	// A crash right after the pair was made.
	master, err := c.own.index("fwb1")
	must(t, err)
	half := testVeth(c, 3)
	_, err = c.own.fast.one(newVeth(half, master, c.group, half.Peer, -1))
	must(t, err)
	// A crash while links were being removed.
	late := testVeth(c, 4)
	must(t, c.Apply(t.Context(), Set{late}))
	_, err = c.own.fast.one(setLink(0, late.Name, linkChange{group: c.group | 1}))
	must(t, err)

	repairs, err := c.Reconcile(t.Context(), keep)
	must(t, err)
	if len(repairs) != 5 {
		t.Errorf("repairs %v, want one for each pair and neighbour", repairs)
	}
	must(t, c.Quiesce(t.Context()))
	got := names(t, c)
	slices.Sort(got)
	if want := []string{"br0", "fwb1", "fwb9", "fwi1", "fwi9", "fwv1", "fwv9"}; !slices.Equal(got, want) {
		t.Errorf("links %v, want %v", got, want)
	}
	clean(t, c, keep)
	clean(t, other, Set{b, v})
}

// TestReconcileInsideSandbox loses the pair of a running container.
func TestReconcileInsideSandbox(t *testing.T) {
	c := newConn(t)
	v := testVeth(c, 1)
	v.Inside = Inside{
		Prefix:    "eth",
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.30.0.3/24"), netip.MustParsePrefix("fd00:30::3/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("172.30.0.1"), netip.MustParseAddr("fd00:30::1")},
		Routes:    []Route{{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("172.30.0.9")}},
	}
	want := append(network(c), v)
	must(t, c.Apply(t.Context(), want))
	path := handOver(t, v, "ip link add eth1 type bridge", "ip link set eth0 up")
	v.Sandbox = path
	want[len(want)-1] = v
	clean(t, c, want)

	for _, lost := range []string{"fwv1", "half"} {
		if lost == "half" {
			runIn(t, c, "ip", "link", "set", "fwv1", "alias", "", "down")
		} else {
			runIn(t, c, "ip", "link", "del", lost)
		}
		repairs, err := c.Reconcile(t.Context(), want)
		must(t, err)
		if len(repairs) != 1 {
			t.Errorf("repairs %v, want the pair", repairs)
		}
		clean(t, c, want)
		inside(t, path, func() {
			out := run(t, "ip", "address", "show", "eth0")
			for _, s := range []string{"02:00:00:00:00:01", "mtu 1400", "172.30.0.3/24 brd 172.30.0.255", "fd00:30::3/64", "state UP"} {
				if !strings.Contains(out, s) {
					t.Errorf("lost %s: eth0 lacks %q:\n%s", lost, s, out)
				}
			}
			for _, host := range []string{"172.30.0.1:9", "[fd00:30::1]:9"} {
				if _, err := net.DialTimeout("tcp", host, 2*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("lost %s: the host doesn't answer: %v", lost, err)
				}
			}
			routes := run(t, "ip", "route") + run(t, "ip", "-6", "route")
			for _, s := range []string{"default via 172.30.0.1 dev eth0", "10.0.0.0/8 via 172.30.0.9 dev eth0", "default via fd00:30::1 dev eth0"} {
				if !strings.Contains(routes, s) {
					t.Errorf("lost %s: no route %q:\n%s", lost, s, routes)
				}
			}
		})
	}

	// The sandbox goes, and the pair with it.
	v.Sandbox = "/nonexistent"
	want[len(want)-1] = v
	runIn(t, c, "ip", "link", "del", "fwv1")
	repairs, err := c.Reconcile(t.Context(), want)
	if err != nil || len(repairs) > 0 {
		t.Errorf("sandbox gone: repairs %v, %v; want none", repairs, err)
	}
}

// TestDeadSandbox removes an endpoint whose sandbox has ended.
func TestDeadSandbox(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), append(network(c), endpoint(c, 1)...)))
	path, end := newSandbox(t)
	run(t, "ip", "link", "set", "fwi1", "netns", path)
	if !c.SandboxAlive(path) {
		t.Errorf("%s is alive", path)
	}
	end()
	for i := 0; slices.Contains(names(t, c), "fwv1"); i++ {
		if i == 600 {
			t.Fatal("the pair survived its sandbox")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if c.SandboxAlive(path) || c.SandboxAlive("/") || c.SandboxAlive("") {
		t.Error("what is no network namespace is alive")
	}
	must(t, c.Remove(t.Context(), endpoint(c, 1)))
	must(t, c.Quiesce(t.Context()))
	clean(t, c, network(c))
}

// Links come and go while the kernel is read, and a list that this disturbs is
// not acted on.
func TestReconcileWhileOthersWork(t *testing.T) {
	c := newConn(t)
	want := network(c)
	for i := range 50 {
		want = append(want, endpoint(c, i)...)
	}
	must(t, c.Apply(t.Context(), want))
	busy := connect(t, "ffff0000")
	b := testBridge(busy)
	b.Name = "fwb9"
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		var err error
		for i := 100; err == nil; i++ {
			v := testVeth(busy, i)
			v.Master = b.Name
			err = errors.Join(busy.Apply(context.Background(), Set{b, v}), busy.Remove(context.Background(), Set{v}))
			select {
			case <-stop:
				done <- err
				return
			default:
			}
		}
		<-stop
		done <- err
	}()
	for range 30 {
		repairs, err := c.Reconcile(t.Context(), want)
		must(t, err)
		if len(repairs) > 0 {
			t.Errorf("repaired %v", repairs)
		}
	}
	close(stop)
	must(t, <-done)
	clean(t, c, want)
}

// What can't be repaired keeps nothing else from being repaired.
func TestReconcileGoesOn(t *testing.T) {
	c := newConn(t)
	want := slices.Concat(network(c), endpoint(c, 1), endpoint(c, 2))
	must(t, c.Apply(t.Context(), want))
	run(t, "ip", "link", "del", "fwv1")
	run(t, "ip", "link", "add", "fwv1", "type", "bridge")
	run(t, "ip", "link", "del", "fwv2")
	run(t, "ip", "neigh", "del", "172.30.0.4", "dev", "fwb1")
	repairs, err := c.Reconcile(t.Context(), want)
	if !errors.Is(err, unix.EEXIST) || len(repairs) != 2 {
		t.Errorf("repairs %v, %v; want fwv2 and its neighbour, and EEXIST for fwv1", repairs, err)
	}
}
