//go:build kernel

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"fairway/inspect"
)

// TestInspect looks at a network and a container from each side, sees harm, and
// says the same with the daemon down.
func TestInspect(t *testing.T) {
	w := newWard(t)
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", `"mtu":"1400"`)
	w.endpoint(t, "web", "box", "10.98.0.2/24", "", [2]int{8080, 80})
	look := func(name string) inspect.Report {
		t.Helper()
		out, err := w.try(t, "fairway inspect --json "+name)
		if err != nil {
			t.Fatalf("inspect %s: %v\n%s", name, err, out)
		}
		holdJSON(t, "inspect", []byte(out))
		var r inspect.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	n := look("web")
	if len(n.Networks) != 1 || n.Networks[0].Link == nil || n.Networks[0].Link.MTU != 1400 || len(n.Networks[0].Endpoints) != 1 || n.Networks[0].Engine.Unasked == "" {
		t.Fatalf("network: %+v", n)
	}
	for _, o := range n.Networks[0].Kernel {
		if o.Differs != "" {
			t.Errorf("healthy, and %+v", o)
		}
	}
	asked := 0
	for _, o := range n.Networks[0].Options {
		if o.Asked != nil {
			asked++
			if o.Name != "mtu" || *o.Asked != "1400" || o.Effective != "1400" {
				t.Errorf("option %+v", o)
			}
		}
	}
	if asked != 1 || len(n.Networks[0].Options) < 10 {
		t.Errorf("%d of %d options were asked for, want the MTU among all: %+v", asked, len(n.Networks[0].Options), n.Networks[0].Options)
	}
	bridge := n.Networks[0].Record.Link
	e := look("box").Endpoints
	if len(e) != 1 || e[0].Link == nil || e[0].Link.Master != bridge || e[0].Inside == nil || len(e[0].Inside.Links) != 1 || len(e[0].Ports) != 2 || e[0].Ports[0].ReachableFrom != "all" {
		t.Fatalf("container: %+v", e)
	}
	if in := e[0].Inside; in.Links[0].Name != "eth0" || len(in.Links[0].Addresses) == 0 || in.Links[0].Addresses[0].String() != "10.98.0.2/24" || !strings.Contains(strings.Join(in.Routes, "\n"), "default via 10.98.0.1 dev eth0") {
		t.Errorf("inside: %+v", in)
	}
	if r := look(e[0].Link.Name); len(r.Links) != 1 || len(r.Endpoints) != 1 || len(r.Links[0].Of) != 1 {
		t.Errorf("link: %+v", r)
	}
	a := look("10.98.0.2")
	if len(a.Addresses) != 1 || len(a.Addresses[0].Neighbours) != 1 || a.Addresses[0].Neighbours[0].State != "permanent" || len(a.Endpoints) != 1 {
		t.Errorf("address: %+v", a)
	}
	if out, err := w.try(t, "fairway inspect nobody"); err == nil {
		t.Errorf("inspect nobody: %s", out)
	}
	w.sh(t, "systemctl stop fairway && ip link set "+bridge+" mtu 1300 && ip address del 10.98.0.1/24 dev "+bridge)
	n = look("web")
	differs := ""
	for _, o := range n.Networks[0].Kernel {
		differs += o.Differs
	}
	if n.Daemon != "" || differs == "" {
		t.Errorf("harmed, with the daemon down: daemon %q, differs %q", n.Daemon, differs)
	}
	if e := look("10.98.0.2").Endpoints; len(e) != 1 || len(e[0].Ports) != 2 || e[0].Ports[0].ReachableFrom != "unknown" {
		t.Errorf("with the daemon down: %+v", e)
	}
	if text := w.sh(t, "fairway inspect web"); !strings.Contains(text, "BAD ") || !strings.Contains(text, "the daemon doesn't answer") {
		t.Errorf("printed:\n%s", text)
	}
}
