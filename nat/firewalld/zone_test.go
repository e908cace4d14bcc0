package firewalld

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"fairway/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newZone(t *testing.T, socket string) *Zone {
	t.Helper()
	z, err := New(Options{Options: nat.Options{Instance: "test1"}, Address: "unix:path=" + socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	return z
}

// Without a bus there is nothing to tell, and nothing to repair.
func TestNoBus(t *testing.T) {
	z := newZone(t, filepath.Join(t.TempDir(), "none"))
	n := []nat.Network{{ID: "a", Link: "lo"}}
	z.Apply(t.Context(), n)
	if r := z.Reconcile(t.Context(), n); len(r) != 0 {
		t.Errorf("Reconcile without a bus repaired %v", r)
	}
	z.Remove(t.Context(), n)
	if z.trouble != "" {
		t.Errorf("logged %q", z.trouble)
	}
}

// A bus that takes the connection and then says nothing holds nobody up.
func TestSilentBus(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	z := newZone(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- z.Run(ctx) }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		z.Apply(t.Context(), []nat.Network{{ID: "a", Link: "lo"}})
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Apply waits for a bus that doesn't answer")
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestErrorCodes(t *testing.T) {
	err := dbus.Error{Name: service + ".Exception", Body: []any{"ZONE_CONFLICT: 'fwa' already bound to 'home'"}}
	for code, want := range map[string]bool{"ZONE_CONFLICT": true, "NAME_CONFLICT": false} {
		if got := is(err, code); got != want {
			t.Errorf("is(%v, %s) is %v", err, code, got)
		}
	}
}
