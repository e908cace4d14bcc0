package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// Units are fairway's, in the order in which they stop.
var units = []string{"fairway.service", "fairway.socket"} //nolint:gochecknoglobals // a constant

// HasSystemd reports whether systemd runs this host: sd_booted(3).
func HasSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Start makes systemd run what was installed, now and at each boot. A daemon
// that runs is started again if it is another one, and no call is lost meanwhile:
// its sockets stay, but where they are others.
func Start(ctx context.Context, newProgram, newSockets bool) error {
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if err := systemctl(ctx, append([]string{"enable", "--quiet"}, units...)...); err != nil {
		return err
	}
	if newSockets && active(ctx, "fairway.socket") {
		if err := systemctl(ctx, "restart", "fairway.socket"); err != nil {
			return err
		}
	}
	if err := systemctl(ctx, "start", "fairway.socket"); err != nil {
		return err
	}
	verb := "start"
	if newProgram {
		verb = "restart"
	}
	return systemctl(ctx, verb, "fairway.service")
}

// Tell makes other programs read what was installed for them; it is no harm if
// one can't.
func (l Layout) Tell(ctx context.Context) {
	_ = run(ctx, "/usr/lib/systemd/systemd-sysctl", l.Sysctl+"/80-fairway.conf")
	_ = run(ctx, "journalctl", "--update-catalog")
	if active(ctx, "NetworkManager.service") {
		_ = systemctl(ctx, "reload", "NetworkManager.service")
	}
	if active(ctx, "systemd-networkd.service") {
		_ = run(ctx, "networkctl", "reload")
	}
	if active(ctx, "systemd-udevd.service") {
		_ = run(ctx, "udevadm", "control", "--reload")
	}
}

// Stop ends what Start began. The units need not be there.
func Stop(ctx context.Context) error {
	var errs []error
	for _, u := range units {
		if !loaded(ctx, u) {
			continue
		}
		errs = append(errs, systemctl(ctx, "disable", "--quiet", "--now", u))
	}
	return errors.Join(errs...)
}

// runtimeDirectory is the service's, which systemd keeps over restarts.
const runtimeDirectory = "/run/fairway"

// Forget makes systemd forget units whose files are gone.
func Forget(ctx context.Context) error {
	_ = os.Remove(runtimeDirectory) // while somebody has files there, it stays
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	for _, u := range units {
		_ = systemctl(ctx, "reset-failed", u) // mostly there is nothing to forget
	}
	_ = run(ctx, "journalctl", "--update-catalog")
	return nil
}

func active(ctx context.Context, unit string) bool {
	return exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", unit).Run() == nil
}

func loaded(ctx context.Context, unit string) bool {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=LoadState", "--value", unit).Output()
	return err == nil && strings.TrimSpace(string(out)) == "loaded"
}

func systemctl(ctx context.Context, args ...string) error { return run(ctx, "systemctl", args...) }

// run runs a program and returns what it complained of.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err == nil || errors.Is(err, fs.ErrNotExist) && name != "systemctl" {
		return nil
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	if text == "" {
		text = err.Error()
	}
	return fmt.Errorf("install: %s %s: %s", name, strings.Join(args, " "), text)
}
