package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initHost makes a host of the namespaces that it was started in (mount, PID,
// network, IPC and UTS) and is its process 1. Its root is an engine's
// directory tree with a writable layer over it; /proc, /sys, /run and /tmp are
// its own, the control groups are the machine's. It prints "ready", collects
// the processes that nobody waits for, and ends when standard input does: with
// it the kernel ends every process of the host, and the namespaces with them.
//
//	init DIR -root TREE [-iptables nft|legacy] [-bind SOURCE:TARGET]...
//
// DIR holds the writable layer and stays when the host is gone.
func initHost(args []string) error {
	if len(args) < 1 {
		return fmt.Errorf("init: want a directory")
	}
	f := flag.NewFlagSet("init", flag.ContinueOnError)
	tree := f.String("root", "", "the engine's directory tree")
	iptables := f.String("iptables", "nft", "nft or legacy")
	name := f.String("name", "host", "host name")
	var binds []string
	f.Func("bind", "SOURCE:TARGET", func(s string) error { binds = append(binds, s); return nil })
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(*name)); err != nil {
		return err
	}
	root := filepath.Join(args[0], "root")
	for _, step := range []func() error{
		func() error { return mountRoot(args[0], root, *tree) },
		func() error { return mountKernel(root) },
		func() error { return bind(root, binds) },
		func() error { return pivot(root) },
		func() error { return chooseIptables(*iptables) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	go reap()
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// mountRoot lays a writable layer over the engine's tree.
func mountRoot(dir, root, tree string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work, root} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("overlay", root, "overlay", 0,
		"lowerdir="+tree+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("mount overlay on %s: %w", root, err)
	}
	return nil
}

// mountKernel mounts what the kernel shows of the new namespaces. The control
// groups are bound in, since a new sysfs has none.
func mountKernel(root string) error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "proc", "proc", 0},
		{"sysfs", "sys", "sysfs", 0},
		{"/sys/fs/cgroup", "sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "run", "tmpfs", 0},
		{"tmpfs", "tmp", "tmpfs", 0},
	} {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, target, err)
		}
	}
	// A second root beside the first (an upgraded engine's) binds /run: what
	// is mounted in one must be seen in the other, as on a host.
	return unix.Mount("", filepath.Join(root, "run"), "", unix.MS_SHARED, "")
}

func bind(root string, binds []string) error {
	for _, b := range binds {
		source, target, ok := strings.Cut(b, ":")
		if !ok {
			return fmt.Errorf("bind %s: want SOURCE:TARGET", b)
		}
		for _, d := range []string{source, filepath.Join(root, target)} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(source, filepath.Join(root, target), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", b, err)
		}
	}
	return nil
}

func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root %s: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

// chooseIptables does what update-alternatives does on an installed system.
func chooseIptables(flavour string) error {
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			link := "/usr/sbin/" + name + suffix
			if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
				return err
			}
			if err := os.Symlink("xtables-"+flavour+"-multi", link); err != nil {
				return err
			}
		}
	}
	return nil
}

// reap collects orphans, as process 1 must.
func reap() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
}
