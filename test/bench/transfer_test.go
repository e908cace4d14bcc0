//go:build bench

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is how many ports are published beside the one that is used.
const crowd = 1000

// BenchmarkDatagrams sends UDP packets one way to a published port: no answer
// ever makes the flow an established one.
func BenchmarkDatagrams(b *testing.B) {
	paths := []*path{routedPath(b), trackedPath(b), fairwayPath(b, unix.IPPROTO_UDP, crowd), dockerPath(b, unix.IPPROTO_UDP, crowd)}
	rates := interleave(b, paths, (*rate).datagrams)
	tracked, ours, docker := rates[1].median(), rates[2].median(), rates[3].median()
	var rows [][]string
	for _, r := range rates {
		rows = append(rows, []string{r.path.name, fmt.Sprintf("%.0f", r.median()/1000), fmt.Sprintf("%.2f", r.median()/tracked)})
	}
	table([]string{"UDP, one way, 1,000 ports", "thousand packets a processor's second", "to tracked"}, rows)
	table([]string{"aim", "measured", ""}, [][]string{
		{"at least 0.85 of tracking alone", fmt.Sprintf("%.2f", ours/tracked), verdict(ours/tracked >= .85)},
		{"well above Docker's rules", fmt.Sprintf("%.1f times", ours/docker), verdict(ours/docker >= 5)},
	})
	b.ReportMetric(0, "ns/op")
}

// datagrams sends for a turn, and counts what came to a socket of the
// container, also if it had no room for it.
func (r *rate) datagrams() error {
	p := r.path
	port := p.listens()[asked/2]
	var server net.PacketConn
	err := within(p.container, func() (err error) {
		server, err = net.ListenPacket("udp4", ":"+strconv.Itoa(int(port)))
		return err
	})
	if err != nil {
		return err
	}
	defer server.Close()
	before, err := p.received()
	if err != nil {
		return err
	}
	var took time.Duration
	err = within(p.client, func() (err error) {
		end := time.Now().Add(turn)
		took, err = worked(func() error { return send(p.target(port), end) })
		return err
	})
	if err != nil {
		return err
	}
	after, err := p.received()
	r.each = append(r.each, float64(after-before)/took.Seconds())
	return err
}

// worked returns how long a processor worked for f's thread, which must be its
// own. That is also where the host forwards what f sends, and where it is
// delivered; what others do on this machine is not in it.
func worked(f func() error) (time.Duration, error) {
	var from, to unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &from)
	if err == nil {
		err = f()
	}
	if err == nil {
		err = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &to)
	}
	return time.Duration(to.Nano() - from.Nano()), err
}

// send sends small packets until a time.
func send(to netip.AddrPort, end time.Time) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return err
	}
	packet := make([]byte, 32)
	for i := 0; i%64 != 0 || time.Now().Before(end); i++ {
		if _, err := unix.Write(fd, packet); err != nil {
			return fmt.Errorf("send to %s: %w", to, err)
		}
	}
	return nil
}

// received counts the datagrams that came to the container's sockets: those it
// took and those that found the buffer full (UDP-MIB, RFC 4113; proc_net_snmp).
func (p *path) received() (n uint64, err error) {
	err = within(p.container, func() error {
		raw, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names []string
		for line := range bytes.Lines(raw) {
			f := strings.Fields(string(line))
			if len(f) == 0 || f[0] != "Udp:" {
				continue
			}
			if names == nil {
				names = f
				continue
			}
			for i, name := range names {
				if name == "InDatagrams" || name == "RcvbufErrors" {
					v, err := strconv.ParseUint(f[i], 10, 64)
					if err != nil {
						return err
					}
					n += v
				}
			}
			return nil
		}
		return errors.New("/proc/net/snmp: no Udp")
	})
	return n, err
}

// BenchmarkTransfer measures what an open connection to a published port
// carries, and how long a byte takes there and back.
func BenchmarkTransfer(b *testing.B) {
	paths := []*path{routedPath(b), trackedPath(b), fairwayPath(b, unix.IPPROTO_TCP, crowd), dockerPath(b, unix.IPPROTO_TCP, crowd)}
	streams := interleave(b, paths, (*rate).stream)
	trips := interleave(b, paths, (*rate).trips)
	var rows [][]string
	for i, s := range streams {
		rows = append(rows, []string{
			s.path.name, fmt.Sprintf("%.1f", s.median()*8/1e9), fmt.Sprintf("%.2f", s.median()/streams[0].median()),
			fmt.Sprintf("%.2f", 1e6/trips[i].median()), fmt.Sprintf("%.2f", trips[i].median()/trips[0].median()),
		})
	}
	table([]string{"TCP, 1,000 ports", "Gb per processor's second", "to routed", "round trip us of a processor", "rate to routed"}, rows)
	carried, answered := streams[2].median()/streams[0].median(), trips[2].median()/trips[0].median()
	table([]string{"aim", "measured", ""}, [][]string{
		{"throughput at least 0.85 of plain routing", fmt.Sprintf("%.2f", carried), verdict(carried >= .85)},
		{"round trips a second at least 0.85 of plain routing", fmt.Sprintf("%.2f", answered), verdict(answered >= .85)},
	})
	b.ReportMetric(0, "ns/op")
}

// stream sends as much as a connection takes in a turn.
func (r *rate) stream() error {
	return r.connected(func(server, client int) error {
		var got int
		end := time.Now().Add(turn)
		took, err := r.path.both(false, func() error {
			buf := make([]byte, 1<<18)
			for {
				n, err := unix.Read(server, buf)
				if got += max(n, 0); n <= 0 {
					return err
				}
			}
		}, func() error {
			buf := make([]byte, 1<<17)
			for time.Now().Before(end) {
				if _, err := unix.Write(client, buf); err != nil {
					return err
				}
			}
			return unix.Shutdown(client, unix.SHUT_WR)
		})
		r.each = append(r.each, float64(got)/took.Seconds())
		return err
	})
}

// trips sends a byte and has it back, over and over for a turn. Both ends are
// on one processor: else it is the scheduler that is measured.
func (r *rate) trips() error {
	return r.connected(func(server, client int) error {
		n := 0
		end := time.Now().Add(turn)
		took, err := r.path.both(true, func() error {
			buf := make([]byte, 1)
			for {
				if n, err := unix.Read(server, buf); n <= 0 {
					return err
				}
				if _, err := unix.Write(server, buf); err != nil {
					return err
				}
			}
		}, func() error {
			for buf := make([]byte, 1); time.Now().Before(end); n++ {
				if _, err := unix.Write(client, buf); err != nil {
					return err
				}
				if _, err := unix.Read(client, buf); err != nil {
					return err
				}
			}
			return unix.Shutdown(client, unix.SHUT_WR)
		})
		r.each = append(r.each, float64(n)/took.Seconds())
		return err
	})
}

// both runs the two ends of a connection on threads of their own and returns
// for how long processors worked for them.
func (p *path) both(pinned bool, ends ...func() error) (took time.Duration, err error) {
	type result struct {
		took time.Duration
		err  error
	}
	results := make(chan result)
	for _, f := range ends {
		go func() {
			var r result
			err := within(p.client, func() (err error) {
				if pinned {
					var first unix.CPUSet
					first.Set(0)
					if err := unix.SchedSetaffinity(0, &first); err != nil {
						return err
					}
				}
				r.took, err = worked(f)
				return err
			})
			results <- result{r.took, err}
		}()
	}
	for range ends {
		r := <-results
		took, err = took+r.took, errors.Join(err, r.err)
	}
	return took, err
}

// connected calls f with both ends of a connection.
func (r *rate) connected(f func(server, client int) error) error {
	p := r.path
	port := p.listens()[asked/2]
	listener, err := p.listen(port, 0)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	var client int
	err = within(p.client, func() (err error) {
		client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(client)
	to := p.target(port)
	for _, err := range []error{
		unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10000), // ms: a path that is broken ends the benchmark
		unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Connect(client, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
	} {
		if err != nil {
			return fmt.Errorf("connect to %s: %w", to, err)
		}
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	if err := unix.SetsockoptInt(server, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return f(server, client)
}
