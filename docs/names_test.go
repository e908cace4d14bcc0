package docs

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"fairway/bridge"
	"fairway/ipam"
	"fairway/macvlan"
	"fairway/overlay"
	"fairway/store"
	"fairway/transparent"
)

// TestOptionExamples tries every -o name=value that the documents tell people
// to type.
func TestOptionExamples(t *testing.T) {
	example := regexp.MustCompile(`-o (?:'([^'=]+)=([^']+)'|([a-z0-9_.]+)=([^\s` + "`" + `')|,:]+))`)
	refusals := regexp.MustCompile("<!-- test: exits 1.* -->\n```sh\n(?:.*\n)*?```\n") // likewise
	tried := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		prose, _, _ := strings.Cut(string(text), "<!-- refused settings") // wrong on purpose
		prose = refusals.ReplaceAllString(prose, "")
		for _, mode := range []string{"macvlan", "ipvlan", "vlan", "transparent"} {
			prose, _, _ = strings.Cut(prose, "<!-- "+mode+" refusals")
		}
		for _, m := range example.FindAllStringSubmatch(prose, -1) {
			name, value := m[1]+m[3], m[2]+m[4]
			if value == "…" || value == "key=value" || name == "key" {
				continue
			}
			tried++
			_, err := bridge.ParseOptions(map[string]string{name: value})
			own := map[string]string{name: value}
			if name == "vlan" {
				own["parent"] = "eth0"
			}
			_, of := macvlan.ParseOptions(own)
			_, ip := macvlan.ParseIPvlanOptions(own)
			_, on := transparent.ParseOptions(map[string]string{name: value})
			_, over := overlay.ParseOptions(map[string]string{"segment": "s", name: value})
			if err != nil && of != nil && ip != nil && on != nil && over != nil {
				t.Errorf("%s: %s: %v", page, m[0], err)
			}
		}
	}
	if tried < 8 {
		t.Errorf("found only %d examples", tried)
	}
}

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Begin(...store.Change) <-chan error {
	done := make(chan error, 1)
	done <- nil
	return done
}

// ipamRows returns the table of --ipam-opt. What is allowed is what a refusal
// says; the default is tried.
func ipamRows(t *testing.T) string {
	t.Helper()
	a, err := ipam.New(ipam.Options{Store: nowhere{}}, store.NewRecords())
	if err != nil {
		t.Fatal(err)
	}
	request := func(name, value string) error {
		_, err := a.RequestPool(context.Background(), ipam.PoolSpec{Space: ipam.SpaceLocal, Options: pairs(name, value)})
		return err
	}
	var b strings.Builder
	b.WriteString("| `--ipam-opt` | default | allowed | meaning |\n|---|---|---|---|\n")
	for _, o := range []struct{ name, standard, meaning string }{
		{"shared", "false", "Several networks lie in one subnet, each with an `--ip-range` of its own; all of them must say so."},
		{"source", "local", "Where addresses come from: fairway, or the DHCP servers of a LAN ([dhcp.md](dhcp.md))."},
		{"parent", "", "With `source=dhcp`: link of the host on whose LAN the servers are."},
		{"segment", "", "The pool is that of a segment, shared with the other hosts of the cluster ([overlay.md](overlay.md))."},
	} {
		if o.standard == "" {
			o.standard = "none"
		} else if err := request(o.name, o.standard); err != nil {
			t.Errorf("ipam-opt %s: default: %v", o.name, err)
		}
		err := request(o.name, "a/b")
		if err == nil {
			t.Fatalf("ipam-opt %s takes anything", o.name)
		}
		_, allowed, ok := strings.Cut(err.Error(), ": want ")
		if !ok {
			t.Errorf("ipam-opt %s: %v", o.name, err)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", o.name, o.standard, cell(allowed), o.meaning)
	}
	return b.String()
}
