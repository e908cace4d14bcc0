package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A daemon is a long-lived process in a host, with its log outside.
type daemon struct {
	host    *Host
	name    string
	cmd     *exec.Cmd
	pidfile string
	done    chan struct{}
}

// startDaemon starts a program in a host and waits until ready succeeds.
func (h *Host) startDaemon(name string, args []string, ready func() error) (*daemon, error) {
	log, err := os.OpenFile(h.logPath(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s\n", strings.Join(args, " "))
	d := &daemon{host: h, name: name, pidfile: "/run/lab-" + name + ".pid", done: make(chan struct{})}
	d.cmd = h.command(context.Background(), append([]string{"/fw/probe", "exec", d.pidfile}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.done)
	}()
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			return d, nil
		}
		select {
		case <-d.done:
			return nil, fmt.Errorf("%s: %s ended at once:\n%s", h.Name, name, h.Log(name, 20))
		default:
		}
		if time.Now().After(deadline) {
			d.signal("KILL")
			return nil, fmt.Errorf("%s: %s is not ready after %v: %w\n%s", h.Name, name, startTime, err, h.Log(name, 20))
		}
	}
}

// signal sends a signal, by the process id in the host's PID namespace.
func (d *daemon) signal(name string) {
	_, _ = d.host.try("sh", "-c", "kill -"+name+" $(cat "+d.pidfile+")")
}

// stop asks the daemon to end and waits for it.
func (d *daemon) stop() error {
	d.signal("TERM")
	select {
	case <-d.done:
		return nil
	case <-time.After(startTime):
		d.signal("KILL")
		return fmt.Errorf("%s: %s did not end within %v of SIGTERM:\n%s", d.host.Name, d.name, startTime, d.host.Log(d.name, 20))
	}
}

// kill ends the daemon without a word.
func (d *daemon) kill() {
	d.signal("KILL")
	d.wait()
}

func (d *daemon) wait() { <-d.done }

func (h *Host) logPath(name string) string { return filepath.Join(h.dir, "log", name+".log") }

// Log returns the last lines of a daemon's log: fairway or dockerd.
func (h *Host) Log(name string, lines int) string {
	b, err := os.ReadFile(h.logPath(name))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
