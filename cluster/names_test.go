package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairway/store"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"Web", "web", "web_1.x-y"}, []string{"web", "web_1.x-y"}},
		{[]string{"", ".", "a..b", ".a", "a.", "a b", "a/b", "../a", "a;b", "$(a)", "ä", "a\x00", "*"}, nil},
		{[]string{long, long + "a", long + "." + long, long + "." + long + "." + long}, []string{long, long + "." + long}},
	} {
		if got := Names(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint("n", i))
	}
	if got := Names(many); len(got) != namesMax {
		t.Errorf("%d names", len(got))
	}
}

// An endpoint whose names are no names is one: it is reached by its address.
func TestNamesOfPeer(t *testing.T) {
	v := newView(0)
	value := []byte(`{"id":"e1","mac":"02:00:00:00:00:01","ipv4":"10.1.0.2","names":["ok","../x","O K"]}`)
	if _, _, err := v.put(store.ClusterEntry{Key: endpointKey("bone", "b", "e1"), Value: value, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	if got := v.endpoints["bone"]["b/e1"].Names; !slices.Equal(got, []string{"ok"}) {
		t.Errorf("names %q", got)
	}
}
