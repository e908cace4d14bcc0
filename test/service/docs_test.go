//go:build release

package service

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A block is one of shell in a page, and what a comment before it says of it:
// "until Ctrl-C", "exits CODE" and "prints TEXT", separated by commas.
type block struct {
	line   int
	script string
	ctrlC  bool
	exits  int
	prints string
}

// blocks returns the blocks of a page, in order.
func blocks(t *testing.T, page string) (out []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range regexp.MustCompile("(?m)^(?:<!-- test: (.*) -->\n)?```sh\n((?:.*\n)*?)```$").FindAllSubmatchIndex(text, -1) {
		b := block{line: 1 + strings.Count(string(text[:at[4]]), "\n"), script: string(text[at[4]:at[5]])}
		if at[2] >= 0 {
			for rule := range strings.SplitSeq(string(text[at[2]:at[3]]), ", ") {
				word, rest, _ := strings.Cut(rule, " ")
				switch {
				case rule == "until Ctrl-C":
					b.ctrlC = true
				case word == "exits":
					b.exits, err = strconv.Atoi(rest)
				case word == "prints":
					b.prints = rest
				default:
					err = errors.New("unknown")
				}
				if err != nil {
					t.Fatalf("%s:%d: %q: %v", page, b.line, rule, err)
				}
			}
		}
		out = append(out, b)
	}
	return out
}

// hostScript makes the machine one that a reader may have: sudo, images, and a
// make that knows what the repository's does. People type more slowly than a test:
// curl waits for a server that is just starting.
const hostScript = `set -e
mkdir -p /root/fairway /usr/local/bin
printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo
printf '#!/bin/sh\nexec /usr/bin/curl --silent --show-error --fail --retry 20 --retry-all-errors --retry-delay 1 "$@"\n' >/usr/local/bin/curl
cat >/usr/local/bin/make <<'END'
#!/bin/sh
case $1 in
build) mkdir -p bin && cp /files/fairway1 bin/fairway ;;
demo | test) ;; # of a machine with Go: see TestMake
*) exit 1 ;;
esac
END
chmod 755 /usr/local/bin/*
docker tag box busybox
docker run --name nginx box sh -c 'echo Hello >/index.html'
docker commit -c 'CMD ["httpd", "-f", "-p", "80", "-h", "/"]' nginx nginx
docker rm nginx
`

// TestDocs types every block of shell in the README and the tutorial, each page on
// a machine of its own.
func TestDocs(t *testing.T) {
	for page, files := range map[string]func(*testing.T) string{
		"README.md":        func(t *testing.T) string { return programs(t, "1") },
		"docs/tutorial.md": packaged,
	} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			m := boot(t, files(t))
			m.docker()
			m.sh(hostScript)
			m.sh("cp /files/*.deb /root/fairway || :")
			all := blocks(t, filepath.Join("../..", page))
			if len(all) < 5 {
				t.Fatalf("only %d blocks", len(all))
			}
			for _, b := range all {
				if b.ctrlC {
					m.interrupted(page, b)
				} else {
					m.typed(page, b)
				}
				if t.Failed() {
					return // what follows stands on it
				}
			}
		})
	}
}

// packaged returns a directory with a package of fairway's, and the probe.
func packaged(t *testing.T) string {
	t.Helper()
	dir, deb := programs(t), one(t, release(t, "0.1.0"), "*.deb")
	if err := os.Link(deb, filepath.Join(dir, filepath.Base(deb))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// typed runs a block.
func (m *machine) typed(page string, b block) {
	m.t.Helper()
	out, err := m.try("set -e\ncd /root/fairway\n" + b.script)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = -1
	}
	if code != b.exits || !strings.Contains(out, b.prints) {
		m.t.Errorf("%s:%d:\n%sexit %d, want %d and %q (%v):\n%s", page, b.line, b.script, code, b.exits, b.prints, err, out)
	}
}

// interrupted runs a block until the daemon in it is ready, and then types Ctrl-C.
func (m *machine) interrupted(page string, b block) {
	m.t.Helper()
	m.sh("cat >/run/block <<'END'\nset -e\ncd /root/fairway\n" + b.script + "END\nsetsid sh /run/block >/run/block.log 2>&1 & echo $! >/run/block.pid")
	m.await(page+": the daemon is ready", func() error {
		if out, err := m.try("/files/fairway1 status --check ready"); err != nil {
			log, _ := m.try("cat /run/block.log")
			return fmt.Errorf("%s:\n%s%s %s", page, b.script, out, log)
		}
		return nil
	})
	m.sh("kill -s INT -- -$(cat /run/block.pid)")
	m.await(page+": Ctrl-C ends it", func() error {
		if _, err := m.try("kill -s 0 -- -$(cat /run/block.pid)"); err == nil {
			return errors.New("it runs on")
		}
		return nil
	})
}

// TestMake: the pages ask make for what it knows, and what shows fairway at work
// does.
func TestMake(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "docs/tutorial.md", "docs/install.md", "docs/plugin.md", "docs/testing.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9-]+)").FindAllSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+string(m[1])+":") {
				t.Errorf("%s: make %s: the Makefile has no such target", page, m[1])
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "demo").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Hello from") {
		t.Errorf("make demo: %v\n%s", err, out)
	}
}
