//go:build bench

package bench

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// A publication is what an endpoint publishes: n ports from 20000 on, shift
// away from the container's.
type publication struct {
	what     string
	n, shift int
	aim      time.Duration // 0: none
}

func publications() []publication {
	return []publication{
		{"1 port", 1, 1, 0},
		{"100 ports", 100, 1, 0},
		{"1,000 ports", 1000, 1, 10 * time.Millisecond},
		{"10,000 ports", 10000, 1, 80 * time.Millisecond},
		{"a range of 10,000", 10000, 0, 50 * time.Millisecond},
	}
}

// program is ProgramExternalConnectivity as dockerd sends it: a range is one
// binding for each of its ports.
func program(network, id string, first, n, shift int) []byte {
	ports := make([]object, n)
	for i := range ports {
		ports[i] = object{"Proto": 6, "Port": first + i + shift, "HostPort": first + i, "HostPortEnd": first + i}
	}
	return encode(object{"NetworkID": network, "EndpointID": id, "Options": object{"com.docker.network.portmap": ports}})
}

// A publisher is a daemon with one endpoint that publishes.
type publisher struct {
	*daemon
	network string
	e       *endpoint
	id      string
}

func startPublisher(b *testing.B, name string, args ...string) *publisher {
	p := &publisher{daemon: startDaemon(b, name, args...)}
	p.network = p.createNetwork(b)
	p.e, p.id = p.endpoint(b, 0)
	return p
}

func (p *publisher) endpoint(b *testing.B, n int) (*endpoint, string) {
	e := newEndpoint(p.network, n)
	if err := p.tryAttach(e); err != nil {
		b.Fatal(err)
	}
	var refer struct{ EndpointID string }
	decode(b, e.refer, &refer)
	return e, refer.EndpointID
}

// pause is how long the host gets to forget the connections of what was
// published before: a publish to the same address waits for that.
const pause = 50 * time.Millisecond

// timed calls a method after a pause and returns how long it took.
func (p *publisher) timed(b *testing.B, method string, body []byte) time.Duration {
	time.Sleep(pause)
	start := time.Now()
	p.call(b, "/NetworkDriver."+method, body)
	return time.Since(start)
}

// BenchmarkPublish publishes and unpublishes at the plugin socket: the call
// with its reservation of sockets, durable record and rules, on both backends.
func BenchmarkPublish(b *testing.B) {
	for _, backend := range []string{"nftables", "iptables"} {
		b.Run(backend, func(b *testing.B) {
			p := startPublisher(b, "publish-"+backend, "--firewall", backend)
			var rows [][]string
			for _, c := range publications() {
				if backend == "iptables" && c.n > 1000 {
					continue // takes minutes
				}
				body := program(p.network, p.id, 20000, c.n, c.shift)
				var put, gone sample
				for range max(*rounds/4, 3) {
					put = append(put, p.timed(b, "ProgramExternalConnectivity", body))
					gone = append(gone, p.timed(b, "RevokeExternalConnectivity", p.e.refer))
				}
				aim := "-"
				if c.aim > 0 && backend == "nftables" {
					aim = fmt.Sprintf("%s ms: %s, %s", ms(c.aim), verdict(put.p50() <= c.aim), verdict(gone.p50() <= c.aim))
				}
				rows = append(rows, []string{c.what, ms(put.p50()), ms(put.max()), ms(gone.p50()), ms(gone.max()), aim})
			}
			table([]string{backend, "publish p50 ms", "max", "remove p50 ms", "max", "aim"}, rows)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOneMore publishes one port beside others.
func BenchmarkOneMore(b *testing.B) {
	p := startPublisher(b, "one-more")
	_, other := p.endpoint(b, 1)
	var rows [][]string
	var first time.Duration
	for _, present := range []int{0, 1000, 10000} {
		if present > 0 {
			p.call(b, "/NetworkDriver.ProgramExternalConnectivity", program(p.network, p.id, 20000, present, 1))
		}
		refer := encode(object{"NetworkID": p.network, "EndpointID": other})
		body := program(p.network, other, 80, 1, 1)
		var put, gone sample
		for range *rounds {
			put = append(put, p.timed(b, "ProgramExternalConnectivity", body))
			gone = append(gone, p.timed(b, "RevokeExternalConnectivity", refer))
		}
		if present == 0 {
			first = put.p50()
		}
		rows = append(rows, []string{
			strconv.Itoa(present), ms(put.p50()), times(put.p50(), first), ms(gone.p50()), strconv.Itoa(p.memory() >> 10),
		})
		if present > 0 {
			p.call(b, "/NetworkDriver.RevokeExternalConnectivity", p.e.refer)
		}
	}
	table([]string{"one more beside", "publish p50 ms", "to none", "remove p50 ms", "daemon's MiB"}, rows)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEnginePublish measures docker run and docker rm of a container with
// many ports, on Docker's built-in bridge and on fairway.
func BenchmarkEnginePublish(b *testing.B) {
	tools, err := lab.Prepare(world.ctx, "sid")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { closed(b, tools.Close()) }()
	lan, err := lab.NewLAN(tools)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { closed(b, lan.Close()) }()
	h, err := lan.NewHost(lab.Config{Name: "ports", Engine: tools.Engine("sid"), Fairway: []string{"--log-level", "info"}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { closed(b, h.Close()) }()
	h.StartFairway(b)
	h.StartEngine(b)
	h.Docker(b, "network", "create", "-d", "bridge", "net-bridge")
	h.Docker(b, "network", "create", "-d", "fairway", "net-fairway")
	var rows [][]string
	for _, n := range []int{1, 100, 1000} {
		took := map[string]time.Duration{}
		for _, d := range []string{"bridge", "fairway"} {
			start := time.Now()
			h.Docker(b, "run", "-d", "--name", "many", "--network", "net-"+d, "-p", fmt.Sprintf("20000-%d:1000-%d", 20000+n-1, 1000+n-1),
				lab.Image, "/bin/busybox", "sleep", "100000")
			took["run "+d] = time.Since(start)
			start = time.Now()
			h.Docker(b, "rm", "-f", "many")
			took["rm "+d] = time.Since(start)
		}
		for _, verb := range []string{"run", "rm"} {
			built, ours := took[verb+" bridge"], took[verb+" fairway"]
			rows = append(rows, []string{"docker " + verb, strconv.Itoa(n), ms(built), ms(ours), times(ours, built)})
		}
	}
	fmt.Println("\nengine", tools.Engine("sid").Version)
	table([]string{"", "ports", "bridge ms", "fairway ms", "ratio"}, rows)
	b.ReportMetric(0, "ns/op")
}
