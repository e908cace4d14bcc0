package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// An Engine is a directory tree that holds a Docker Engine; see test/engines.
type Engine struct {
	Name    string // 20.10, 26.1, sid
	Root    string
	Version string // as dockerd prints it
}

// Tools is what hosts are made of: engines, the probe, the fairway binary and
// the image's tar file. It is made once for a test binary.
type Tools struct {
	dir     string
	engines map[string]Engine
	kept    bool  // the directory is somebody else's
	fairway error // why the daemon could not be built: fails every test that starts it
}

// Prepare builds the programs and prepares the engines, which takes a minute
// where they were never prepared before. The directory is removed by Close.
func Prepare(ctx context.Context, engines ...string) (_ *Tools, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("lab: end-to-end tests make namespaces and mounts: run them as root")
	}
	if err := sweep(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("fairway-e2e-%d-", os.Getpid()))
	if err != nil {
		return nil, err
	}
	t := &Tools{dir: dir, engines: map[string]Engine{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	top, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	if err = t.prepareEngines(ctx, top, engines); err != nil {
		return nil, err
	}
	if err = build(ctx, top, "./test/e2e/probe", t.bin()); err != nil {
		return nil, err
	}
	if t.fairway = build(ctx, top, "./cmd/fairway", t.bin()); t.fairway == nil {
		t.fairway = makePlugin(ctx, top, t.bin())
	}
	return t, t.makeImage(t.Any())
}

// Close removes what Prepare made, but not the engines.
func (t *Tools) Close() error {
	if t.kept {
		return nil
	}
	return os.RemoveAll(t.dir)
}

// Engine returns the engine of that name; it must be one that Prepare was
// asked for.
func (t *Tools) Engine(name string) Engine {
	e, ok := t.engines[name]
	if !ok {
		panic("lab: engine " + name + " was not prepared")
	}
	return e
}

// Any returns one of the engines.
func (t *Tools) Any() Engine {
	for _, e := range t.engines {
		return e
	}
	panic("lab: no engine was prepared")
}

// bin is the directory that hosts see as /fw.
func (t *Tools) bin() string { return filepath.Join(t.dir, "bin") }

func (t *Tools) prepareEngines(ctx context.Context, top string, names []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(top, "test/engines/prepare"), names...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("lab: prepare engines %v: %w", names, err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return fmt.Errorf("lab: prepare engines: unexpected line %q", line)
		}
		t.engines[f[0]] = Engine{Name: f[0], Root: f[1], Version: f[2]}
		fmt.Printf("lab: engine %s is %s\n", f[0], f[2])
	}
	return nil
}

func build(ctx context.Context, top, program, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", dir+"/", program) // the tree may be another user's
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: build %s: %w\n%s", program, err, out)
	}
	return nil
}

// moduleRoot finds the repository, since a test runs in its package's
// directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("lab: no go.mod above the working directory")
}
