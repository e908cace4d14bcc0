//go:build kernel

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairway/event"

	"golang.org/x/sys/unix"
)

// TestJournal has a daemon whose standard error is the journal's, and plays the
// journal: an event comes with its fields and the MESSAGE_ID of its kind, once.
// Without a journal it is a line on that stream.
func TestJournal(t *testing.T) {
	w := newWard(t)
	root := filepath.Join("/proc", strconv.Itoa(w.init), "root")
	w.sh(t, "mkdir -p /run/systemd/journal")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: root + "/run/systemd/journal/socket", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stream unix.Stat_t
	if err := unix.Stat(root+"/run/log", &stream); err != nil {
		t.Fatal(err)
	}
	w.sh(t, fmt.Sprintf("systemctl stop fairway; echo JOURNAL_STREAM=%d:%d >/run/env; systemctl start fairway", stream.Dev, stream.Ino))
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "web", "box", "10.98.0.2/24", "")
	ids := map[string]string{}
	for _, k := range event.Kinds() {
		ids[k.ID] = k.Name
	}
	got := map[string]map[string]string{} // by kind
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 64<<10); got[event.Attach] == nil; {
		n, err := l.Read(b)
		if err != nil {
			t.Fatalf("no event comes: %v; there are %v", err, got)
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(b[:n])) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			fields[name] = value
		}
		if fields["SYSLOG_IDENTIFIER"] != "fairway" || fields["MESSAGE"] == "" || fields["PRIORITY"] == "" {
			t.Errorf("entry %v", fields)
		}
		got[ids[fields["MESSAGE_ID"]]] = fields
	}
	a := got[event.Attach]
	if a["NETWORK"] != "web" || a["ENDPOINT"] != "box" || a["ADDRESS"] != "10.98.0.2" || a["PRIORITY"] != "6" || !strings.Contains(a["MESSAGE"], "attached") || strings.HasPrefix(a["MESSAGE"], "<") {
		t.Errorf("attached: %v", a)
	}
	if got[event.Ready] == nil || got[event.NetworkCreate]["NETWORK"] != "web" {
		t.Errorf("entries of %v: want that it is ready, and the network", got)
	}
	if text, err := os.ReadFile(root + "/run/log"); err != nil || strings.Contains(string(text), "attached") {
		t.Errorf("it is on the stream, too (%v):\n%s", err, text)
	}
	_ = l.Close()
	w.remove(t, "web", "box")
	if text, err := os.ReadFile(root + "/run/log"); err != nil || !strings.Contains(string(text), "\n<6>level=info msg=detached ") {
		t.Errorf("without a journal it isn't on the stream (%v):\n%s", err, text)
	}
}
