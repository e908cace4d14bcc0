package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// sweep removes what test processes left that were killed: their hosts ended
// with them, but not the directories and control groups.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "fairway-e2e-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "fairway-e2e-%d-", &pid); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			continue // it runs, or its number is another's now: then next time
		}
		hosts, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, h := range hosts {
			errs = append(errs, removeCgroups(cgroup(h.Name())))
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// cgroup is the parent of all control groups of a host's containers.
func cgroup(host string) string { return "fairway-e2e-" + host }

// removeCgroups removes a control group and those in it that killed containers
// left, in every hierarchy of version 1 or in the one of version 2.
func removeCgroups(group string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		dirs, err := filepath.Glob(pattern + group)
		errs = append(errs, err)
		for _, d := range dirs {
			errs = append(errs, removeTree(d))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes directories from the deepest up: a control group's files
// go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}
