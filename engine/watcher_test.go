package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// A fakeEngine answers as a dockerd does, with what was seen of 20.10.24.
type fakeEngine struct {
	t        *testing.T
	socket   string
	version  string
	networks string // the answer to /networks, of which each can be asked for
	events   chan string
	// containers are the answers to /containers/ID/json, by ID.
	containers map[string]string

	mu    sync.Mutex
	asked []string
	fail  string // path that is answered with 500
}

func newFakeEngine(t *testing.T, networks string) *fakeEngine {
	return &fakeEngine{
		t: t, socket: filepath.Join(t.TempDir(), "docker.sock"), networks: networks, events: make(chan string, 10),
		version: `{"Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}`,
	}
}

// serve starts it; stop ends it at once, as kill -9 does.
func (f *fakeEngine) serve() (stop func()) {
	f.t.Helper()
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			s.Close()
			<-done
			os.Remove(f.socket)
		})
	}
	f.t.Cleanup(stop)
	return stop
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Path)
	path, fail := r.URL.Path, f.fail
	f.mu.Unlock()
	if rest, ok := strings.CutPrefix(path, "/v1."); ok {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	switch {
	case path == fail:
		http.Error(w, `{"message":"no\nway"}`, http.StatusInternalServerError)
	case path == "/version":
		fmt.Fprint(w, f.version)
	case path == "/info":
		fmt.Fprint(w, `{"DockerRootDir":"/srv/docker/100000.100000","SecurityOptions":["name=seccomp,profile=default","name=userns"]}`)
	case path == "/events":
		w.(http.Flusher).Flush()
		for {
			select {
			case e := <-f.events:
				fmt.Fprintln(w, e)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case path == "/containers/json":
		fmt.Fprint(w, `[{"Id":"42aa"},{"Id":"42bb"}]`)
	case strings.HasPrefix(path, "/containers/"):
		text, ok := f.containers[strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")]
		if !ok {
			http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
		}
		fmt.Fprint(w, text)
	case path == "/networks":
		f.list(w)
	default:
		f.inspect(w, strings.TrimPrefix(path, "/networks/"))
	}
}

// list answers without the containers, as engines do.
func (f *fakeEngine) list(w http.ResponseWriter) {
	var all []map[string]any
	if err := json.Unmarshal([]byte(f.networks), &all); err != nil {
		f.t.Error(err)
	}
	for _, n := range all {
		n["Containers"] = map[string]any{}
	}
	_ = json.NewEncoder(w).Encode(all)
}

func (f *fakeEngine) inspect(w http.ResponseWriter, id string) {
	var all []map[string]any
	_ = json.Unmarshal([]byte(f.networks), &all)
	for _, n := range all {
		if n["Id"] == id && n["Gone"] == nil {
			_ = json.NewEncoder(w).Encode(n)
			return
		}
	}
	http.Error(w, `{"message":"network `+id+` not found"}`, http.StatusNotFound)
}

const someNetworks = `[
{"Name":"none","Id":"05","Driver":"null","IPAM":{"Driver":"default","Options":null,"Config":[]}},
{"Name":"bridge","Id":"06","Driver":"bridge","IPAM":{"Driver":"default","Config":[{"Subnet":"172.17.0.0/16"}]},
 "Containers":{"x":{"Name":"other","EndpointID":"e9"}}},
{"Name":"web\u001b[2J\n","Id":"07","Driver":"fairway:latest","IPAM":{"Driver":"default","Config":[
  {"Subnet":"10.9.0.0/24","IPRange":"10.9.0.128/25","AuxiliaryAddresses":{"a":"10.9.0.5"}},{"Subnet":"fd00:9::/64","Gateway":"fd00:9::1/64"}]},
 "Containers":{
  "42aa":{"Name":"c2","EndpointID":"e1","MacAddress":"02:42:0a:09:00:81","IPv4Address":"10.9.0.129/24","IPv6Address":"fd00:9::2/64"},
  "ep-e2":{"Name":"gateway_x","EndpointID":"e2","IPv4Address":"10.9.0.130/24","IPv6Address":""}}},
{"Name":"removed meanwhile","Id":"08","Driver":"fairway","Gone":true,"IPAM":{"Driver":"fairway","Config":[{"Subnet":"10.1.0.0/16"}]}},
{"Name":"vlan","Id":"09","Driver":"macvlan","IPAM":{"Driver":"fairway","Config":[{"Subnet":"10.2.0.0/16","Gateway":"10.2.0.1"}]},
 "Containers":{"43":{"Name":"c3","EndpointID":"e3","IPv4Address":"10.2.0.7/16"}}},
{"Name":"sized","Id":"10","Driver":"fairway","IPAM":{"Driver":"fairway:latest","Config":[{"Subnet":"0.0.0.0/24"}]},
 "Containers":{"44":{"Name":"c4","EndpointID":"e4","IPv4Address":"10.3.4.7/24"}}},
{"Name":"empty","Id":"11","Driver":"fairway","IPAM":{"Driver":"fairway","Config":[{"Subnet":"0.0.0.0/24"},{"Subnet":"nonsense"}]}},
{"Name":"leased","Id":"12","Driver":"fairway","IPAM":{"Driver":"fairway","Options":{"source":"dhcp","parent":"eth0"},"Config":[{"Subnet":"0.0.0.0/0"}]},
 "Containers":{"45":{"Name":"c5","EndpointID":"e5","IPv4Address":"10.5.4.7/24"}}}
]`

// compareViews takes addresses by their value, and their order for nothing.
func compareViews() cmp.Options {
	return cmp.Options{
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b Pool) bool { return a.Subnet.String() < b.Subnet.String() }),
		cmpopts.SortSlices(func(a, b netip.Addr) bool { return a.Less(b) }),
	}
}

func TestView(t *testing.T) {
	f := newFakeEngine(t, someNetworks)
	f.serve()
	views := make(chan View, 1)
	w := New(Options{Socket: f.socket, Log: quiet(), Handle: func(_ context.Context, v View) { views <- v }})
	run(t, w)
	got := <-views
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	want := View{Engine: "/srv/docker", Version: "20.10.24+dfsg1", Networks: map[string]Network{
		"07": {
			Name: "web?[2J?", Driver: true,
			Subnets: []Subnet{{Prefix: p("10.9.0.0/24"), Aux: []netip.Addr{a("10.9.0.5")}}, {Prefix: p("fd00:9::/64"), Gateway: a("fd00:9::1")}},
			Endpoints: map[string]Endpoint{
				"e1": {ContainerID: "42aa", Name: "c2", IPv4: p("10.9.0.129/24"), IPv6: p("fd00:9::2/64")},
				"e2": {Name: "gateway_x", IPv4: p("10.9.0.130/24")},
			},
		},
		"09": {
			Name: "vlan", IPAM: true, Subnets: []Subnet{{Prefix: p("10.2.0.0/16"), Gateway: a("10.2.0.1")}},
			Endpoints: map[string]Endpoint{"e3": {ContainerID: "43", Name: "c3", IPv4: p("10.2.0.7/16")}},
		},
		"10": {
			Name: "sized", Driver: true, IPAM: true, Subnets: []Subnet{{Prefix: p("10.3.4.0/24")}},
			Endpoints: map[string]Endpoint{"e4": {ContainerID: "44", Name: "c4", IPv4: p("10.3.4.7/24")}},
		},
		"11": {Name: "empty", Driver: true, IPAM: true, Subnets: []Subnet{{}, {}}},
		"12": {
			Name: "leased", Driver: true, IPAM: true, Subnets: []Subnet{{Prefix: p("0.0.0.0/0")}},
			Endpoints: map[string]Endpoint{"e5": {ContainerID: "45", Name: "c5", IPv4: p("10.5.4.7/24")}},
		},
	}}
	if d := cmp.Diff(want, got, compareViews()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}

	pools, complete := got.Pools()
	wantPools := []Pool{
		{p("0.0.0.0/0"), []netip.Addr{a("10.5.4.7")}},
		{p("10.2.0.0/16"), []netip.Addr{a("10.2.0.1"), a("10.2.0.7")}},
		{p("10.3.4.0/24"), []netip.Addr{a("10.3.4.7")}},
	}
	if d := cmp.Diff(wantPools, pools, compareViews()); d != "" || complete {
		t.Errorf("complete %v, -want +got\n%s", complete, d)
	}
	delete(got.Networks, "11")
	if _, complete := got.Pools(); !complete {
		t.Error("every pool is told, but not complete")
	}
}

func TestChooseVersion(t *testing.T) {
	for _, c := range []struct{ highest, lowest, want string }{
		{"1.41", "1.12", "1.41"}, // 20.10
		{"1.45", "1.24", "1.44"}, // 26.1
		{"1.51", "1.24", "1.44"}, // 28.5
		{"1.52", "1.44", "1.44"}, // 29.0
		{"1.60", "1.50", "1.50"},
		{"2.1", "2.0", "2.0"},
		{"1.9", "1.5", "1.9"},
	} {
		if got := chooseVersion(c.highest, c.lowest); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.lowest, c.highest, got, c.want)
		}
	}
}

func TestEngineID(t *testing.T) {
	userns := []string{"name=seccomp", "name=userns"}
	for _, c := range []struct {
		root     string
		security []string
		want     string
	}{
		{"/var/lib/docker", nil, "/var/lib/docker"},
		{"/var/lib/docker/100000.100000", userns, "/var/lib/docker"},
		{"/var/lib/docker/1.2", nil, "/var/lib/docker/1.2"},
		{"/var/lib/docker", userns, "/var/lib/docker"},
		{"", nil, ""},
	} {
		if got := engineID(c.root, c.security); got != c.want {
			t.Errorf("%q: %q, want %q", c.root, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	for name, want := range map[string]string{
		"web-1.x_y":                  "web-1.x_y",
		"a\x1b]0;b\a\r\n\x00\u202ec": "a?]0;b????" + "?c",
		"\xff\xfe":                   "??",
		"größe 网":                    "größe 网",
		strings.Repeat("网", 100):     strings.Repeat("网", 42),
	} {
		if got := clean(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// An event of a fairway network makes the watcher look, others don't.
func TestEvents(t *testing.T) {
	f := newFakeEngine(t, someNetworks)
	f.serve()
	views := make(chan View, 10)
	asked := func() []string { return []string{"42aa", "43"} }
	w := New(Options{
		Socket: f.socket, Log: quiet(), Interval: time.Hour, Asked: asked,
		Handle: func(_ context.Context, v View) { views <- v },
	})
	w.pace.settle, w.pace.pause = time.Millisecond, time.Millisecond
	run(t, w)
	if v := <-views; !maps.Equal(v.Containers, map[string]bool{"42aa": true, "43": false}) {
		t.Errorf("containers %v, want 42aa and no 43", v.Containers)
	}
	network := func(driver string) string {
		return `{"Type":"network","Action":"connect","Actor":{"ID":"e3","Attributes":{"container":"42","name":"n","type":"` + driver + `"}},"scope":"local"}`
	}
	for _, e := range []string{
		network("fairway"), network("fairway:latest"), `{"Type":"container","Action":"rename","Actor":{}}`,
		`{"Type":"container","Action":"destroy","Actor":{"ID":"43"}}`,
	} {
		f.events <- e
		select {
		case <-views:
		case <-time.After(10 * time.Second):
			t.Errorf("no look after %s", e)
		}
	}
	f.events <- network("bridge")
	f.events <- `{"Type":"container","Action":"destroy","Actor":{"ID":"44"}}`
	f.events <- `{"Type":"container","Action":"create","Actor":{"Attributes":{"type":"fairway"}}}`
	select {
	case <-views:
		t.Error("a look after an event of another driver")
	case <-time.After(200 * time.Millisecond):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.asked, func(p string) bool { return p != "/version" && !strings.HasPrefix(p, "/v1.41/") }) {
		t.Errorf("asked %q", f.asked)
	}
}

// The engine comes late, fails, and restarts: views come again, and what it says
// while it fails is never taken for "nothing there".
func TestEngineComesAndGoes(t *testing.T) {
	f := newFakeEngine(t, someNetworks)
	log, hook := logtest.NewNullLogger()
	views := make(chan View, 10)
	w := New(Options{Socket: f.socket, Log: log, Handle: func(_ context.Context, v View) { views <- v }})
	w.pace.settle, w.pace.pause = time.Millisecond, time.Millisecond
	run(t, w)
	next := func(when string) {
		t.Helper()
		select {
		case v := <-views:
			if len(v.Networks) != 5 || v.Engine == "" {
				t.Errorf("%s: %d networks of %q", when, len(v.Networks), v.Engine)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no view", when)
		}
	}
	for range 3 { // refused all the while
		w.Refresh()
		time.Sleep(50 * time.Millisecond)
	}
	stop := f.serve()
	next("when it has come")
	stop()
	stop = f.serve()
	next("after a restart")
	f.mu.Lock()
	f.fail = "/networks/10"
	f.mu.Unlock()
	w.Refresh()
	select {
	case v := <-views:
		t.Errorf("a view with one network unreadable: %d networks", len(v.Networks))
	case <-time.After(500 * time.Millisecond):
	}
	f.mu.Lock()
	f.fail = ""
	f.mu.Unlock()
	next("after a failure")
	stop()

	told := 0
	for _, e := range hook.AllEntries() {
		if e.Level <= logrus.InfoLevel && strings.Contains(e.Message, "out of reach") {
			told++
			if err, ok := e.Data["error"].(error); !ok || strings.Contains(err.Error(), "\n") {
				t.Errorf("logs error %q", e.Data["error"])
			}
		}
	}
	if told < 2 || told > 4 {
		t.Errorf("%d times told that it's out of reach", told)
	}
}

func TestNoSocket(t *testing.T) {
	run(t, New(Options{Log: quiet()}))
}

// Many hints cause few looks, and a look that takes long makes the next one wait.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		cost  time.Duration // of a look
		every time.Duration // between hints, 0: none
		want  int           // looks in ten minutes, to one
	}{
		{"left alone", time.Millisecond, 0, 20},
		{"one hint in ten seconds", time.Millisecond, 10 * time.Second, 60},
		{"a hint each millisecond", time.Millisecond, time.Millisecond, 600},
		{"a slow engine", 2 * time.Second, time.Millisecond, 28},
		{"an engine slower than the interval", time.Minute, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				w := New(Options{})
				if c.every > 0 {
					go func() {
						for tick := time.NewTicker(c.every); ; {
							select {
							case <-ctx.Done():
								tick.Stop()
								return
							case <-tick.C:
								w.Refresh()
							}
						}
					}()
				}
				looks := 0
				err := w.pace.run(ctx, w.hints, w.waits, func() error { looks++; time.Sleep(c.cost); return nil })
				if err != nil || looks < c.want-1 || looks > c.want+1 {
					t.Errorf("%d looks, %v; want %d", looks, err, c.want)
				}
			})
		})
	}
}

// A hint is answered soon, and one that comes during a look by another look.
func TestPaceAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Options{})
		start := time.Now()
		var at []time.Duration
		enough := errors.New("enough")
		err := w.pace.run(t.Context(), w.hints, w.waits, func() error {
			at = append(at, time.Since(start))
			switch len(at) {
			case 1:
				w.Refresh()
				w.Refresh()
			case 2:
				time.AfterFunc(5*time.Second, w.Refresh)
			case 3:
				return enough
			}
			return nil
		})
		want := []time.Duration{0, time.Second, 6200 * time.Millisecond}
		if !errors.Is(err, enough) || !slices.Equal(at, want) {
			t.Errorf("looks at %v, %v; want %v", at, err, want)
		}
	})
}

func FuzzNetwork(f *testing.F) {
	var all []json.RawMessage
	if err := json.Unmarshal([]byte(someNetworks), &all); err != nil {
		f.Fatal(err)
	}
	for _, n := range all {
		f.Add([]byte(n))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var wire wireNetwork
		if json.Unmarshal(text, &wire) != nil {
			return
		}
		n := wire.network()
		names := []string{n.Name}
		for _, e := range n.Endpoints {
			names = append(names, e.Name, e.ContainerID)
		}
		for _, name := range names {
			if clean(name) != name {
				t.Errorf("name %q", name)
			}
		}
		pools, _ := View{Networks: map[string]Network{"n": n}}.Pools()
		for _, p := range pools {
			if !p.Subnet.IsValid() || p.Subnet != p.Subnet.Masked() {
				t.Errorf("pool %v", p.Subnet)
			}
		}
	})
}

// run runs a watcher until the test ends; it must end then.
func run(t *testing.T, w *Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func quiet() logrus.FieldLogger {
	log, _ := logtest.NewNullLogger()
	return log
}

// Who waits is answered by a look that began after the question, without the
// rest that a slow engine has; without an engine the wait ends with its context.
func TestLookForOneWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := New(Options{Socket: "/none"})
		looks := 0
		go func() {
			_ = w.pace.run(ctx, w.hints, w.waits, func() error { looks++; time.Sleep(2 * time.Second); return nil })
		}()
		time.Sleep(time.Second) // in the middle of the first
		start := time.Now()
		if err := w.Look(ctx); err != nil || looks != 2 || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %d looks, %v; want nil after the second, 3 s", err, looks, time.Since(start))
		}
		w.Refresh()
		time.Sleep(time.Second) // a hint waits for its rest: it is no obstacle
		start = time.Now()
		if err := w.Look(ctx); err != nil || looks != 3 || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %d looks, %v; want nil after the third, 2 s", err, looks, time.Since(start))
		}
		cancel()
		synctest.Wait()
		late, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if err := w.Look(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an engine: %v", err)
		}
	})
	if err := New(Options{}).Look(t.Context()); err == nil {
		t.Error("a look without a socket")
	}
}
