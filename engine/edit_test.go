package engine

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answering serves an engine's API by a handler and returns its socket.
func answering(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return socket
}

// What an engine is asked for when a network is made and removed, and what it says.
func TestEdit(t *testing.T) {
	var got string
	code, answer := http.StatusCreated, `{"Id":"abc","Warning":""}`
	e := Editor{Socket: answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			fmt.Fprint(w, `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
			return
		}
		var body any
		_ = json.NewDecoder(r.Body).Decode(&body)
		text, _ := json.Marshal(body)
		got = r.Method + " " + r.URL.Path + " " + string(text)
		w.WriteHeader(code)
		fmt.Fprint(w, answer)
	})}
	spec := Spec{
		Name: "backbone", Internal: true, IPv6: true, Options: map[string]string{"mode": "overlay"},
		IPAMOptions: map[string]string{"segment": "bone"}, Labels: map[string]string{"tier": "1"},
		Subnets: []Subnet{
			{Prefix: netip.MustParsePrefix("10.40.0.0/16"), Gateway: netip.MustParseAddr("10.40.0.9")},
			{Prefix: netip.MustParsePrefix("fd00:40::/64")},
		},
	}
	if err := e.Make(t.Context(), spec); err != nil {
		t.Error(err)
	}
	want := `POST /v1.41/networks/create {"CheckDuplicate":true,"Driver":"fairway","EnableIPv6":true,"IPAM":{"Config":[` +
		`{"Gateway":"10.40.0.9","Subnet":"10.40.0.0/16"},{"Subnet":"fd00:40::/64"}],"Driver":"fairway","Options":{"segment":"bone"}},` +
		`"Internal":true,"Labels":{"tier":"1"},"Name":"backbone","Options":{"mode":"overlay"}}`
	if got != want {
		t.Errorf("asked for\n%s\nwant\n%s", got, want)
	}
	code, answer = http.StatusNoContent, ""
	if err := e.Remove(t.Context(), "abc"); err != nil || got != "DELETE /v1.41/networks/abc null" {
		t.Errorf("%v; %s", err, got)
	}
	code = http.StatusNotFound
	if err := e.Remove(t.Context(), "abc"); err != nil {
		t.Errorf("removed already: %v", err)
	}
	code, answer = http.StatusForbidden, `{"message":"error while removing network:\n has active endpoints `+strings.Repeat("x", 1000)+`"}`
	err := e.Remove(t.Context(), "abc")
	line, ok := Refusal(err)
	if !ok || !strings.HasPrefix(line, "error while removing network:? has active endpoints") || len(line) > lineMax {
		t.Errorf("refused: %q, %v: %v", line, ok, err)
	}
	for _, out := range []Editor{{}, {Socket: "/nonexistent/docker.sock"}} {
		err := out.Make(t.Context(), spec)
		if _, ok := Refusal(err); err == nil || ok {
			t.Errorf("without an engine: %v", err)
		}
	}
}

// Whose networks they are is asked for where a label says that it matters.
func TestHeld(t *testing.T) {
	e := Editor{Socket: answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/v1.44") {
		case "/version":
			fmt.Fprint(w, `{"ApiVersion":"1.51","MinAPIVersion":"1.24"}`)
		case "/networks":
			fmt.Fprint(w, `[{"Name":"backbone","Id":"01","Driver":"fairway:latest","Labels":{"l":"x"}},{"Name":"backbone","Id":"02","Driver":"bridge","Labels":{}},
				{"Name":"other","Id":"03","Driver":"fairway"},{"Name":"going","Id":"04","Driver":"fairway","Labels":{"l":""}}]`)
		case "/networks/01":
			fmt.Fprint(w, `{"Name":"backbone","Id":"01","Containers":{"c1":{"Name":"web\u001b[2J"},"c0":{"Name":"db"}}}`)
		case "/containers/json":
			if filters := r.URL.Query().Get("filters"); filters != `{"network":["01"]}` || r.URL.Query().Get("all") != "1" {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			fmt.Fprint(w, `[{"Id":"c1","Names":["/web"]},{"Id":"c2","Names":["/job"]},{"Id":"c0","Names":["/db"]},{"Id":"c3","Names":[]}]`)
		default:
			http.Error(w, `{"message":"gone"}`, http.StatusNotFound)
		}
	})}
	got, err := e.Held(t.Context(), "l", func(name string, _ map[string]string) bool { return name != "other" })
	want := []Held{
		{ID: "01", Name: "backbone", Ours: true, Labels: map[string]string{"l": "x"}, Attached: []string{"db", "web?[2J"}, Stopped: []string{"job"}},
		{ID: "02", Name: "backbone", Labels: map[string]string{}},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, -want +got\n%s", err, d)
	}
}
