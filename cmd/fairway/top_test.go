package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairway/admin"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

func trafficOf(at time.Time, endpoints ...admin.EndpointTraffic) admin.Traffic {
	return admin.Traffic{Time: at, Endpoints: endpoints}
}

func endpointTraffic(id, network, container string, received, sent, packets, denied, connections uint64) admin.EndpointTraffic {
	return admin.EndpointTraffic{ID: id, Network: "n", NetworkName: network, Container: container, Carried: admin.Carried{
		ReceivedBytes: received, SentBytes: sent, ReceivedPackets: packets, SentPackets: packets,
		Dropped: map[string]uint64{admin.DroppedQueue: 0, admin.DroppedSpoof: denied}, Connections: connections,
	}}
}

func TestRates(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	got := ratesOf(
		trafficOf(at, endpointTraffic("1", "web", "app", 1000, 100, 10, 5, 9), endpointTraffic("2", "web", "anew", 1e6, 1e6, 1000, 0, 0)),
		trafficOf(at.Add(2*time.Second), endpointTraffic("1", "web", "app", 3000, 100, 14, 11, 7), endpointTraffic("2", "web", "anew", 400, 0, 2, 0, 0),
			endpointTraffic("3", "", "", 500, 0, 2, 0, 1)))
	want := []struct{ received, sent, packets, drops float64 }{{1000, 0, 4, 3}, {200, 0, 2, 0}, {0, 0, 0, 0}}
	if got.Seconds != 2 || len(got.Endpoints) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, r := range got.Endpoints {
		drops, _ := r.drops()
		if r.ReceivedBytes != want[i].received || r.SentBytes != want[i].sent || r.ReceivedPackets+r.SentPackets != want[i].packets || drops != want[i].drops {
			t.Errorf("%s: %+v, want %+v", r.ID, r, want[i])
		}
	}
	if _, why := got.Endpoints[0].drops(); why != admin.DroppedSpoof || got.Endpoints[0].Connections != 7 {
		t.Errorf("%+v, dropped for %q", got.Endpoints[0], why)
	}
}

func TestScaled(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 7: "7", 3.25: "3.2", 12.4: "12", 999.4: "999", 999.6: "1.0k", 91234: "91k", 4.12e8: "412M"} {
		if got := number(n); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
	if got := bits(51.5e6); got != "412 Mb" {
		t.Errorf("bits: %q", got)
	}
}

// manyRates are as many as a screen hasn't lines for; the last loses packets.
func manyRates(n int) topped {
	var out topped
	for i := range n {
		out.Endpoints = append(out.Endpoints, rate{
			ID: fmt.Sprint(i), Container: fmt.Sprintf("c%03d", i), Network: []string{"lan", "web\x1b[2J"}[i%2], ReceivedBytes: float64(i), Connections: uint64(n - i),
			Dropped: map[string]float64{admin.DroppedQueue: float64(i / (n - 1))},
		})
	}
	return out
}

func TestKeys(t *testing.T) {
	c := topCommand{order: string(byTraffic)}
	all := manyRates(10)
	first := func() string { return c.chosen(all).Endpoints[0].Container }
	if first() != "c009" {
		t.Errorf("by traffic: %s", first())
	}
	for _, step := range []struct {
		key   byte
		first string
		n     int
	}{{'s', "c000", 10}, {'s', "c009", 10}, {'s', "c000", 10}, {'n', "c000", 5}, {'n', "c001", 5}, {'d', "c009", 1}, {'n', "c009", 1}, {'x', "c009", 1}} {
		if c.press(step.key, networksOf(all)) {
			t.Errorf("%c ends it", step.key)
		}
		if got := c.chosen(all); first() != step.first || len(got.Endpoints) != step.n {
			t.Errorf("after %c, by %s on %q: %s first of %d, want %+v", step.key, c.order, c.network, first(), len(got.Endpoints), step)
		}
	}
	if !c.press('q', nil) {
		t.Error("q doesn't end it")
	}
}

// TestPaint: a screen is full and no fuller, and nothing that a container is
// called moves the cursor.
func TestPaint(t *testing.T) {
	c := topCommand{order: string(byTraffic), network: "web\x1b[2J"}
	var out bytes.Buffer
	if err := c.paint(&out, manyRates(50), 60, 10, time.Now()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 10 {
		t.Errorf("%d lines, want 10", len(lines))
	}
	text := strings.NewReplacer(screenHome, "", lineRest, "", screenRest, "").Replace(out.String())
	for l := range strings.SplitSeq(text, "\n") {
		if len([]rune(l)) > 60 || strings.ContainsAny(l, "\x1b\x9b\n") {
			t.Errorf("line %q", l)
		}
	}
}

// serveTraffic serves traffic that grows, and returns the socket.
func serveTraffic(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/a.sock"
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	close(ready)
	var looks atomic.Uint64
	s := admin.New(admin.Options{Records: fixture(), Ready: ready, Log: logrus.New(), Carried: func(context.Context) (map[string]admin.Carried, error) {
		n := looks.Add(1)
		return map[string]admin.Carried{
			strings.Repeat("1", 64): {ReceivedBytes: n * 1e6, ReceivedPackets: n * 1000, Dropped: map[string]uint64{admin.DroppedSpoof: n}, Connections: 3},
			strings.Repeat("2", 64): {},
		}, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestTopList(t *testing.T) {
	t.Setenv("FAIRWAY_ADMIN_SOCKET", serveTraffic(t))
	got := execute(t.Context(), "top --interval 100ms")
	lines := strings.Split(got, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "CONTAINER ") || !strings.HasPrefix(lines[1], "app ") || !strings.Contains(lines[1], "antispoof") ||
		!strings.Contains(lines[2], `evil\x1b[2J`) {
		t.Errorf("top, piped:\n%s", got)
	}
	if got = execute(t.Context(), "top -q --drops --interval 100ms"); got != "111111111111\n" {
		t.Errorf("those with drops:\n%s", got)
	}
	for line, want := range map[string]string{"top --interval 1ms": "exit 2", "top --sort speed": "exit 2"} {
		if got := execute(t.Context(), line); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", line, got)
		}
	}
}

// TestTopTerminal runs it on a terminal: it draws, obeys keys, and leaves the
// terminal as it was.
func TestTopTerminal(t *testing.T) {
	here, there := terminal(t)
	before, err := unix.IoctlGetTermios(int(there.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "top", "--interval", "100ms", "--admin-socket", serveTraffic(t))
	cmd.Env = append(os.Environ(), childCommand+"=1")
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = there, there, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1000)
	go func() {
		defer close(shown)
		b := make([]byte, 64<<10)
		for {
			n, err := here.Read(b)
			if err != nil {
				return
			}
			shown <- string(b[:n])
		}
	}()
	var all strings.Builder
	until := func(what string) {
		t.Helper()
		for end := time.After(20 * time.Second); !strings.Contains(all.String(), what); {
			select {
			case text, ok := <-shown:
				if !ok {
					t.Fatalf("ended without %q:\n%q", what, all.String())
				}
				all.WriteString(text)
			case <-end:
				t.Fatalf("no %q in:\n%q\n%s", what, all.String()[max(0, all.Len()-1000):], complaints.String())
			}
		}
	}
	until("antispoof")
	if _, err := io.WriteString(here, "sd"); err != nil {
		t.Fatal(err)
	}
	until("by packets, only with drops")
	if _, err := io.WriteString(here, "q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("q: %v: %s", err, complaints.String())
	}
	until(screenBack)
	after, err := unix.IoctlGetTermios(int(there.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was %+v and is %+v, %v", before, after, err)
	}
	_ = there.Close()
	_ = here.Close()
	for range shown { // until the reader has ended
	}
}

// terminal opens a pseudo terminal: see pts(4).
func terminal(t *testing.T) (here, there *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	here = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = here.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 20, Col: 120}); err != nil {
		t.Fatal(err)
	}
	if there, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return here, there
}
