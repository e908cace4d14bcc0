package engine

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// dockerd's defaults.
const (
	defaultRoot   = "/var/lib/docker"
	defaultConfig = "/etc/docker/daemon.json"
)

// PeerEngine names the engine at the other end of a connection that it made to
// the plugin's socket, as [IDOf] does; "" if it isn't one, or can't be told. It
// costs 0.1 ms, so it is to be called once a connection.
func PeerEngine(conn net.Conn) string {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return ""
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		// The pid is in our pid namespace, or 0: see unix(7), SO_PEERCRED.
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	if err != nil {
		return ""
	}
	return IDOf(pid)
}

// IDOf names the engine that is process pid: the directory of its data, which
// survives its restart and its upgrade in place. It is the DockerRootDir that
// the engine's API tells, but for what --userns-remap appends there. It is "" if
// the process isn't a dockerd or can't be read.
func IDOf(pid int) string {
	if pid <= 0 {
		return ""
	}
	proc := "/proc/" + strconv.Itoa(pid)
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil || len(cmdline) == 0 {
		return ""
	}
	args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	if !strings.Contains(path.Base(args[0]), "docker") {
		return ""
	}
	flags := parseFlags(args[1:])
	root := flags.root
	if root == "" {
		root = rootInConfig(readIn(proc, flags.config))
	}
	if root == "" {
		root = defaultRoot
	}
	if !path.IsAbs(root) {
		cwd, err := os.Readlink(proc + "/cwd")
		if err != nil {
			return ""
		}
		root = path.Join(cwd, root)
	}
	return resolveIn(proc, path.Clean(root))
}

// flags are those of dockerd that say where its data is.
type flags struct{ root, config string }

// parseFlags reads dockerd's command line as pflag does, for the flags that
// matter: --data-root and -g (--graph before 17.05), --config-file. Of several
// the last counts.
func parseFlags(args []string) flags {
	f := flags{config: defaultConfig}
	for len(args) > 0 && args[0] != "--" {
		arg := args[0]
		args = args[1:]
		name, value, given := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "--") && strings.HasPrefix(arg, "-") {
			name, value, given = parseShort(arg[1:])
		}
		var to *string
		switch name {
		case "--data-root", "--graph", "-g":
			to = &f.root
		case "--config-file":
			to = &f.config
		case "--host", "-H", "--log-level", "-l", "--group", "-G", "--bridge", "-b", "--pidfile", "-p", "--storage-driver", "-s":
			to = new(string) // what follows is its value, whatever it looks like
		default:
			continue
		}
		if !given {
			if len(args) == 0 {
				break
			}
			value, args = args[0], args[1:]
		}
		*to = value
	}
	return f
}

// parseShort reads a group of one-letter flags, such as -Dg/data: only the last
// can have a value, in the rest of the group or in the next argument.
func parseShort(group string) (name, value string, given bool) {
	for i, letter := range group {
		switch letter {
		case 'D', 'v', 'h': // have none
			continue
		}
		value = strings.TrimPrefix(group[i+1:], "=")
		return "-" + string(letter), value, value != ""
	}
	return "", "", false
}

// rootInConfig returns the data-root that a daemon.json names, "" if none.
func rootInConfig(text []byte) string {
	var config struct {
		Root  string `json:"data-root"`
		Graph string `json:"graph"` // before 17.05
	}
	if json.NewDecoder(bytes.NewReader(text)).Decode(&config) != nil {
		return ""
	}
	if config.Root == "" {
		return config.Graph
	}
	return config.Root
}

// readIn returns the file at path as the process sees it or, where its root may
// not be entered (that takes CAP_SYS_PTRACE or its capabilities), as we do; nil
// if there is none.
func readIn(proc, path string) []byte {
	f, err := openIn(proc, path, unix.O_RDONLY)
	if err != nil {
		if f, err = os.Open(path); err != nil {
			return nil
		}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	return text
}

// resolveIn returns path with the symbolic links resolved, as dockerd does when
// it starts, in the process's mount namespace or else in ours.
func resolveIn(proc, path string) string {
	if f, err := openIn(proc, path, unix.O_PATH); err == nil {
		defer f.Close()
		if real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); err == nil {
			return real
		}
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// openIn opens path below the process's root, links included: openat2(2).
func openIn(proc, path string, flags uint64) (*os.File, error) {
	root, err := unix.Open(proc+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	// Not to block on a fifo that somebody put there.
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT}
	if flags&unix.O_PATH != 0 {
		how.Flags &^= unix.O_NONBLOCK // not allowed with it
	}
	fd, err := unix.Openat2(root, path, &how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
