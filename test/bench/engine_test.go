//go:build bench

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// settle is how long dockerd gets between two commands: what it and the kernel
// do after it answered one, on whatever driver, is not to burden the next.
const settle = 200 * time.Millisecond

// A driver is a network of one driver, and what was measured on it.
type driver struct {
	name                              string // of the driver, and of its network
	connect, disconnect, run, publish sample
}

// BenchmarkEngine measures what a user of Docker sees: network connect and
// disconnect of a running container, and docker run --rm, on Docker's built-in
// bridge and on fairway, in turns on the same engine.
func BenchmarkEngine(b *testing.B) {
	engines := []string{"20.10", "sid"}
	tools, err := lab.Prepare(world.ctx, engines...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, tools.Close()) })
	lan, err := lab.NewLAN(tools)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, lan.Close()) })
	for _, name := range engines {
		b.Run(name, func(b *testing.B) {
			h, err := lan.NewHost(lab.Config{Name: "bench", Engine: tools.Engine(name), Fairway: []string{"--log-level", "info"}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { closed(b, h.Close()) }()
			benchmarkEngine(b, h, tools.Engine(name).Version)
		})
	}
}

func closed(b *testing.B, err error) {
	if err != nil {
		b.Error(err)
	}
}

func benchmarkEngine(b *testing.B, h *lab.Host, version string) {
	h.StartFairway(b)
	h.StartEngine(b)
	// The container's first network's name sorts before the others' on purpose:
	// its default gateway stays there, with either driver.
	h.Docker(b, "network", "create", "a-first")
	h.Docker(b, "run", "-d", "--name", "target", "--network", "a-first", lab.Image, "/bin/busybox", "sleep", "100000")
	drivers := []*driver{{name: "bridge"}, {name: "fairway"}}
	for _, d := range drivers {
		h.Docker(b, "network", "create", "-d", d.name, "net-"+d.name)
	}
	var client, none sample
	measure := func(s *sample, args ...string) {
		time.Sleep(settle)
		start := time.Now()
		h.Docker(b, args...)
		*s = append(*s, time.Since(start))
	}
	turn := func() {
		measure(&client, "version", "--format", "{{.Server.Version}}")
		measure(&none, "run", "--rm", "--network", "none", lab.Image, "/bin/busybox", "true")
		for _, d := range drivers {
			measure(&d.connect, "network", "connect", "net-"+d.name, "target")
			measure(&d.disconnect, "network", "disconnect", "net-"+d.name, "target")
		}
		for _, d := range drivers {
			measure(&d.run, "run", "--rm", "--network", "net-"+d.name, lab.Image, "/bin/busybox", "true")
		}
		for _, d := range drivers {
			measure(&d.publish, "run", "--rm", "--network", "net-"+d.name, "-p", "8080:80", lab.Image, "/bin/busybox", "true")
		}
		slices.Reverse(drivers)
	}
	turn() // what is made once is made now
	client, none = nil, nil
	for _, d := range drivers {
		*d = driver{name: d.name}
	}
	for range *rounds &^ 1 { // an even number: each driver comes first as often
		turn()
	}
	if drivers[0].name != "bridge" {
		slices.Reverse(drivers)
	}
	reportEngine(b, version, drivers[0], drivers[1], client, none)
}

func reportEngine(b *testing.B, version string, bridge, fairway *driver, client, none sample) {
	var rows [][]string
	row := func(what, aim string, met func(float64) bool, built, ours sample, floor time.Duration) {
		r := ratio(ours.p50(), built.p50())
		net := "-"
		if min(built.p50(), ours.p50()) > floor {
			net = fmt.Sprintf("%.2f", ratio(ours.p50()-floor, built.p50()-floor))
		}
		if met != nil {
			aim += ": " + verdict(met(r))
		}
		rows = append(rows, []string{what, ms(built.p50()), ms(ours.p50()), fmt.Sprintf("%.2f", r), net, aim})
	}
	faster := func(r float64) bool { return r < 1 }
	row("`network connect`", "at most 1.3", func(r float64) bool { return r <= 1.3 }, bridge.connect, fairway.connect, client.p50())
	row("`network disconnect`", "below 1", faster, bridge.disconnect, fairway.disconnect, client.p50())
	row("`run --rm`", "below 1", faster, bridge.run, fairway.run, none.p50())
	row("`run --rm -p 8080:80`", "", nil, bridge.publish, fairway.publish, none.p50())
	fmt.Printf("\nengine %s, medians of %d; the client's own time (`docker version`) %s ms, `run --rm --network none` %s ms\n",
		version, len(bridge.run), ms(client.p50()), ms(none.p50()))
	table([]string{"docker", "bridge ms", "fairway ms", "ratio", "ratio less the floor", "aim"}, rows)

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratio(fairway.connect.p50(), bridge.connect.p50()), "connect-ratio")
	b.ReportMetric(ratio(fairway.disconnect.p50(), bridge.disconnect.p50()), "disconnect-ratio")
	b.ReportMetric(ratio(fairway.run.p50(), bridge.run.p50()), "run-ratio")
}
