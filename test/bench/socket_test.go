//go:build bench

package bench

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"
)

// perTurn is how many endpoints a daemon attaches in a row before the next
// daemon has its turn.
const perTurn = 8

// A subject is a daemon that has a number of endpoints, and what was measured
// on it.
type subject struct {
	*daemon
	present int
	network string

	create, join, attach  sample // join is part of attach, as create is
	leave, remove, detach sample
	again                 sample // attach of an address that was detached just before
	clean                 sample // from the last reply of a turn until its links are gone
}

// BenchmarkSocket measures attach (CreateEndpoint, Join) and detach (Leave,
// DeleteEndpoint) at the plugin socket, with 0, 100 and 1,000 endpoints
// present.
func BenchmarkSocket(b *testing.B) {
	fl := newFloor(b)
	var subjects []*subject
	for _, present := range []int{0, 100, 1000} {
		s := &subject{daemon: startDaemon(b, "present-"+strconv.Itoa(present)), present: present}
		s.network = s.createNetwork(b)
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
	reportSocket(b, subjects, bare)
}

// Floors are what an attach's parts cost by themselves, each measured between
// the subjects' turns.
type floors struct {
	empty  sample // a call that does nothing
	sync   sample // fdatasync of a page
	commit sample // of one record by bbolt
	link   sample // a pair of links
}

func (f *floors) take(b *testing.B, fl *floor, d *daemon) {
	for range perTurn {
		f.sync, f.commit = append(f.sync, fl.sync(b)), append(f.commit, fl.commit(b))
		start := time.Now()
		d.call(b, "/NetworkDriver.GetCapabilities", nil)
		f.empty = append(f.empty, time.Since(start))
	}
	f.link = append(f.link, fl.link(b), fl.link(b)) // few: the kernel takes its time to remove them
}

// attach is the least that two calls take that are both durable, the first
// with a pair made while its commit runs.
func (f *floors) attach() time.Duration {
	return 2*f.empty.p50() + max(f.commit.p50(), f.link.p50()) + f.commit.p50()
}

// detach is the least that two calls take of which one is durable.
func (f *floors) detach() time.Duration { return 2*f.empty.p50() + f.commit.p50() }

// fill attaches the endpoints that are to be present.
func (s *subject) fill(b *testing.B) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for n := w; n < s.present; n += 16 {
				if err := s.tryAttach(newEndpoint(s.network, n)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// turn attaches a few endpoints, detaches them, and then attaches and detaches
// endpoints in a row that have the same address.
func (s *subject) turn(b *testing.B) {
	var links []string
	var all []*endpoint
	for i := range perTurn {
		e := newEndpoint(s.network, s.present+i)
		all = append(all, e)
		start := time.Now()
		s.call(b, "/NetworkDriver.CreateEndpoint", e.create)
		created := time.Now()
		e.link = s.call(b, "/NetworkDriver.Join", e.join).InterfaceName.SrcName
		end := time.Now()
		s.create, s.join, s.attach = append(s.create, created.Sub(start)), append(s.join, end.Sub(created)), append(s.attach, end.Sub(start))
		links = append(links, e.link)
	}
	for _, e := range all {
		start := time.Now()
		s.call(b, "/NetworkDriver.Leave", e.refer)
		left := time.Now()
		s.call(b, "/NetworkDriver.DeleteEndpoint", e.refer)
		end := time.Now()
		s.leave, s.remove, s.detach = append(s.leave, left.Sub(start)), append(s.remove, end.Sub(left)), append(s.detach, end.Sub(start))
	}
	s.clean = append(s.clean, s.daemon.clean(b, links))
	e := newEndpoint(s.network, s.present)
	s.daemon.attach(b, e)
	links = links[:0]
	for range perTurn {
		s.daemon.detach(b, e)
		links = append(links, e.link)
		e = newEndpoint(s.network, s.present)
		s.again = append(s.again, s.daemon.attach(b, e))
	}
	s.daemon.detach(b, e)
	s.daemon.clean(b, append(links, e.link))
}

func reportSocket(b *testing.B, subjects []*subject, bare floors) {
	var rows [][]string
	row := func(what string, present int, s sample) {
		rows = append(rows, []string{what, fmt.Sprint(present), ms(s.at(.1)), ms(s.p50()), ms(s.p95()), ms(s.max()), times(s.p50(), bare.sync.p50()), times(s.p50(), bare.commit.p50())})
	}
	for _, s := range subjects {
		row("attach", s.present, s.attach)
		row("- CreateEndpoint", s.present, s.create)
		row("- Join", s.present, s.join)
		row("detach", s.present, s.detach)
		row("- Leave", s.present, s.leave)
		row("- DeleteEndpoint", s.present, s.remove)
		row("attach of an address just detached", s.present, s.again)
		row("links gone after the last of "+fmt.Sprint(perTurn)+" detaches", s.present, s.clean)
	}
	row("a call that does nothing (GetCapabilities)", 0, bare.empty)
	row("bare fdatasync of 4 KiB", 0, bare.sync)
	row("bare bbolt commit", 0, bare.commit)
	row("bare veth pair on a bridge", 0, bare.link)
	table([]string{"at the socket", "present", "p10 ms", "p50 ms", "p95 ms", "max ms", "p50 to fdatasync", "p50 to bbolt commit"}, rows)

	none, many := subjects[0], subjects[len(subjects)-1]
	growth := ratio(many.attach.p50(), none.attach.p50())
	table([]string{"aim", "measured", ""}, [][]string{
		{"attach p50 at most 1 ms (0 present)", ms(none.attach.p50()) + " ms", verdict(none.attach.p50() <= time.Millisecond)},
		{"attach p50 at 1,000 at most 2.5 times that at 0", fmt.Sprintf("%.2f", growth), verdict(growth <= 2.5)},
		{"detach p50 at most 0.6 ms (0 present)", ms(none.detach.p50()) + " ms", verdict(none.detach.p50() <= 600*time.Microsecond)},
	})
	fmt.Printf("\nattach p50 to the least that its calls, commits and pair take: %s; detach p50 to its calls and commit: %s\n",
		times(none.attach.p50(), bare.attach()), times(none.detach.p50(), bare.detach()))
	fmt.Printf("\ndaemon's resident memory: %d KiB with none, %d KiB with %d endpoints\n", none.memory(), many.memory(), many.present)

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(none.attach.p50().Microseconds()), "attach-µs")
	b.ReportMetric(float64(none.detach.p50().Microseconds()), "detach-µs")
	b.ReportMetric(growth, "attach-1000/0")
}

// BenchmarkParallel attaches from 64 callers at once.
func BenchmarkParallel(b *testing.B) {
	const callers, each, turns = 64, 8, 5
	d := startDaemon(b, "parallel")
	network := d.createNetwork(b)
	var took, left, attaching, detaching sample
	for range turns {
		all := make([]*endpoint, callers*each)
		for i := range all {
			all[i] = newEndpoint(network, i)
		}
		attaching = append(attaching, together(b, callers, all, d.tryAttach, &took))
		detaching = append(detaching, together(b, callers, all, d.tryDetach, &left))
		var links []string
		for _, e := range all {
			links = append(links, e.link)
		}
		d.clean(b, links)
	}
	rate := func(s sample) float64 { return callers * each / s.p50().Seconds() }
	table([]string{fmt.Sprintf("%d callers, %d endpoints", callers, callers*each), "a second", "p50 ms", "p95 ms", "max ms"}, [][]string{
		{"attach", fmt.Sprintf("%.0f", rate(attaching)), ms(took.p50()), ms(took.p95()), ms(took.max())},
		{"detach", fmt.Sprintf("%.0f", rate(detaching)), ms(left.p50()), ms(left.p95()), ms(left.max())},
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(attaching), "attaches/s")
	b.ReportMetric(rate(detaching), "detaches/s")
}

// together does something with all endpoints from a number of callers, notes
// how long each took, and returns how long it took as a whole.
func together(b *testing.B, callers int, all []*endpoint, do func(*endpoint) error, each *sample) time.Duration {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			var mine sample
			for i := c; i < len(all); i += callers {
				start := time.Now()
				if err := do(all[i]); err != nil {
					b.Error(err)
				}
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			*each = append(*each, mine...)
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return time.Since(start)
}
