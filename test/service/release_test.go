//go:build release

package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// made holds the releases that tests share, by version.
var made struct { //nolint:gochecknoglobals // as long as the tests run
	sync.Mutex
	dir string
	of  map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fairway-release-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	made.dir, made.of = dir, map[string]string{}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// release returns the directory of a release of a version for this machine.
func release(t *testing.T, version string) string {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.of[version] == "" {
		made.of[version] = makeRelease(t, made.dir, version)
	}
	return made.of[version]
}

// makeRelease makes a release of a version in a directory.
func makeRelease(t *testing.T, in, version string) string {
	t.Helper()
	dir := filepath.Join(in, version)
	cmd := exec.CommandContext(t.Context(), "../../packaging/release/make", dir, version, runtime.GOARCH)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, out)
	}
	return dir
}
