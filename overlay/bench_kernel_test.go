//go:build kernel

package overlay

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/link"
)

// many returns the records of so many endpoints on 100 hosts.
func many(n int) []Record {
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{
			ID: fmt.Sprintf("endpoint%d", i), MAC: link.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)},
			IPs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 41, byte(i >> 8), byte(i)})},
			Host: netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i%100)}), Revision: int64(1000 + i),
		}
	}
	return out
}

// alone makes a host with a large segment and records of endpoints elsewhere.
func alone(t testing.TB, n int) *host {
	t.Helper()
	l := newUnderlay(t, 1, false)
	h := l.hosts[0]
	h.join(0, nil, false)
	seg := h.network.Segment()
	seg.Subnets = append(seg.Subnets, netip.MustParsePrefix("10.41.0.0/16"))
	h.do(func() {
		must(t, h.plane.Open(t.Context(), seg))
		must(t, h.plane.Set(t.Context(), testVNI, many(n), 1_000_000))
	})
	return h
}

// BenchmarkCompare is one pass over all entries: so many MAC addresses, each in
// two forwarding databases, and so many neighbours. It finds nothing to repair.
func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{1000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			h := alone(b, n)
			b.ReportMetric(0, "ns/op")
			h.do(func() {
				start := used()
				defer func() { b.ReportMetric((used()-start).Seconds()*1000/float64(b.N), "cpu-ms/pass") }()
				for b.Loop() {
					d, err := h.plane.Compare(b.Context(), testVNI)
					if err != nil || d.Total() != 0 || d.Entries != 2*n {
						b.Fatalf("%+v, %v", d, err)
					}
				}
			})
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/pass")
			b.ReportMetric(float64(2*n), "entries")
		})
	}
}

// BenchmarkLook is the look at the host's own links, addresses and neighbours that
// the daemon takes every 30 s, beside so many endpoints on other hosts.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{0, 10_000, 50_000} {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			h := alone(b, n)
			want := h.network.Links()
			h.do(func() {
				start := used()
				defer func() { b.ReportMetric((used()-start).Seconds()*1000/float64(b.N), "cpu-ms/look") }()
				for b.Loop() {
					if repairs, err := h.conn.Reconcile(b.Context(), want); err != nil || len(repairs) > 0 {
						b.Fatal(repairs, err)
					}
				}
			})
		})
	}
}

// used is the time of processors that the process has had, in the kernel, too.
func used() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFill writes all entries to links that were made anew.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			h := alone(b, 0)
			records := many(n)
			h.do(func() {
				spent := time.Duration(0)
				defer func() { b.ReportMetric(spent.Seconds()*1000/float64(b.N), "cpu-ms/fill") }()
				for i := 0; b.Loop(); i++ {
					start := used()
					must(b, h.plane.Set(b.Context(), testVNI, records, int64(1_000_000+i)))
					b.StopTimer()
					spent += used() - start
					must(b, h.plane.Set(b.Context(), testVNI, nil, int64(1_000_000+i)))
					records = slices.Clone(records)
					for k := range records {
						records[k].Revision += 1_000_000
					}
					b.StartTimer()
				}
			})
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/fill")
		})
	}
}

// BenchmarkPut is an endpoint that comes and goes, with others present.
func BenchmarkPut(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("present=%d", n), func(b *testing.B) {
			h := alone(b, n)
			r := Record{ID: "one", MAC: link.MAC{2, 1}, IPs: []netip.Addr{netip.MustParseAddr("10.40.3.3")}, Host: netip.MustParseAddr("192.0.2.100"), Revision: 2_000_000}
			if n == 0 { // the host is known
				h.do(func() { must(b, h.plane.Set(b.Context(), testVNI, many(1), 1_000_001)) })
			}
			h.do(func() {
				for b.Loop() {
					r.Revision++
					must(b, h.plane.Put(b.Context(), testVNI, r))
					must(b, h.plane.Remove(b.Context(), testVNI, r.ID, r.Revision))
				}
			})
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/2, "us/change")
		})
	}
}

// BenchmarkPath compares the way between containers of two hosts with one that was
// made by hand of a VXLAN link, a bridge and pairs of links, and with the underlay
// itself: bytes of TCP, and round trips of one byte, in turns. The best of each
// counts: other work on the machine only makes it worse.
func BenchmarkPath(b *testing.B) {
	l := newLab(b, 2, false, nil, false)
	x, y := l.hosts[0].attach(1), l.hosts[1].attach(2)
	hx, hy := byHand(b, l, 0), byHand(b, l, 1)
	type way struct {
		name     string
		from, to netns.NsHandle
		ip       netip.Addr
		gbit, us []float64
	}
	ways := []*way{
		{name: "fairway", from: x.ns, to: y.ns, ip: y.e.IPv4.Addr()},
		{name: "by-hand", from: hx, to: hy, ip: netip.MustParseAddr("10.99.0.2")},
		{name: "underlay", from: l.hosts[0].ns, to: l.hosts[1].ns, ip: l.hosts[1].addr},
	}
	ports := map[string]uint16{}
	for _, w := range ways {
		within(b, w.to, func() { ports[w.name] = sink(b) })
	}
	for b.Loop() {
		for range 9 {
			for _, w := range ways {
				within(b, w.from, func() {
					w.gbit = append(w.gbit, throughput(b, netip.AddrPortFrom(w.ip, ports[w.name])))
					w.us = append(w.us, roundTrip(b, netip.AddrPortFrom(w.ip, ports[w.name])))
				})
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, w := range ways {
		b.ReportMetric(slices.Max(w.gbit), "Gbit/s-"+w.name)
		b.ReportMetric(slices.Min(w.us), "us-"+w.name)
	}
	b.ReportMetric(slices.Max(ways[0].gbit)/slices.Max(ways[1].gbit), "throughput-to-by-hand")
	b.ReportMetric(slices.Min(ways[1].us)/slices.Min(ways[0].us), "round-trip-to-by-hand")
}

// byHand makes, on a host of the lab, what one would make with ip and bridge for
// one container.
func byHand(t testing.TB, l *lab, i int) netns.NsHandle {
	t.Helper()
	ns, other := namespace(t), l.hosts[1-i].addr
	mac := func(i int) string { return fmt.Sprintf("02:99:00:00:00:%02x", i+1) }
	l.hosts[i].do(func() {
		run(t, "ip", "link", "add", "hand", "up", "mtu", "1450", "type", "bridge")
		run(t, "ip", "link", "add", "handx", "mtu", "1450", "type", "vxlan", "id", "99", "dstport", "4789", "local", l.hosts[i].addr.String(), "nolearning", "udpcsum")
		run(t, "ip", "link", "set", "handx", "up", "master", "hand")
		run(t, "ip", "link", "add", "handv", "mtu", "1450", "type", "veth", "peer", "name", "eth0", "mtu", "1450", "address", mac(i), "netns", pathOf(ns))
		run(t, "ip", "link", "set", "handv", "up", "master", "hand")
		run(t, "bridge", "fdb", "add", mac(1-i), "dev", "handx", "self", "static", "dst", other.String())
		run(t, "bridge", "fdb", "add", mac(1-i), "dev", "handx", "master", "static")
	})
	within(t, ns, func() {
		run(t, "ip", "address", "add", fmt.Sprintf("10.99.0.%d/24", i+1), "dev", "eth0")
		run(t, "ip", "link", "set", "eth0", "up")
		run(t, "ip", "neigh", "add", fmt.Sprintf("10.99.0.%d", 2-i), "lladdr", mac(1-i), "dev", "eth0")
	})
	return ns
}

// sink takes TCP connections: what begins with 'r' is sent back byte by byte, the
// rest is counted, and the count sent at its end.
func sink(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", ":0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	each(l, func(c net.Conn) {
		b := make([]byte, 256<<10)
		if n, err := c.Read(b[:1]); err != nil || n == 0 {
			return
		}
		back := b[0] == 'r'
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if back {
				c.Write(b[:n])
			}
		}
	})
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// throughput sends for a while, and returns gigabits a second.
func throughput(t testing.TB, to netip.AddrPort) float64 {
	t.Helper()
	c, err := net.Dial("tcp4", to.String())
	must(t, err)
	defer c.Close()
	b, sent := make([]byte, 256<<10), 0
	start := time.Now()
	for time.Since(start) < 500*time.Millisecond {
		n, err := c.Write(b)
		must(t, err)
		sent += n
	}
	return float64(sent) * 8 / float64(time.Since(start))
}

// roundTrip returns the median round trip of a byte, in microseconds.
func roundTrip(t testing.TB, to netip.AddrPort) float64 {
	t.Helper()
	c, err := net.Dial("tcp4", to.String())
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("r"))
	must(t, err)
	var took []time.Duration
	b := make([]byte, 1)
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		one := time.Now()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(one))
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds()) / 1000
}

// BenchmarkMemory is what the records of endpoints take in the daemon.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		t := newTable(Segment{})
		var k keys
		t.set(many(n), 1, &k)
		t.difference(k)
		k = keys{}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(t)
	}
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "B/endpoint")
}
