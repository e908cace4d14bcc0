//go:build kernel

package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFindHolderByCgroup: a socket's cgroup v2 names its unit, though no process
// of this name can be found by its descriptors: the whole test process is in a
// group that is called like a unit while it makes the socket.
func TestFindHolderByCgroup(t *testing.T) {
	root := "/sys/fs/cgroup"
	var st unix.Statfs_t
	if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		root += "/unified"
		if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			t.Skip("this machine has no cgroup v2: sockets have no group to find")
		}
	}
	const unit = "fairway-holder-test.service"
	group := filepath.Join(root, unit)
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	home := root
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			home = filepath.Join(root, path)
		}
	}
	move := func(to string) error {
		return os.WriteFile(filepath.Join(to, "cgroup.procs"), fmt.Append(nil, os.Getpid()), 0o644)
	}
	if err := move(group); err != nil {
		t.Fatal(err)
	}
	k := newKey(unix.IPPROTO_UDP, netip.MustParseAddr("127.88.0.1"), 45454)
	fd, err := bind(k, false)
	back := move(home)
	if err != nil || back != nil {
		t.Fatal(err, back)
	}
	defer func() {
		unix.Close(fd)
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	}()
	if h := FindHolder(t.Context(), conflictOf(k, "")); h != (Holder{Unit: unit}) {
		t.Errorf("holder %+v, want the unit %s", h, unit)
	}
}
