package store

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store in dir. When the test ends, the store is closed and bbolt's
// own check and ours must both find the file whole.
func open(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		check(t, s.path)
	})
	return s
}

func check(t testing.TB, path string) {
	t.Helper()
	if err := verify(path); err != nil {
		t.Error(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt's check of %s: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// sample is one record of each kind, the n-th of its kind, with every field set.
func sample(n int) []Change {
	ip := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	subnet := netip.MustParsePrefix("10.0.0.0/8")
	at := time.Date(2026, 8, 1, 12, 0, 0, n, time.UTC)
	binding := PortBinding{Proto: 6, HostIP: ip, HostPort: 80, HostPortEnd: 90, IP: ip, Port: 8080}
	id := func(kind string) string { return fmt.Sprintf("%s%060d", kind, n) }
	return []Change{
		PutNetwork(Network{
			ID: id("net"), Engine: "/var/lib/docker", Namespace: "/run/netns/x", Created: at, Name: "web", Confirmed: true,
			Mode: "bridge", Options: map[string]string{"mtu": "1400"}, Internal: true, IPv4: true, IPv6: true,
			Subnets: []Subnet{{Space: "fairway-local", Prefix: subnet, Gateway: ip, Aux: map[string]netip.Addr{"a": ip}}},
			Link:    "fwb1", Adopted: true, AdoptedAddresses: []netip.Prefix{subnet},
			AdoptedSysctls: map[string]string{"net/ipv4/conf/fwb1/route_localnet": "1"}, MAC: "02:00:00:00:00:01", MTU: 1400,
		}),
		PutEndpoint(Endpoint{
			ID: id("ep"), Network: id("net"), Engine: "/var/lib/docker", Created: at, MAC: "02:00:00:00:00:02",
			IPv4: netip.PrefixFrom(ip, 8), IPv6: netip.MustParsePrefix("fd00::1/64"), Options: map[string]string{"a": "b"},
			HostLink: "fwv1", Inside: "fwi1", Sandbox: "/var/run/docker/netns/1", Confirmed: true,
			Requested: []PortBinding{binding}, Published: []PortBinding{binding}, Container: "c", ContainerID: "abc",
		}),
		PutPool(Pool{ID: id("pool"), Engine: "/d", Space: "fairway-local", Subnet: subnet, Range: subnet, Options: map[string]string{}, Created: at, Confirmed: true}),
		PutAddress(Address{
			Space: "fairway-local", Subnet: subnet, IP: ip, Engine: "/d", Pool: id("pool"), Kind: KindGateway, Name: "c",
			MAC: "02:00:00:00:00:03", Created: at, Released: at, Confirmed: true,
		}),
	}
}

func mustRecords(t testing.TB, s *Store) Records {
	t.Helper()
	r, err := s.Records()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func diff(want, got Records) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
}

func TestRecordsSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir, Options{})
	want := NewRecords()
	for n := range 300 {
		changes := sample(n)
		if n%3 == 0 { // zero values come back as they went
			changes = []Change{PutNetwork(Network{ID: fmt.Sprint(n)}), PutEndpoint(Endpoint{ID: fmt.Sprint(n)}), PutPool(Pool{ID: fmt.Sprint(n)})}
		}
		if n > 10 && n%2 == 0 {
			changes = append(changes, DeleteEndpoint(fmt.Sprint(n-2)), DeleteNetwork("never there"))
		}
		want.Apply(changes...)
		if err := s.Commit(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
	}
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("before close: -want +got\n%s", d)
	}

	// What a crash leaves: the file as it is, and a lock that nobody holds.
	crashed := t.TempDir()
	for _, name := range []string{fileName, lockName} {
		copyFile(t, filepath.Join(dir, name), filepath.Join(crashed, name))
	}
	log, hook := logtest.NewNullLogger()
	after := open(t, crashed, Options{Log: log})
	if d := diff(want, mustRecords(t, after)); d != "" {
		t.Errorf("after a crash: -want +got\n%s", d)
	}
	if e := hook.LastEntry(); e == nil || e.Data["pid"] != fmt.Sprint(os.Getpid()) {
		t.Errorf("a stale lock is not logged: %v", e)
	}

	instance := s.Instance()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	hook.Reset()
	s = open(t, dir, Options{Log: log})
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("after close and open: -want +got\n%s", d)
	}
	if s.Instance() != instance || len(instance) != 8 || strings.Trim(instance, "0123456789abcdef") != "" {
		t.Errorf("instance %q, was %q", s.Instance(), instance)
	}
	if e := hook.LastEntry(); e != nil {
		t.Errorf("an orderly start logs %q", e.Message)
	}
	wantMode(t, dir, os.ModeDir|0o700)
	wantMode(t, filepath.Join(dir, fileName), 0o600)
	wantMode(t, filepath.Join(dir, lockName), 0o600)
}

// A record doesn't change after Begin, whatever its caller does with its maps.
func TestBeginTakesACopy(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	n := Network{ID: "n", Options: map[string]string{"mtu": "1400"}}
	done := s.Begin(PutNetwork(n))
	n.Options["mtu"] = "9000"
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := mustRecords(t, s).Networks["n"].Options["mtu"]; got != "1400" {
		t.Errorf("mtu is %s after the caller changed its map", got)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	_, err := Open(dir, Options{})
	want := fmt.Sprintf("store: %s is in use by another fairway daemon (pid %d)", dir, os.Getpid())
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("second Open: %v, want %s", err, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := s.Commit(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, err := s.Backup(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Backup after Close: %v", err)
	}
	open(t, dir, Options{})
}

// Another program, such as bbolt's own, may have the file open.
func TestFileHeldByOther(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another program has the file open") {
		t.Errorf("Open: %v", err)
	}
}

func TestMissingFileBesideBackups(t *testing.T) {
	dir := t.TempDir()
	log, hook := logtest.NewNullLogger()
	s := open(t, dir, Options{Log: log})
	backup, err := s.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{Log: log})
	if e := hook.LastEntry(); e == nil || e.Level != logrus.WarnLevel || e.Data["backup"] != backup {
		t.Errorf("starting empty beside a backup logs %v", e)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != want {
		t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
	}
}
