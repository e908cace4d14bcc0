package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// oneOfEach returns a state directory with one record of each kind, and them.
func oneOfEach(t *testing.T) (string, Records) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	err := s.Commit(t.Context(),
		PutNetwork(Network{ID: "n", Name: "web <&>", Options: map[string]string{"mtu": "1400"}}),
		PutEndpoint(Endpoint{ID: "e", Network: "n", Sandbox: "/run/netns/x"}), PutEndpoint(Endpoint{ID: "f", Network: "n"}),
		PutPool(Pool{ID: "p", Space: "s", Subnet: subnet}),
		PutAddress(Address{Space: "s", Subnet: subnet, IP: subnet.Addr().Next()}),
		PutLivePorts(LivePorts{Network: "n", ContainerID: "c"}))
	if err != nil {
		t.Fatal(err)
	}
	records := mustRecords(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

// What is exported and imported is the same store, whatever the form.
func TestExportImport(t *testing.T) {
	dir, want := oneOfEach(t)
	d, err := ReadDump(File(dir))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Attached(); n != 1 || err != nil || d.Count("endpoints") != 2 {
		t.Errorf("%d attached of %d, %v: want 1 of 2", n, d.Count("endpoints"), err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(File(dir))
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string][]byte{"JSON": text, "a copy": file} {
		to := t.TempDir()
		if old, err := Import(to, bytes.NewReader(form), false); err != nil || old != "" {
			t.Fatalf("%s: %q, %v", name, old, err)
		}
		s := open(t, to, Options{})
		if diff := cmp.Diff(want, mustRecords(t, s), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if s.Instance() != d.Instance {
			t.Errorf("%s: instance %s, want %s", name, s.Instance(), d.Instance)
		}
		if _, err := Import(to, bytes.NewReader(form), true); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: import below a daemon: %v", name, err)
		}
		if _, err := ReadDump(File(to)); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: read below a daemon: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Import(to, bytes.NewReader(form), false); err == nil || !strings.Contains(err.Error(), "records already") {
			t.Errorf("%s: import over records: %v", name, err)
		}
		old, err := Import(to, bytes.NewReader(form), true)
		if err != nil {
			t.Fatal(err)
		}
		if before, err := ReadDump(old); err != nil || before.Count("endpoints") != 2 {
			t.Errorf("%s: the old file: %v, %v", name, before.Records, err)
		}
	}
}

// A refused import changes nothing.
func TestImportRefuses(t *testing.T) {
	dir, _ := oneOfEach(t)
	before, err := os.ReadFile(File(dir))
	if err != nil {
		t.Fatal(err)
	}
	empty := Dump{Version: dumpVersion, Schema: currentSchema().version(), Instance: "01234567", Records: map[string]map[string]json.RawMessage{}}
	for _, k := range kinds() {
		if k != kindNetwork {
			empty.Records[string(k)] = map[string]json.RawMessage{}
		}
	}
	text, err := json.Marshal(empty)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{
		"":     ErrDamaged,
		"{":    ErrDamaged,
		"bolt": ErrDamaged,
		`{"version":1,"schema":2,"instance":"01234567","records":{},"more":1}`:   ErrDamaged,
		`{"version":2,"schema":2,"instance":"01234567","records":{}}`:            ErrNewer,
		`{"version":1,"schema":9,"instance":"01234567","records":{}}`:            ErrNewer,
		`{"version":1,"schema":0,"instance":"01234567","records":{}}`:            ErrDamaged,
		`{"version":1,"schema":2,"instance":"","records":{}}`:                    ErrDamaged,
		`{"version":1,"schema":2,"instance":"01234567","records":{"dreams":{}}}`: ErrNewer,
		string(before[:9000]): ErrDamaged,
	} {
		if _, err := Import(dir, strings.NewReader(text), true); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{
		fmt.Sprintf(`{"version":1,"schema":%d,"instance":"01234567","records":{}}`, currentSchema().version()),
		strings.Replace(string(text), `"records":{`, `"records":{"networks":{"n":{"Dream":1}},`, 1),
	} {
		if _, err := Import(dir, strings.NewReader(text), true); err == nil {
			t.Errorf("%.90q: accepted", text)
		}
	}
	after, err := os.ReadFile(File(dir))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is another one, %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 { // and the lock
		t.Errorf("left: %v, %v", left, err)
	}
}

// A dump of the schema before is brought up when a daemon opens it.
func TestImportOlder(t *testing.T) {
	dir, _ := oneOfEach(t)
	d, err := ReadDump(File(dir))
	if err != nil {
		t.Fatal(err)
	}
	d.Schema = 1
	delete(d.Records, "live-ports")
	delete(d.Records, "leases")
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if _, err := Import(to, bytes.NewReader(text), false); err != nil {
		t.Fatal(err)
	}
	if d, err := ReadDump(File(to)); err != nil || d.Schema != 1 {
		t.Errorf("schema %d, %v: want 1", d.Schema, err)
	}
	if r := mustRecords(t, open(t, to, Options{})); len(r.Endpoints) != 2 || len(r.LivePorts) != 0 {
		t.Errorf("records %+v", r)
	}
}

// Remove removes what is the store's and leaves what isn't.
func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("below a daemon: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "mine" {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := Remove(filepath.Join(dir, "none")); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}
