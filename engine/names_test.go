package engine

import (
	"slices"
	"strings"
	"testing"
)

// What an engine tells of containers on an overlay network: of 20.10, and of 28.5
// with DNSNames; one is removed meanwhile.
const (
	spanning = `[{"Name":"bone","Id":"20","Driver":"fairway","Options":{"mode":"overlay","segment":"bone"},"Containers":{
 "c1":{"Name":"web","EndpointID":"e1"},"c2":{"Name":"db","EndpointID":"e2"},"c3":{"Name":"gone","EndpointID":"e3"},"ep-x":{"Name":"x","EndpointID":"e4"}}},
{"Name":"other","Id":"21","Driver":"fairway","Options":{"mode":"bridge"},"Containers":{"c1":{"Name":"web","EndpointID":"e5"}}}]`
	oldContainer = `{"NetworkSettings":{"Networks":{"bone":{"NetworkID":"20","Aliases":["front","0123456789ab","front"]},"other":{"NetworkID":"21","Aliases":["elsewhere"]}}}}`
	newContainer = `{"NetworkSettings":{"Networks":{"bone":{"NetworkID":"20","Aliases":["b\u001b"],"DNSNames":["db","0123456789ac","host"]}}}}`
)

func TestNames(t *testing.T) {
	f := newFakeEngine(t, spanning)
	f.containers = map[string]string{"c1": oldContainer, "c2": newContainer}
	f.serve()
	c := newClient(f.socket)
	defer c.close()
	look := func() Network {
		t.Helper()
		v, err := c.look(t.Context(), "id", nil)
		if err != nil {
			t.Fatal(err)
		}
		if names := v.Networks["21"].Endpoints["e5"].Names; names != nil {
			t.Errorf("names on a bridge: %q", names)
		}
		return v.Networks["20"]
	}
	asked := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, path := range f.asked {
			if strings.HasPrefix(path, "/containers/c1/") || strings.HasPrefix(path, "/containers/c2/") {
				n++
			}
		}
		return n
	}
	for range 2 {
		n := look()
		for id, want := range map[string][]string{
			"e1": {"web", "0123456789ab", "front"}, "e2": {"db", "0123456789ac", "b?", "host"}, "e3": nil, "e4": nil,
		} {
			if got := n.Endpoints[id].Names; !slices.Equal(got, want) {
				t.Errorf("%s is %q, want %q", id, got, want)
			}
		}
		if asked() != 2 {
			t.Errorf("asked %d times for two containers", asked())
		}
	}
	f.networks = strings.Replace(spanning, `"Name":"web","EndpointID":"e1"`, `"Name":"renamed","EndpointID":"e1"`, 1)
	if got := look().Endpoints["e1"].Names; got[0] != "renamed" || asked() != 3 {
		t.Errorf("renamed: %q, asked %d times", got, asked())
	}
	f.networks = "[]"
	if look(); len(c.names) != 0 {
		t.Errorf("remembers %v", c.names)
	}
}
