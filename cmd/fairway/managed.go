package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"fairway/plugin"
)

const (
	// managedSocket is where dockerd has a managed plugin listen: this
	// directory is mounted into it, plugin.json names the file.
	managedSocket = "/run/docker/plugins/fairway.sock"
	// hostMounts is the host's mount namespace, as a process in the host's PID
	// namespace sees it.
	hostMounts = "/proc/1/ns/mnt"
	// managedMark is a variable that the daemon of a managed plugin has: the
	// number of a second descriptor of its socket.
	managedMark = "MANAGED_PLUGIN"
	// startTime is how early a daemon fails that could not start.
	startTime = time.Minute
	// refuseTime is how long such a one refuses calls before dockerd tries anew.
	refuseTime = 30 * time.Second
	// passedFrom is the first descriptor that sd_listen_fds(3) passes.
	passedFrom = 3
)

// newManagedCommand returns what a managed plugin runs: plugin.json names it.
func newManagedCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "managed",
		Short:  "Run the daemon of a managed plugin",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return becomeManaged() },
	}
}

// becomeManaged opens the plugin's socket, leaves the plugin's files for the
// host's, and becomes the daemon that is passed the socket as systemd would. It
// returns only if it fails.
//
// The daemon is the same there as the service: it finds sandboxes, the host's
// iptables in the flavour that the host uses and their lock, sysctls that can
// be written, Docker's API, its own records and settings.
func becomeManaged() error {
	l, err := listen(managedSocket)
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false) // it is the daemon's
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("managed plugin: find own file: %w", err)
	}
	dir, err := openProgramDir(filepath.Dir(self))
	if err != nil {
		return fmt.Errorf("managed plugin: open %s: %w", filepath.Dir(self), err)
	}
	runtime.LockOSThread() // a namespace is the thread's; exec makes it the process's
	if err := enterMounts(hostMounts); err != nil {
		return fmt.Errorf("managed plugin: enter mount namespace %s: %w", hostMounts, err)
	}
	second, err := pass(l)
	if err != nil {
		return fmt.Errorf("managed plugin: pass socket: %w", err)
	}
	env := append(os.Environ(), managedMark+"="+strconv.Itoa(second),
		"LISTEN_FDS=1", "LISTEN_FDNAMES=plugin", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	file := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(self)
	return fmt.Errorf("managed plugin: run %s: %w", self, unix.Exec(file, []string{"fairway", "daemon"}, env))
}

// openProgramDir opens a directory, not as the descriptor that is to be passed. A
// program is found by that once the directory is not among the visible files any
// more. By a descriptor of the program's its process would be called like the
// number.
func openProgramDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, passedFrom+1)
}

// enterMounts moves the calling thread into a mount namespace, to its root.
func enterMounts(path string) error {
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	// Threads that share their root can't be in different mount namespaces:
	// setns(2).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(ns, unix.CLONE_NEWNS)
}

// pass makes l the first descriptor that the next program gets, and returns
// another one that it gets. Whatever had the first's number, such as the
// runtime's epoll(7), isn't used any more.
func pass(l *net.UnixListener) (second int, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(fd uintptr) {
		if second, dup = unix.FcntlInt(fd, unix.F_DUPFD, passedFrom+1); dup == nil {
			dup = passAs(int(fd), passedFrom)
		}
	})
	return second, errors.Join(err, dup)
}

// passAs makes to a descriptor of fd's file that the next program gets.
func passAs(fd, to int) error {
	if fd == to { // dup3(2) refuses
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		return err
	}
	return unix.Dup3(fd, to, 0)
}

// managedFile returns the second descriptor that pass gave to this process, nil
// if it is no managed plugin's.
func managedFile() *os.File {
	fd, err := strconv.Atoi(os.Getenv(managedMark))
	if err != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), managedSocket)
}

// refuse answers calls with the reason why the daemon of a managed plugin could
// not start, for a time. If the process ended at once, docker would say no more
// than "connection refused", after 12 s; and dockerd, which starts it again
// meanwhile, would then have remains of it ("id already in use").
func refuse(ctx context.Context, socket *os.File, reason error) {
	l, err := net.FileListener(socket)
	if err != nil {
		return
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, refuseTime)
	defer cancel()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	_ = plugin.New(plugin.Options{Broken: reason, Log: quiet}).Serve(ctx, l)
}
