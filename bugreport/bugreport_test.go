package bugreport

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestPack(t *testing.T) {
	var b bytes.Buffer
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	parts := []Part{
		{Name: "a.txt", Make: func(context.Context) ([]byte, error) { return []byte("web and webb"), nil }},
		{Name: "kernel/b.txt", Make: func(context.Context) ([]byte, error) { return []byte("half"), errors.New("web: gone") }},
	}
	if err := Pack(t.Context(), &b, "report", at, parts, Anonymous([]string{"web"}, "")); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || h.Mode != 0o600 || !h.ModTime.Equal(at) {
			t.Errorf("%s: %v, %+v", h.Name, err, h)
		}
		got = append(got, h.Name+"="+strings.TrimSpace(string(text)))
	}
	web := string(Anonymous([]string{"web"}, "")([]byte("web")))
	want := "report/a.txt=" + web + " and webb, report/kernel/b.txt.error=" + web + ": gone, report/kernel/b.txt=half"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAnonymous(t *testing.T) {
	clean := Anonymous([]string{"web", "web-db", "x", ""}, "salt")
	name := func(n string) string { return string(clean([]byte(n))) }
	if name("web") == name("web-db") || !strings.HasPrefix(name("web"), "name-") || name("web") == string(Anonymous([]string{"web"}, "other")([]byte("web"))) {
		t.Errorf("%q %q", name("web"), name("web-db"))
	}
	for text, want := range map[string]string{
		`"container": "web", "x"`: `"container": "` + name("web") + `", "x"`,
		"web web,web":             name("web") + " " + name("web") + "," + name("web"),
		"webb my-web web_1":       "webb my-web web_1",
		"web-db.":                 name("web-db") + ".",
	} {
		if got := name(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Nothing of other people's rules passes.
func TestOwnRules(t *testing.T) {
	saved := `# Generated
*filter
:INPUT ACCEPT [0:0]
:FAIRWAY-FORWARD - [0:0]
:CANARY - [0:0]
-A FORWARD -m comment --comment fairway:1 -j FAIRWAY-FORWARD
-A FORWARD -m comment --comment "canary FAIRWAY-FORWARD" -j ACCEPT
-A FORWARD -m comment --comment "canary" -j FAIRWAY-FORWARD
-A FAIRWAY-FORWARD -i fwb1 -j ACCEPT
-A CANARY -s 192.0.2.1/32 -j DROP
COMMIT
`
	want := `*filter
:FAIRWAY-FORWARD - [0:0]
-A FORWARD -m comment --comment fairway:1 -j FAIRWAY-FORWARD
-A FORWARD -m comment --comment "…" -j FAIRWAY-FORWARD
-A FAIRWAY-FORWARD -i fwb1 -j ACCEPT
`
	if got := string(ownComments(ownChains([]byte(saved)), "fairway:1")); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	text := `accept comment "fairway 17ab" drop comment "canary"`
	if got := string(ownComments([]byte(text), "17ab")); got != `accept comment "fairway 17ab" drop comment "…"` {
		t.Errorf("comments: %s", got)
	}
}
