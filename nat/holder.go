package nat

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Holder is who has a socket. All texts are others': print them quoted.
type Holder struct {
	Container string // ID of a container, 64 hex digits
	Unit      string // systemd's unit
	Process   string // its name, at most 15 bytes
	PID       int    // of the process; 0 unknown
}

// String names the holder in one line of printable characters; "" for nobody.
func (h Holder) String() string {
	switch {
	case h.Container != "":
		return "container " + h.Container[:12]
	case h.Unit != "":
		return fmt.Sprintf("unit %q", h.Unit)
	case h.PID != 0:
		return fmt.Sprintf("process %q (pid %d)", h.Process, h.PID)
	}
	return ""
}

// FindHolder finds whose socket stands in the way of c, in this network
// namespace: by the socket's control group where the host has cgroup v2
// (sock_diag(7), INET_DIAG_CGROUP_ID), otherwise by the processes whose
// descriptors may be read without tracing them. It returns the zero Holder when
// it found none before ctx ends, or little later where the kernel has very many
// sockets.
func FindHolder(ctx context.Context, c *Conflict) Holder {
	for _, s := range socketsOn(ctx, c) {
		if h := holderOf(cgroupPath(ctx, s.cgroup)); h != (Holder{}) {
			return h
		}
		if h := holderByInode(ctx, s.inode); h != (Holder{}) {
			return h
		}
	}
	return Holder{}
}

// cgroupPath returns the path of the cgroup v2 with an id, which is its
// directory's inode number; "" if it isn't found. The root says nothing: on a
// host with cgroup v1 every socket is there.
func cgroupPath(ctx context.Context, id uint64) (path string) {
	root := "/sys/fs/cgroup"
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		root += "/unified" // systemd's hybrid layout
		if err := unix.Statfs(root, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			return ""
		}
	}
	if id <= 1 {
		return ""
	}
	_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || !e.IsDir() {
			return nil // groups come and go
		}
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Ino == id {
			path = strings.TrimPrefix(p, root)
			return fs.SkipAll
		}
		return nil
	})
	return path
}

var (
	containerID = regexp.MustCompile(`(?:^|-)([0-9a-f]{64})(?:\.scope)?$`)
	unitName    = regexp.MustCompile(`\.(service|scope|socket|mount|swap)$`)
)

// holderOf reads a control group's path: the outermost container, whatever it
// calls the groups inside it, or else the innermost unit.
func holderOf(path string) (h Holder) {
	for part := range strings.SplitSeq(path, "/") {
		if m := containerID.FindStringSubmatch(part); m != nil {
			return Holder{Container: m[1]}
		}
		if unitName.MatchString(part) {
			h.Unit = part
		}
	}
	return h
}

// holderByInode finds the process that has a socket open.
func holderByInode(ctx context.Context, inode uint32) Holder {
	if inode == 0 {
		return Holder{} // nobody has it open any more
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	proc, err := os.Open("/proc")
	if err != nil {
		return Holder{}
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && hasOpen(ctx, name, want) {
			return processHolder(pid)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Holder{}
}

// hasOpen reports whether a process has a descriptor of a file; false where
// the kernel doesn't let us look.
func hasOpen(ctx context.Context, pid, file string) bool {
	dir, err := os.Open("/proc/" + pid + "/fd")
	if err != nil {
		return false
	}
	defer dir.Close()
	for ctx.Err() == nil {
		fds, err := dir.Readdirnames(256)
		for _, fd := range fds {
			if to, err := os.Readlink(dir.Name() + "/" + fd); err == nil && to == file {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
	return false
}

// processHolder names a process, by its container or unit if it has one.
func processHolder(pid int) Holder {
	h := Holder{PID: pid}
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(groups)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			if of := holderOf(f[2]); of.Container != "" || h.Unit == "" {
				h.Container, h.Unit = of.Container, of.Unit
			}
		}
		if h.Container != "" {
			break
		}
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	h.Process = strings.TrimSuffix(string(name), "\n")
	return h
}
