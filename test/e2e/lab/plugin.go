package lab

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Plugin is the name that Docker gives to the managed plugin, and to it as a
// driver.
const Plugin = "fairway:latest"

// makePlugin makes the directory that docker plugin create takes, as make
// plugin does, with the daemon under test.
func makePlugin(ctx context.Context, top, bin string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(top, "packaging/plugin/make"), filepath.Join(bin, "fairway"), filepath.Join(bin, "plugin"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: make plugin: %w\n%s", err, out)
	}
	return nil
}

// InstallPlugin makes the managed plugin in the host's engine and enables it.
// The service must not run.
func (h *Host) InstallPlugin(t testing.TB) {
	t.Helper()
	if err := h.tools.fairway; err != nil {
		t.Fatal(err)
	}
	h.Sh(t, "touch /etc/resolv.conf") // engines mount it into plugins
	h.Docker(t, "plugin", "create", "fairway", "/fw/plugin")
	h.plugins = append(h.plugins, h.Docker(t, "plugin", "inspect", "--format", "{{.Id}}", "fairway"))
	h.Docker(t, "plugin", "enable", "fairway")
}

// RemovePlugin removes the managed plugin, whatever networks it has.
func (h *Host) RemovePlugin(t testing.TB) {
	t.Helper()
	h.Docker(t, "plugin", "disable", "--force", "fairway")
	h.Docker(t, "plugin", "rm", "--force", "fairway")
}

// PluginPID returns the process id of the plugin's daemon in the host's PID
// namespace; "" if there is none.
func (h *Host) PluginPID(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(h.Sh(t, "ps -C fairway -o pid= || true"))
}
