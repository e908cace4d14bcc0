package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHolderOf(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for path, want := range map[string]Holder{
		"":                                      {},
		"/":                                     {},
		"/system.slice/nginx.service":           {Unit: "nginx.service"},
		"/system.slice/docker-" + id + ".scope": {Container: id},
		"/docker/" + id:                         {Container: id},
		"/user.slice/user-1000.slice/user@1000.service/a.service": {Unit: "a.service"},
		// What a container calls its groups is not to be believed.
		"/docker/" + id + "/system.slice/sshd.service": {Container: id},
		"/some/group": {},
	} {
		if got := holderOf(path); got != want {
			t.Errorf("holderOf(%q) = %+v, want %+v", path, got, want)
		}
	}
}

// TestHolderPrints: names are other people's.
func TestHolderPrints(t *testing.T) {
	for _, c := range []struct {
		h    Holder
		want string
	}{
		{Holder{}, ""},
		{Holder{Container: strings.Repeat("ab", 32)}, "container abababababab"},
		{Holder{Unit: "a\x1b[2J.service"}, `unit "a\x1b[2J.service"`},
		{Holder{Process: "nc\n\u202e", PID: 7}, `process "nc\n\u202e" (pid 7)`},
	} {
		if got := c.h.String(); got != c.want {
			t.Errorf("%+v prints %s, want %s", c.h, got, c.want)
		}
	}
}

// TestFindHolder finds this test's own sockets, which are no owner's.
func TestFindHolder(t *testing.T) {
	want := processHolder(os.Getpid()).String()
	if want == "" {
		t.Fatal("this process has no name")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", "[::]:0") // both families
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	udp := uint16(c.LocalAddr().(*net.UDPAddr).Port)
	p := newTestPorts(t)
	for _, r := range []Request{
		tcp("127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port), 0),
		tcp("0.0.0.0", uint16(l.Addr().(*net.TCPAddr).Port), 0),
		{Proto: unix.IPPROTO_UDP, HostIPs: []netip.Addr{netip.IPv4Unspecified()}, First: udp},
		{Proto: unix.IPPROTO_UDP, HostIPs: []netip.Addr{netip.IPv6Unspecified()}, First: udp},
	} {
		_, err := p.Reserve(t.Context(), "one", []Request{r})
		var refusal *Conflict
		if !errors.As(err, &refusal) || refusal.Owner != "" {
			t.Fatalf("Reserve: %v, want a conflict with no owner", err)
		}
		start := time.Now()
		got := FindHolder(t.Context(), refusal).String()
		t.Logf("%q in %v", got, time.Since(start))
		if got != want {
			t.Errorf("%v: held by %q, want %q", refusal, got, want)
		}
	}
}

// TestFindHolderOfNobody: a port that is free by now, and no time at all.
func TestFindHolderOfNobody(t *testing.T) {
	c := &Conflict{Proto: unix.IPPROTO_TCP, HostIP: netip.MustParseAddr("127.99.0.1"), Port: free(t)}
	if h := FindHolder(t.Context(), c); h != (Holder{}) {
		t.Errorf("a free port's holder: %+v", h)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h := FindHolder(ctx, c); h != (Holder{}) {
		t.Errorf("a holder without time to look: %+v", h)
	}
}

func TestConflictNamesOwner(t *testing.T) {
	p := newTestPorts(t)
	port := free(t)
	reserve(t, p, "one", tcp("127.0.0.1", port, 0))
	_, err := p.Reserve(t.Context(), "two", []Request{tcp("0.0.0.0", port, 0)})
	var c *Conflict
	if !errors.As(err, &c) || c.Owner != "one" || c.Port != port {
		t.Errorf("%v: conflict %+v, want one with owner one", err, c)
	}
}

// TestParseSocket: no answer of the kernel's, however short, is read beyond.
func TestParseSocket(t *testing.T) {
	c := &Conflict{Proto: 6, HostIP: loopback, Port: 0}
	full := make([]byte, diagReply+12)
	full[0] = unix.AF_INET
	full[diagReply], full[diagReply+2] = 12, diagCgroup
	full[diagReply+4] = 9
	for n := range full {
		parseSocket(full[:n], c)
	}
	if s, ok := parseSocket(full, c); !ok || s.cgroup != 9 {
		t.Errorf("parseSocket: %+v, %v, want cgroup 9", s, ok)
	}
}

// TestFileLimit: what to do about a limit that is too low is said.
func TestFileLimit(t *testing.T) {
	var had unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	low := had
	low.Cur = uint64(f.Fd()) + 1
	p := newTestPorts(t)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var requests []Request
	for range int(low.Cur) + 1 {
		requests = append(requests, tcp("127.0.0.1", 0, 0))
	}
	_, err = p.Reserve(t.Context(), "one", requests)
	if restore := unix.Setrlimit(unix.RLIMIT_NOFILE, &had); restore != nil {
		t.Fatal(restore)
	}
	want := fmt.Sprintf("too many open files: the daemon's limit is %d; each port takes one: raise LimitNOFILE of fairway's unit", low.Cur)
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), want) {
		t.Errorf("Reserve: %v, want ...%s", err, want)
	}
	if held := p.Held(); len(held) != 0 {
		t.Errorf("it holds %d ports all the same", len(held))
	}
}
