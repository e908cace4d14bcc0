package lab

import (
	"encoding/json"
	"errors"
	"testing"
)

// StartFairway starts the daemon and waits until it answers.
func (h *Host) StartFairway(t testing.TB, args ...string) {
	t.Helper()
	if err := h.startFairway(args...); err != nil {
		t.Fatal(err)
	}
}

// SetFairway sets what more arguments the daemon gets when it is started next.
func (h *Host) SetFairway(args []string) { h.config.Fairway = args }

func (h *Host) startFairway(args ...string) error {
	if err := h.tools.fairway; err != nil {
		return err
	}
	all := append([]string{
		"fairway", "daemon", "--socket", "/run/docker/plugins/fairway.sock", "--admin-socket", "/run/fairway/admin.sock",
		"--state-dir", "/var/lib/fairway", "--docker-socket", h.Engine().socket(),
		"--log-level", "debug",
	}, h.config.Fairway...)
	var err error
	h.fairway, err = h.startDaemon("fairway", append(all, args...), func() error {
		_, err := h.try("fairway", "networks", "--json", "--admin-socket", "/run/fairway/admin.sock")
		return err
	})
	return err
}

// StopFairway ends the daemon as systemctl stop does.
func (h *Host) StopFairway(t testing.TB) {
	t.Helper()
	if h.fairway == nil {
		return
	}
	err := h.fairway.stop()
	h.fairway = nil
	if err != nil {
		t.Fatal(err)
	}
}

// KillFairway ends the daemon with SIGKILL.
func (h *Host) KillFairway(t testing.TB) {
	t.Helper()
	if err := h.CrashFairway(); err != nil {
		t.Fatal(err)
	}
}

// Fairway runs an operator command.
func (h *Host) Fairway(t testing.TB, args ...string) string {
	t.Helper()
	return h.Exec(t, append([]string{"fairway"}, append(args, "--admin-socket", "/run/fairway/admin.sock")...)...)
}

// Listed returns what an operator command lists: networks, endpoints or ports.
func (h *Host) Listed(what string) ([]map[string]any, error) {
	out, err := h.try("fairway", what, "--json", "--admin-socket", "/run/fairway/admin.sock")
	if err != nil {
		return nil, err
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, err
	}
	list, ok := answer[what]
	if !ok {
		return nil, errors.New("lab: fairway " + what + " --json has no " + what)
	}
	var rows []map[string]any
	return rows, json.Unmarshal(list, &rows)
}

// PowerUp starts the daemon and then the engine, as a host does when it boots.
func (h *Host) PowerUp() error {
	if err := h.startFairway(); err != nil {
		return err
	}
	return h.Engine().start()
}

// CrashFairway ends the daemon with SIGKILL.
func (h *Host) CrashFairway() error {
	if h.fairway == nil {
		return errors.New("lab: fairway is not running")
	}
	h.fairway.kill()
	h.fairway = nil
	return nil
}

// ReviveFairway starts the daemon again.
func (h *Host) ReviveFairway() error { return h.startFairway() }
