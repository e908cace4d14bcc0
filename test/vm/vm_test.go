//go:build vm

package vm

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKernel6_1 boots the machine and repeats what its tests said. A test that
// failed, was skipped or never ran there fails here, and so does a machine that
// panics or hangs.
func TestKernel6_1(t *testing.T) {
	out, err := exec.Command("./prepare").Output()
	if err != nil {
		t.Fatalf("prepare: %v\n%s", err, stderr(err))
	}
	root := strings.TrimSpace(string(out))
	dir := t.TempDir()
	expected := compile(t, dir)
	image := initramfs(t, root, dir, labTools(t, expected))

	console := filepath.Join(dir, "console")
	ctx, cancel := context.WithTimeout(t.Context(), *limit)
	defer cancel()
	lines, err := boot(ctx, filepath.Join(root, "boot/vmlinuz"), image, console)
	results := parse(lines)
	for _, name := range results.order {
		s := results.suites[name]
		t.Run(name, func(t *testing.T) { s.report(t, expected[name]) })
	}
	for name := range expected {
		if results.suites[name] == nil {
			t.Errorf("%s never ran", name)
		}
	}
	t.Log(results.kernel)
	t.Log(results.modules)
	if err != nil || !results.done {
		t.Errorf("the machine did not come to its end: %v %v; the last of its console:\n%s", err, ctx.Err(), tail(console, 60))
	}
}

// boot starts the machine, waits for its end and returns what it sent. With
// FAIRWAY_TEST_VM_LOG set, that is also written to this file as it comes.
func boot(ctx context.Context, kernel, image, console string) (lines []string, err error) {
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "3072",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", image,
		"-append", "console=ttyS0 panic=-1 mitigations=off audit=0 apparmor=0",
		"-serial", "file:"+console, "-chardev", "stdio,id=results,signal=off", "-serial", "chardev:results")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var log *os.File
	if path := os.Getenv("FAIRWAY_TEST_VM_LOG"); path != "" {
		if log, err = os.Create(path); err != nil {
			return nil, err
		}
		defer log.Close()
	}
	if err = cmd.Start(); err != nil {
		return nil, err
	}
	s := bufio.NewScanner(pipe)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		lines = append(lines, line)
		if log != nil {
			_, _ = log.WriteString(time.Now().Format("15:04:05.0 ") + line + "\n")
		}
	}
	return lines, cmd.Wait()
}

// A suite is what one test program said.
type suite struct {
	lines []string
	tests []result
	exit  string // its exit status; "" if it never ended
}

// A result is a top-level test's: PASS, FAIL or SKIP.
type result struct{ name, word, seconds string }

type results struct {
	suites          map[string]*suite
	order           []string
	kernel, modules string
	done            bool
}

func parse(lines []string) results {
	r := results{suites: map[string]*suite{}}
	var now *suite
	for _, l := range lines {
		if ours, ok := strings.CutPrefix(l, "vm: "); ok {
			word, rest, _ := strings.Cut(ours, " ")
			switch word {
			case "begin":
				now = &suite{}
				r.order, r.suites[rest] = append(r.order, rest), now
			case "end":
				name, status, _ := strings.Cut(rest, " ")
				r.suites[name].exit, now = status, nil
			case "kernel":
				r.kernel = ours
			case "modules":
				r.modules = ours
			case "done":
				r.done = true
			}
			continue
		}
		if now == nil {
			continue
		}
		now.lines = append(now.lines, l)
		// A test may have printed something before, without an end of line.
		for _, word := range []string{"PASS", "FAIL", "SKIP"} {
			if rest, ok := strings.CutPrefix(l, "--- "+word+": "); ok {
				name, seconds, _ := strings.Cut(rest, " ")
				now.tests = append(now.tests, result{name, word, seconds})
			}
		}
	}
	return r
}

func (s *suite) report(t *testing.T, expected []string) {
	var names []string
	for _, r := range s.tests {
		names = append(names, r.name)
		t.Run(r.name, func(t *testing.T) {
			t.Log(r.word, r.seconds)
			if r.word != "PASS" {
				t.Errorf("%s in the machine", r.word)
			}
		})
	}
	for _, name := range expected {
		if !slices.Contains(names, name) {
			t.Errorf("%s never came to an end", name)
		}
	}
	if len(names) == 0 {
		t.Error("no test ran")
	}
	if s.exit != "0" {
		t.Errorf("exit status %q", s.exit)
	}
	if t.Failed() {
		t.Log("all it said:\n" + strings.Join(s.lines, "\n"))
	}
}

func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func stderr(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
