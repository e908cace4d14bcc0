//go:build kernel

package watch

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a network namespace with a Watcher.
type watched struct {
	*Watcher
	firewall, links chan struct{} // a token for each look
	log             *test.Hook
}

// watchHere moves the test's thread into a fresh network namespace and listens
// there. Nothing is read before start.
func watchHere(t *testing.T, setup string) *watched {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	t.Cleanup(func() { ns.Close() })
	shell(t, setup)
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	w := &watched{firewall: make(chan struct{}, 100), links: make(chan struct{}, 100), log: hook}
	w.Watcher, err = New(Options{
		Instance: "0123abcd", Log: log,
		Wanted:   func(link string) bool { return strings.HasPrefix(link, "fwb") },
		Firewall: func(context.Context) bool { w.firewall <- struct{}{}; return true },
		Links:    func(context.Context) bool { w.links <- struct{}{}; return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// start runs the watcher until the test ends.
func (w *watched) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func await(t *testing.T, what string, looks <-chan struct{}) {
	t.Helper()
	select {
	case <-looks:
	case <-time.After(30 * time.Second):
		t.Fatalf("no look at %s", what)
	}
}

func none(t *testing.T, what string, looks <-chan struct{}) {
	t.Helper()
	if n := len(looks); n > 0 {
		t.Errorf("%d looks at %s, want none", n, what)
	}
}

const own = `
	nft add table inet fairway
	nft add chain inet fairway c
	nft add set inet fairway s '{ type ipv4_addr; elements = { 192.0.2.1 }; }'
	iptables -N DOCKER-USER
	iptables -N FAIRWAY-ACCEPT
	iptables -A FORWARD -m comment --comment fairway:0123abcd -j FAIRWAY-ACCEPT
	iptables -t nat -A PREROUTING -m comment --comment fairway:0123abcd -j ACCEPT
	ip link add fwb1 up type bridge
	ip address add 192.0.2.1/24 dev fwb1
	ip rule add pref 77 table 77`

// TestNotices changes one thing after the other with the programs that people
// use, and wants a look of the right kind each time.
func TestNotices(t *testing.T) {
	w := watchHere(t, own)
	w.start(t)
	for _, change := range []struct {
		script          string
		firewall, links bool
	}{
		{"nft delete element inet fairway s '{ 192.0.2.1 }'", true, false},
		{"nft add rule inet fairway c accept", true, false},
		{"iptables -t nat -F", true, false},
		{"iptables -I FORWARD -j ACCEPT", true, false},
		{"iptables -A DOCKER-USER -j DROP", true, false},
		{"iptables -F", true, false},
		{"iptables -X FAIRWAY-ACCEPT", true, false},
		{"nft delete table inet fairway", true, false},
		{"ip address del 192.0.2.1/24 dev fwb1", false, true},
		{"ip link set fwb1 down", false, true},
		{"ip link set fwb1 name other", false, true},
		{"ip link set other name fwb1; ip link del fwb1", false, true},
		{"ip rule del pref 77", true, true},
	} {
		shell(t, change.script)
		if change.firewall {
			await(t, "rules after "+change.script, w.firewall)
		} else {
			none(t, "rules after "+change.script, w.firewall)
		}
		if change.links {
			await(t, "links after "+change.script, w.links)
		} else {
			none(t, "links after "+change.script, w.links)
		}
	}
}

// TestOthersAreNoConcern changes what isn't ours as others do all day, and what
// is ours under our own name; a change that counts ends it.
func TestOthersAreNoConcern(t *testing.T) {
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	w := watchHere(t, own)
	w.start(t)
	likeUs := t.TempDir() + "/" + strings.TrimSpace(string(self))
	shell(t, `
		ln -s "$(command -v nft)" '`+likeUs+`'; '`+likeUs+`' add rule inet fairway c drop
		nft add table inet theirs; nft add chain inet theirs c; nft add rule inet theirs c accept
		nft delete table inet theirs
		iptables -t nat -N DOCKER; iptables -t nat -A DOCKER -j RETURN; iptables -t nat -A POSTROUTING -j MASQUERADE
		iptables -t nat -D POSTROUTING 1; iptables -N DOCKER; iptables -A DOCKER -j ACCEPT; iptables -F DOCKER
		iptables -A INPUT -j ACCEPT; iptables -D INPUT 1
		ip link add br-0 up type bridge; ip link add v0 type veth peer v1; ip link set v0 master br-0 up; ip link del v0
		ip address add 198.51.100.1/24 dev br-0; ip link del br-0
		ip rule add pref 78 table 78`)
	shell(t, "nft flush table inet fairway; ip link del fwb1")
	await(t, "rules", w.firewall)
	await(t, "links", w.links)
	none(t, "rules that are not ours", w.firewall)
	none(t, "links that are not ours", w.links)
}

// TestOverrun has more notifications come than wait for us.
func TestOverrun(t *testing.T) {
	w := watchHere(t, own)
	for _, s := range w.sources {
		if err := s.conn.SetReadBuffer(1); err != nil { // the kernel's least
			t.Fatal(err)
		}
	}
	shell(t, "for i in $(seq 30); do ip link add d$i type bridge; nft add table ip t$i; done")
	w.start(t)
	await(t, "links", w.links)
	await(t, "rules", w.firewall)
}

// TestReopen closes the sockets under the watcher.
func TestReopen(t *testing.T) {
	w := watchHere(t, own)
	old := map[*netlink.Conn]bool{}
	for _, s := range w.sources {
		old[s.conn] = true
	}
	w.start(t)
	for c := range old {
		if err := c.Close(); err != nil && !errors.Is(err, unix.EBADF) {
			t.Fatal(err)
		}
	}
	await(t, "links", w.links)
	await(t, "rules", w.firewall)
	lost, found := 0, 0
	for _, e := range w.log.AllEntries() {
		if strings.Contains(e.Message, "seen only every 30 s") {
			lost++
		}
		if strings.Contains(e.Message, "seen at once again") {
			found++
		}
	}
	if lost != len(old) || found != len(old) {
		t.Errorf("said %d times that a socket failed and %d times that it works, want %d", lost, found, len(old))
	}
}
