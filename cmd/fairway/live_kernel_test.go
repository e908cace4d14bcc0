//go:build kernel

package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

// TestTraceLive watches real packets: one that is let in, and one that somebody's
// rule drops.
func TestTraceLive(t *testing.T) {
	w := newWard(t)
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "web", "box", "10.98.0.2/24", "", [2]int{8080, 80})
	for _, c := range []struct {
		harm, undo   string
		dropped      bool
		where, about string
	}{
		{where: "inet fairway between-links", about: "goto to-nat"},
		{harm: "iptables -I DOCKER-USER -i eth0 -j DROP", undo: "iptables -D DOCKER-USER 1", dropped: true, where: "ip filter DOCKER-USER", about: "drop"},
		{harm: "nft 'add table inet mine; add chain inet mine f { type filter hook forward priority -20; policy drop; }'", undo: "nft delete table inet mine", dropped: true, where: "inet mine f", about: "policy drop"},
	} {
		if c.harm != "" {
			w.sh(t, c.harm)
		}
		var out string
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			out, err = w.try(t, "fairway trace outside 192.0.2.1:8080 --live 1500ms --json 2>/run/said")
		}()
		for watching := true; watching; { // from before it watches until it doesn't any more
			select {
			case <-done:
				watching = false
			case <-time.After(100 * time.Millisecond):
			}
			_, _ = w.tryWithin("out", func() (any, error) {
				conn, err := net.DialTimeout("tcp", "192.0.2.1:8080", 50*time.Millisecond)
				if err == nil {
					_ = conn.Close()
				}
				return nil, err
			})
		}
		if c.undo != "" {
			w.sh(t, c.undo)
		}
		var got watched
		if e := json.Unmarshal([]byte(out), &got); e != nil {
			t.Fatalf("trace: %v, %v\n%s", err, e, out)
		}
		holdJSON(t, "trace-live", []byte(out))
		found := false
		for _, e := range got.Events {
			found = found || e.Where == c.where && strings.Contains(e.Verdict, c.about)
		}
		if got.Seen == 0 || got.Dropped > 0 != c.dropped || !found || (err != nil) != c.dropped {
			t.Errorf("%q: %d packets, %d dropped, exit %v, %+v: want one by %s: %s", c.harm, got.Seen, got.Dropped, err, got.Events, c.where, c.about)
		}
		if left := w.sh(t, "nft list tables"); strings.Contains(left, "fairway-trace") {
			t.Errorf("left behind:\n%s", left)
		}
	}
	if _, err := w.try(t, "fairway trace outside 192.0.2.1:8081 --live 200ms"); err == nil {
		t.Error("no packet was there, and none is missed")
	}
}
