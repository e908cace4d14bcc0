//go:build bench

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	rounds = flag.Int("rounds", 40, "how often each measurement is taken")
	base   = flag.String("dir", "/var/tmp", "where the state directories are made: a real disk")
)

// world is what all benchmarks of this binary share.
var world struct {
	ctx     context.Context
	dir     string // of this run, on the disk that is measured
	fairway string // the program
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	world.ctx = ctx
	if os.Getuid() != 0 {
		return 1, errors.New("benchmarks make network namespaces: run them as root")
	}
	if err := onDisk(*base); err != nil {
		return 1, err
	}
	if world.dir, err = os.MkdirTemp(*base, "fairway-bench-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(world.dir)) }()
	world.fairway = filepath.Join(world.dir, "fairway")
	build := exec.CommandContext(ctx, "go", "build", "-o", world.fairway, "fairway/cmd/fairway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build fairway: %w\n%s", err, out)
	}
	fmt.Println("machine:", machine()+";", load())
	code = m.Run()
	fmt.Println("at the end:", load())
	return code, nil
}

// onDisk refuses a directory where nothing is durable.
func onDisk(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is in memory: name a directory on a disk with -dir", dir)
	}
	return nil
}

// machine describes in one line what the figures are of.
func machine() string {
	model := "unknown processor"
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d x %s, kernel %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

// load says how busy the machine is: the share of time in the last minute in
// which some task waited for a processor, and for the disk (PSI, see
// Documentation/accounting/psi.rst). Absolute figures want both close to 0.
func load() string {
	waited := func(what string) string {
		raw, _ := os.ReadFile("/proc/pressure/" + what)
		for _, f := range strings.Fields(string(raw)) {
			if v, ok := strings.CutPrefix(f, "avg60="); ok {
				return v + " %"
			}
		}
		return "unknown"
	}
	return "tasks waited for a processor " + waited("cpu") + ", for the disk " + waited("io")
}
