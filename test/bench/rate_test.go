//go:build bench

package bench

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how long one variant is measured before the next takes its turn.
const turn = 400 * time.Millisecond

// A rate is what was measured of a path: connections, packets or bytes a
// second, in each turn.
type rate struct {
	path    *path
	each    []float64
	connect sample
}

func (r *rate) median() float64 {
	s := slices.Sorted(slices.Values(r.each))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}

// interleave measures paths in turns, in changing order.
func interleave(b *testing.B, paths []*path, measure func(*rate) error) []*rate {
	b.Helper()
	rates := make([]*rate, len(paths))
	for i, p := range paths {
		rates[i] = &rate{path: p}
	}
	for n := range max(*rounds/4, 3) {
		for i := range rates {
			r := rates[(i+n)%len(rates)]
			if err := r.path.forget(); err != nil {
				b.Fatal(err)
			}
			if err := measure(r); err != nil {
				b.Fatalf("%s, %d ports: %v", r.path.name, r.path.ports, err)
			}
		}
	}
	return rates
}

// BenchmarkConnect opens and resets TCP connections to published ports, from
// two threads, beside routing alone.
func BenchmarkConnect(b *testing.B) {
	paths := []*path{routedPath(b), trackedPath(b)}
	for _, n := range []int{10, 1000, 10000} {
		paths = append(paths, fairwayPath(b, unix.IPPROTO_TCP, n), dockerPath(b, unix.IPPROTO_TCP, n))
	}
	rates := interleave(b, paths, (*rate).connects)
	tracked, few, docker := rates[1], rates[2], rates[7]
	var rows [][]string
	for i, r := range rates {
		ports := strconv.Itoa(r.path.ports)
		if i < 2 {
			ports = "-"
		}
		rows = append(rows, []string{
			r.path.name, ports, fmt.Sprintf("%.1f", r.median()/1000), us(r.connect.p50()), us(r.connect.p95()),
			times(r.connect.p50(), tracked.connect.p50()), fmt.Sprintf("%.2f", r.median()/docker.median()),
		})
	}
	table([]string{"new connections", "ports", "thousands a second", "connect p50 us", "p95 us", "p50 to tracked", "rate to Docker's at 10,000"}, rows)
	many := rates[6]
	toFew, toTracked := ratio(many.connect.p50(), few.connect.p50()), ratio(many.connect.p50(), tracked.connect.p50())
	toDocker := many.median() / docker.median()
	table([]string{"aim", "measured", ""}, [][]string{
		{"connect p50 at 10,000 ports at most 1.1 times that at 10", fmt.Sprintf("%.2f", toFew), verdict(toFew <= 1.1)},
		{"and at most 1.25 times that of tracking alone", fmt.Sprintf("%.2f", toTracked), verdict(toTracked <= 1.25)},
		{"rate at 10,000 at least 5 times that of Docker's rules", fmt.Sprintf("%.2f", toDocker), verdict(toDocker >= 5)},
	})
	b.ReportMetric(0, "ns/op")
}

func us(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }

// connects opens and resets connections for a turn.
func (r *rate) connects() error {
	p := r.path
	stop, err := p.accept()
	if err != nil {
		return err
	}
	defer stop()
	var samples [2]sample
	var errs [2]error
	var threads sync.WaitGroup
	start := time.Now()
	for t := range samples {
		threads.Go(func() {
			errs[t] = within(p.client, func() (err error) {
				samples[t], err = p.connectUntil(start.Add(turn), t)
				return err
			})
		})
	}
	threads.Wait()
	took := time.Since(start)
	for t, s := range samples {
		if errs[t] != nil {
			return errs[t]
		}
		r.connect = append(r.connect, s...)
	}
	r.each = append(r.each, float64(len(samples[0])+len(samples[1]))/took.Seconds())
	return nil
}

// connectUntil connects to one port after the other.
func (p *path) connectUntil(end time.Time, first int) (took sample, err error) {
	took = make(sample, 0, 1<<16)
	ports := p.listens()
	for i := first; ; i++ {
		to := p.target(ports[i%len(ports)])
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return took, err
		}
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // reset
		addr := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		start := time.Now()
		if err == nil {
			err = unix.Connect(fd, addr)
		}
		now := time.Now()
		_ = unix.Close(fd)
		if err != nil {
			return took, fmt.Errorf("connect to %s: %w", to, err)
		}
		took = append(took, now.Sub(start))
		if now.After(end) {
			return took, nil
		}
	}
}

// accept takes connections to the ports that are asked, and closes them, until
// stop is called.
func (p *path) accept() (stop func(), err error) {
	var listeners []int
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	release := func() {
		for _, fd := range append(listeners, poll) {
			_ = unix.Close(fd)
		}
	}
	for _, port := range p.listens() {
		fd, err := p.listen(port, unix.SOCK_NONBLOCK)
		if err == nil {
			listeners = append(listeners, fd)
			err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		}
		if err != nil {
			release()
			return nil, err
		}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		events := make([]unix.EpollEvent, asked)
		for {
			n, _ := unix.EpollWait(poll, events, 20)
			for _, e := range events[:max(n, 0)] {
				for {
					fd, _, err := unix.Accept4(int(e.Fd), unix.SOCK_CLOEXEC)
					if err != nil {
						break // no more of them
					}
					_ = unix.Close(fd)
				}
			}
			select {
			case <-quit:
				return
			default:
			}
		}
	}()
	return func() { close(quit); <-done; release() }, nil
}

// listen returns a listening socket of the container.
func (p *path) listen(port uint16, flags int) (fd int, err error) {
	err = within(p.container, func() error {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0); err != nil {
			return err
		}
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
		}
		if err == nil {
			err = unix.Listen(fd, 4096)
		}
		if err != nil {
			_ = unix.Close(fd)
		}
		return err
	})
	return fd, err
}
