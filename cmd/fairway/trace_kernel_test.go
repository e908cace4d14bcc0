//go:build kernel

package main

import (
	"encoding/json"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/trace"
)

// A traceCase is a way that is worked out, and then gone by a real connection.
type traceCase struct {
	name     string
	from, to string
	harm     string // a script before it
	undo     string // and after it
	verdict  string
	reason   string // a part of it
	flags    string
	nodial   bool // no connection can show it: what it leads to isn't there
}

func traceCases() []traceCase {
	return []traceCase{
		{name: "same network", from: "box", to: "box2:80", verdict: trace.OK},
		{name: "IPv6", from: "host", to: "[fd00:99::2]:80", verdict: trace.OK},
		{name: "nobody listens", from: "box", to: "box2:81", verdict: trace.Refused, reason: "nothing in the container listens on tcp port 81"},
		{name: "published, from outside", from: "outside", to: "192.0.2.1:8080", verdict: trace.OK},
		{name: "published, from the host", from: "host", to: "192.0.2.1:8080", verdict: trace.OK},
		{name: "published, from 127.0.0.1", from: "host", to: "127.0.0.1:8080", verdict: trace.OK},
		{name: "published, hairpin", from: "box", to: "192.0.2.1:8080", verdict: trace.OK},
		{name: "published, from another network", from: "far", to: "192.0.2.1:8080", verdict: trace.OK},
		{name: "host to container", from: "host", to: "box:80", verdict: trace.OK},
		{name: "to the outside", from: "box", to: "198.51.100.1:80", verdict: trace.OK},
		{name: "container to the host", from: "box", to: "10.99.0.1:22", verdict: trace.Refused, reason: "nothing on the host listens"},
		{name: "another network", from: "far", to: "box:80", verdict: trace.Dropped, reason: ""},
		{name: "not published, from outside", from: "outside", to: "box:80", verdict: trace.Dropped, reason: "publish"},
		{name: "out of an internal network", from: "shut", to: "198.51.100.1:80", verdict: trace.Dropped, reason: "network inner is internal"},
		{name: "into an internal network", from: "box", to: "10.94.0.2:80", verdict: trace.Dropped},
		{name: "internal with a route", from: "shut", to: "198.51.100.1:80", harm: "ip -n shut route add default via 10.94.0.1", undo: "ip -n shut route del default", verdict: trace.Dropped, reason: "internal"},
		{name: "icc off", from: "quiet1", to: "quiet2:80", verdict: trace.Dropped, reason: "enable_icc=false"},
		{name: "publish=10.0.0.0/8", from: "outside", to: "192.0.2.1:8090", verdict: trace.Dropped, reason: "publish="},
		{name: "publish=10.0.0.0/8 for the host", from: "host", to: "192.0.2.1:8090", verdict: trace.OK},
		{name: "publish=loopback", from: "outside", to: "192.0.2.1:8091", verdict: trace.Dropped, reason: "publish="},
		{name: "gateway=none", from: "nogw", to: "198.51.100.1:80", verdict: trace.Dropped, reason: "no default gateway"},
		{name: "loopback from a container", from: "box", to: "127.0.0.1:8080", harm: "ip netns exec box sysctl -w net.ipv4.conf.all.route_localnet=1; ip -n box route del local 127.0.0.0/8 dev lo table local || true; ip -n box route add 127.0.0.1 via 10.99.0.1; ip -n box address del 127.0.0.1/8 dev lo", undo: "ip -n box address add 127.0.0.1/8 dev lo; ip -n box route del 127.0.0.1 via 10.99.0.1 || true", verdict: trace.Dropped, reason: "127.0.0.0/8 is the host's own"},
		{name: "to Docker's containers", from: "box", to: "10.93.0.2:80", harm: "ip link add docker0 type bridge; ip address add 10.93.0.1/24 dev docker0; ip link set docker0 up; sleep 0.3; fairway repair", undo: "ip link del docker0", verdict: trace.Dropped, reason: "containers of somebody else's", nodial: true},
		{name: "DROP in DOCKER-USER", from: "outside", to: "192.0.2.1:8080", harm: "iptables -I DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 8080 -j DROP", undo: "iptables -D DOCKER-USER 1", verdict: trace.Dropped, reason: "--ctorigdstport 8080"},
		{name: "REJECT in FORWARD", from: "box", to: "198.51.100.1:80", harm: "iptables -I FORWARD -o eth0 -m multiport -p tcp --dports 79:81,443 -j REJECT", undo: "iptables -D FORWARD 1", verdict: trace.Dropped, reason: "REJECT"},
		{name: "Docker's raw table", from: "outside", to: "192.0.2.1:8080", harm: "iptables -t raw -I PREROUTING -d 192.0.2.1/32 -i eth0 -p tcp -m tcp --dport 8080 -j DROP", undo: "iptables -t raw -D PREROUTING 1", verdict: trace.Dropped, reason: "ip raw PREROUTING"},
		{name: "another's nftables", from: "outside", to: "192.0.2.1:8080", harm: "nft 'add table inet mine; add chain inet mine f { type filter hook forward priority 0; policy drop; }; add rule inet mine f ip saddr 203.0.113.0/24 accept'", undo: "nft delete table inet mine", verdict: trace.Dropped, reason: "inet mine f"},
		{name: "INPUT", from: "outside", to: "192.0.2.1:22", harm: "iptables -I INPUT -i eth0 -p tcp --dport 22 -j DROP", undo: "iptables -D INPUT 1", verdict: trace.Dropped, reason: "--dport 22"},
		{name: "forwarding off", from: "outside", to: "192.0.2.1:8080", harm: "sysctl -w net.ipv4.conf.eth0.forwarding=0", undo: "sysctl -w net.ipv4.conf.eth0.forwarding=1", verdict: trace.Dropped, reason: ""},
		{name: "rp_filter", from: "198.51.100.1", to: "203.0.113.1:8080", flags: "--in eth1", harm: "sysctl -w net.ipv4.conf.eth1.rp_filter=1", undo: "sysctl -w net.ipv4.conf.eth1.rp_filter=0", verdict: trace.Dropped, reason: "rp_filter", nodial: true},
		{name: "link in the container down", from: "box", to: "box2:80", harm: "ip -n box link set eth0 down", undo: "ip -n box link set eth0 up; ip -n box route add default via 10.99.0.1", verdict: trace.Dropped},
		{name: "macvlan to its host", from: "vlan1", to: "203.0.113.1:80", verdict: trace.Dropped, reason: "doesn't reach its own host"},
		{name: "echo", from: "box", to: "box2", verdict: trace.OK, nodial: true},
	}
}

// TestTrace works out ways with both backends, and goes each: what is said to
// arrive does, what is said to be dropped doesn't.
func TestTrace(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			w := newWard(t)
			w.sh(t, "systemctl stop fairway; echo FAIRWAY_FIREWALL="+backend+" >/run/env; systemctl start fairway")
			w.furnish(t)
			for _, c := range traceCases() {
				t.Run(c.name, func(t *testing.T) { w.trace(t, c) })
			}
		})
	}
}

// furnish makes the networks of the cases, and servers on port 80.
func (w *ward) furnish(t *testing.T) {
	t.Helper()
	const label = `"com.docker.network.bridge.`
	w.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.99.0.0/24","Gateway":"10.99.0.1/24"}],`+
		`"IPv6Data":[{"AddressSpace":"x","Pool":"fd00:99::/64","Gateway":"fd00:99::1/64"}]}`)
	w.endpoint(t, "n1", "box", "10.99.0.2/24", "", [2]int{8080, 80})
	w.endpoint(t, "n1", "box2", "10.99.0.3/24", "")
	w.network(t, "other", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "other", "far", "10.98.0.2/24", "")
	w.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"inner","Options":{"com.docker.network.internal":true,"com.docker.network.generic":{}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.94.0.0/24","Gateway":"10.94.0.1/24"}]}`)
	w.endpoint(t, "inner", "shut", "10.94.0.2/24", "")
	w.network(t, "noicc", "10.92.0.0/24", "10.92.0.1/24", label+`enable_icc":"false"`)
	w.endpoint(t, "noicc", "quiet1", "10.92.0.2/24", "")
	w.endpoint(t, "noicc", "quiet2", "10.92.0.3/24", "")
	w.network(t, "some", "10.91.0.0/24", "10.91.0.1/24", `"publish":"10.0.0.0/8"`)
	w.endpoint(t, "some", "some1", "10.91.0.2/24", "", [2]int{8090, 80})
	w.network(t, "self", "10.90.0.0/24", "10.90.0.1/24", `"publish":"loopback"`)
	w.endpoint(t, "self", "self1", "10.90.0.2/24", "", [2]int{8091, 80})
	w.network(t, "island", "10.89.0.0/24", "10.89.0.1/24", `"gateway":"none"`)
	w.endpoint(t, "island", "nogw", "10.89.0.2/24", "")
	w.network(t, "lan", "203.0.113.0/24", "203.0.113.254/24", `"mode":"macvlan","parent":"eth1"`)
	w.endpoint(t, "lan", "vlan1", "203.0.113.9/24", "")
	for _, name := range []string{"box", "box2", "out", "shut", "quiet2", "some1", "self1"} {
		l := w.within(t, name, func() (any, error) { return net.Listen("tcp", ":80") }).(net.Listener)
		t.Cleanup(func() { _ = l.Close() })
	}
}

// within runs f in a namespace of the host's; "host" for the host's own.
func (w *ward) within(t *testing.T, name string, f func() (any, error)) any {
	t.Helper()
	v, err := w.tryWithin(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *ward) tryWithin(name string, f func() (any, error)) (any, error) {
	type result struct {
		v   any
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		path := "/proc/" + strconv.Itoa(w.init) + "/ns/net"
		if name != "host" {
			path = "/proc/" + strconv.Itoa(w.init) + "/root/run/netns/" + name
		}
		ns, err := netns.GetFromPath(path)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		v, err := f()
		done <- result{v, err}
	}()
	r := <-done
	return r.v, r.err
}

func (w *ward) trace(t *testing.T, c traceCase) {
	if c.harm != "" {
		w.sh(t, c.harm)
		defer w.sh(t, c.undo)
	}
	out, err := w.try(t, "fairway trace --json "+c.flags+" "+c.from+" "+c.to)
	var got traced
	if e := json.Unmarshal([]byte(out), &got); e != nil {
		t.Fatalf("trace: %v, %v\n%s", err, e, out)
	}
	holdJSON(t, "trace", []byte(out))
	if got.Verdict != c.verdict || !strings.Contains(got.Reason, c.reason) {
		t.Errorf("%s to %s: %s %q, want %s %q\n%s", c.from, c.to, got.Verdict, got.Reason, c.verdict, c.reason, out)
	}
	if (err != nil) != (c.verdict != trace.OK) {
		t.Errorf("exit %v", err)
	}
	if c.nodial {
		return
	}
	if real := w.dial(t, c); real != c.verdict {
		t.Errorf("%s to %s: a connection says %s, the trace %s", c.from, c.to, real, c.verdict)
	}
}

// patient is generous for what is to arrive, and what has to be waited for
// where nothing does.
const patient = 250 * time.Millisecond

// dial makes the connection of a case, from outside by the neighbour's 198.51.100.1.
func (w *ward) dial(t *testing.T, c traceCase) string {
	t.Helper()
	from, to := c.from, c.to
	if from == "outside" {
		from = "out"
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		t.Fatal(err)
	}
	if ip, ok := map[string]string{"box": "10.99.0.2", "box2": "10.99.0.3", "quiet2": "10.92.0.3"}[host]; ok {
		host = ip
	}
	d := net.Dialer{Timeout: patient}
	if from == "out" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP("198.51.100.1")}
	}
	_, err = w.tryWithin(from, func() (any, error) {
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = conn.Close()
		}
		return nil, err
	})
	switch {
	case err == nil:
		return trace.OK
	case errors.Is(err, syscall.ECONNREFUSED) && c.verdict == trace.Refused:
		return trace.Refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ECONNREFUSED): // a REJECT
		return trace.Dropped
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return trace.Dropped
	}
	return err.Error()
}
