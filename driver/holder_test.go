package driver_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/nat"
	"fairway/store"
)

// realPorts makes w's driver take real ports, all on 127.0.0.1.
func realPorts(t *testing.T, w *world) {
	t.Helper()
	p := nat.NewPorts(nil, nil)
	t.Cleanup(func() { p.Close() })
	w.ports = p
}

func publishing(port uint16) driver.PublishSpec {
	return driver.PublishSpec{Ports: []store.PortBinding{{Proto: 6, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: port, Port: 80}}}
}

// recordsOf is what a daemon leaves behind.
func recordsOf(d *driver.Driver) store.Records {
	r := store.Records{Networks: map[string]store.Network{}, Endpoints: map[string]store.Endpoint{}}
	for _, n := range d.Networks() {
		r.Networks[n.ID] = n
	}
	for _, e := range d.Endpoints() {
		r.Endpoints[e.ID] = e
	}
	return r
}

// hostPort is taken by this test until the function it returns is called.
func hostPort(t *testing.T) (port uint16, free func()) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port), func() { l.Close() }
}

// TestRefusedPortNamesHolder: Docker's words first, then who has the port.
func TestRefusedPortNamesHolder(t *testing.T) {
	w := newWorld()
	realPorts(t, w)
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	w.sandboxes["/run/netns/a"] = true
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	attach(t, d, endpoint("b", "10.1.0.3/24"), "/run/netns/b")
	port, free := hostPort(t)
	err := d.Publish(t.Context(), network.ID, "a", publishing(port))
	words := fmt.Sprintf("Bind for 127.0.0.1:%d failed: port is already allocated", port)
	if err == nil || !strings.HasPrefix(err.Error(), words) {
		t.Errorf("a port that a process has: %v, want %s (by ...)", err, words)
	}
	free()
	must(t, d.Publish(t.Context(), network.ID, "a", publishing(port)))
	err = d.Publish(t.Context(), network.ID, "b", publishing(port))
	if want := words + ` (by endpoint "a" of network "n1")`; err == nil || err.Error() != want {
		t.Errorf("a port that an endpoint has: %v, want %s", err, want)
	}
}

// TestPortTakenWhileDown: it is reported once, shown, and taken back when it is
// free.
func TestPortTakenWhileDown(t *testing.T) {
	port, free := hostPort(t)
	w := newWorld()
	first := w.start(t, store.Records{})
	must(t, first.CreateNetwork(t.Context(), network))
	attach(t, first, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, first.Publish(t.Context(), network.ID, "a", publishing(port)))

	realPorts(t, w)
	d := w.start(t, recordsOf(first))
	b := d.Endpoints()[0].Published[0]
	if by, taken := d.Taken("a", b); !taken || by == "" {
		t.Fatalf("after the restart: taken %v by %q, want that somebody has it", taken, by)
	}
	for range 2 {
		_, err := d.Reconcile(t.Context())
		must(t, err)
	}
	if n := said(w, "port is already allocated: outside traffic still"); n != 1 {
		t.Errorf("the log says %d times that the port is taken, want once", n)
	}
	free()
	_, err := d.Reconcile(t.Context())
	must(t, err)
	if by, taken := d.Taken("a", b); taken {
		t.Errorf("free again, but taken by %q", by)
	}
	if said(w, "is held again") != 1 {
		t.Error("the log doesn't say that the port is held again")
	}
	if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		l.Close()
		t.Error("a process gets the port that was taken back")
	}
}

// TestCarriedPortTakenWhileDown: nothing translates a port that the host decides
// about, so that nobody reaches it until it is held again.
func TestCarriedPortTakenWhileDown(t *testing.T) {
	port, free := hostPort(t)
	w := newWorld()
	first := w.start(t, store.Records{})
	n := network
	n.Options = map[string]string{"publish": "host-firewall"}
	must(t, first.CreateNetwork(t.Context(), n))
	w.sandboxes["/run/netns/a"] = true
	attach(t, first, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, first.Publish(t.Context(), n.ID, "a", publishing(port)))

	realPorts(t, w)
	d := w.start(t, recordsOf(first))
	w.links[d.Networks()[0].Link] = true
	reached := func(want driver.From) {
		t.Helper()
		for p, r := range d.Reach(t.Context()) {
			if r.From != want || !r.Carried {
				t.Errorf("%s: %+v, want %s", p.HostIP, r, want)
			}
		}
	}
	reached(driver.FromNobody)
	if n := said(w, "port is already allocated: nobody reaches the container by it"); n != 1 {
		t.Errorf("the log says %d times that the port is taken, want once", n)
	}
	free()
	_, err := d.Reconcile(t.Context())
	must(t, err)
	reached(driver.FromHost)
}

// TestTakenPortForgotten: what is published no more is nobody's loss.
func TestTakenPortForgotten(t *testing.T) {
	port, _ := hostPort(t)
	w := newWorld()
	first := w.start(t, store.Records{})
	must(t, first.CreateNetwork(t.Context(), network))
	attach(t, first, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, first.Publish(t.Context(), network.ID, "a", publishing(port)))
	realPorts(t, w)
	d := w.start(t, recordsOf(first))
	b := d.Endpoints()[0].Published[0]
	must(t, d.Unpublish(t.Context(), network.ID, "a"))
	_, err := d.Reconcile(t.Context())
	must(t, err)
	if by, taken := d.Taken("a", b); taken {
		t.Errorf("unpublished, but taken by %q", by)
	}
}

// said counts lines of the log.
func said(w *world, what string) (n int) {
	for _, e := range w.log.AllEntries() {
		if strings.Contains(e.Message, what) {
			n++
		}
	}
	return n
}

var _ driver.HostPorts = (*nat.Ports)(nil)
