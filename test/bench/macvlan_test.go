//go:build bench

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"fairway/test/e2e/lab"
)

// createMacvlan makes a parent with carrier in the daemon's namespace, and a
// network on it.
func (d *daemon) createMacvlan(b *testing.B) string {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	if err := d.links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan1"}); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"lan0", "lan1"} {
		l, err := d.links.LinkByName(name)
		if err == nil {
			err = d.links.LinkSetUp(l)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return d.onParent(b, "off")
}

// onParent makes a network on that parent, with or without a look for who else
// has an address.
func (d *daemon) onParent(b *testing.B, dad string) string {
	id := newID()
	d.call(b, "/NetworkDriver.CreateNetwork", encode(object{
		"NetworkID": id,
		"Options":   object{"com.docker.network.generic": object{"mode": "macvlan", "parent": "lan0", "dad": dad}, "com.docker.network.enable_ipv6": false},
		"IPv4Data":  []object{{"AddressSpace": "LocalDefault", "Pool": subnet().String(), "Gateway": "10.77.0.1/16"}},
		"IPv6Data":  []object{},
	}))
	return id
}

// BenchmarkMacvlanSocket measures attach and detach of macvlan endpoints at the
// plugin socket, with 0 and 100 endpoints present.
func BenchmarkMacvlanSocket(b *testing.B) {
	fl := newFloor(b)
	var subjects []*subject
	for _, present := range []int{0, 100} {
		s := &subject{daemon: startDaemon(b, fmt.Sprint("macvlan-", present)), present: present}
		s.network = s.createMacvlan(b)
		s.fill(b)
		subjects = append(subjects, s)
	}
	var bare floors
	for round := range *rounds {
		for i := range subjects {
			subjects[(i+round)%len(subjects)].turn(b)
			bare.take(b, fl, subjects[0].daemon)
		}
	}
	var rows [][]string
	for _, s := range subjects {
		for _, m := range []struct {
			what string
			took sample
		}{
			{"attach", s.attach}, {"- CreateEndpoint", s.create}, {"- Join", s.join},
			{"detach", s.detach}, {"- Leave", s.leave}, {"- DeleteEndpoint", s.remove}, {"links gone", s.clean},
		} {
			rows = append(rows, []string{m.what, fmt.Sprint(s.present), ms(m.took.at(.1)), ms(m.took.p50()), ms(m.took.p95()), times(m.took.p50(), bare.commit.p50())})
		}
	}
	asked := subjects[0].detection(b)
	rows = append(rows, []string{"CreateEndpoint, dad=on, an address new to the host", "0", ms(asked.at(.1)), ms(asked.p50()), ms(asked.p95()), times(asked.p50(), bare.commit.p50())})
	rows = append(rows, []string{"bare bbolt commit", "0", ms(bare.commit.at(.1)), ms(bare.commit.p50()), ms(bare.commit.p95()), "1.0"})
	table([]string{"macvlan at the socket", "present", "p10 ms", "p50 ms", "p95 ms", "p50 to bbolt commit"}, rows)
	none := subjects[0]
	table([]string{"aim", "measured", ""}, [][]string{
		{"attach p50 at most 0.8 ms", ms(none.attach.p50()) + " ms", verdict(none.attach.p50() <= 800*time.Microsecond)},
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(none.attach.p50().Microseconds()), "attach-µs")
	b.ReportMetric(float64(none.detach.p50().Microseconds()), "detach-µs")
}

// detection measures what it costs to ask the LAN first. Nobody answers there.
func (s *subject) detection(b *testing.B) (took sample) {
	network := s.onParent(b, "on")
	for i := range 10 {
		e := newEndpoint(network, 5000+i)
		start := time.Now()
		s.call(b, "/NetworkDriver.CreateEndpoint", e.create)
		took = append(took, time.Since(start))
	}
	return took
}

// BenchmarkMacvlanEngine measures network connect and disconnect of a running
// container, on Docker's built-in macvlan and on fairway's mode, in turns on the
// same engine and parent.
func BenchmarkMacvlanEngine(b *testing.B) {
	tools, err := lab.Prepare(world.ctx, "sid")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, tools.Close()) })
	lan, err := lab.NewLAN(tools)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, lan.Close()) })
	h, err := lan.NewHost(lab.Config{Name: "bench", Engine: tools.Engine("sid"), Fairway: []string{"--log-level", "info"}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { closed(b, h.Close()) }()
	h.StartFairway(b)
	h.StartEngine(b)
	h.Docker(b, "network", "create", "a-first") // its default gateway stays there
	h.Docker(b, "run", "-d", "--name", "target", "--network", "a-first", lab.Image, "/bin/busybox", "sleep", "100000")
	drivers := []*driver{{name: "macvlan"}, {name: "fairway"}}
	for i, d := range drivers {
		args := []string{"network", "create", "-d", d.name, "-o", "parent=eth0", "--subnet", fmt.Sprintf("10.98.%d.0/24", i)}
		if d.name == "fairway" {
			args = append(args, "-o", "mode=macvlan", "-o", "dad=off")
		}
		h.Docker(b, append(args, "net-"+d.name)...)
	}
	var client sample
	measure := func(s *sample, args ...string) {
		time.Sleep(settle)
		start := time.Now()
		h.Docker(b, args...)
		*s = append(*s, time.Since(start))
	}
	for round := range *rounds&^1 + 1 {
		if round == 1 { // what is made once is made now
			client = nil
			for _, d := range drivers {
				*d = driver{name: d.name}
			}
		}
		measure(&client, "version", "--format", "{{.Server.Version}}")
		for _, d := range drivers {
			measure(&d.connect, "network", "connect", "net-"+d.name, "target")
			measure(&d.disconnect, "network", "disconnect", "net-"+d.name, "target")
		}
		slices.Reverse(drivers)
	}
	theirs, ours := drivers[0], drivers[1]
	if theirs.name != "macvlan" {
		theirs, ours = ours, theirs
	}
	connect, disconnect := ratio(ours.connect.p50(), theirs.connect.p50()), ratio(ours.disconnect.p50(), theirs.disconnect.p50())
	fmt.Printf("\nengine %s, medians of %d; the client's own time (`docker version`) %s ms\n", tools.Engine("sid").Version, len(ours.connect), ms(client.p50()))
	table([]string{"docker", "built-in macvlan ms", "fairway macvlan ms", "ratio", "aim"}, [][]string{
		{"`network connect`", ms(theirs.connect.p50()), ms(ours.connect.p50()), fmt.Sprintf("%.2f", connect), "at most 1.1: " + verdict(connect <= 1.1)},
		{"`network disconnect`", ms(theirs.disconnect.p50()), ms(ours.disconnect.p50()), fmt.Sprintf("%.2f", disconnect), ""},
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(connect, "connect-ratio")
	b.ReportMetric(disconnect, "disconnect-ratio")
}
