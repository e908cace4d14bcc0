package lab

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// A Dockerd is one engine of a host; a host may have several, each with its
// own data root, exec root and socket.
type Dockerd struct {
	host   *Host
	suffix string // tells this engine's directories and sockets from the first's
	engine Engine // whose programs run: changed by Upgrade
	chroot string // where that engine's tree is mounted; "" in the host's root
	daemon *daemon
}

func (h *Host) addEngine(e Engine, suffix string) *Dockerd {
	d := &Dockerd{host: h, suffix: suffix, engine: e}
	h.engines = append(h.engines, d)
	h.binds = append(h.binds, h.dir+"/docker"+suffix+":/var/lib/docker"+suffix)
	return d
}

// Engine is the host's first engine.
func (h *Host) Engine() *Dockerd { return h.engines[0] }

// SecondEngine adds an engine of the same version to the host, without docker0
// of its own, and starts it. The host must not have been started with one.
func (h *Host) SecondEngine(t testing.TB) *Dockerd {
	t.Helper()
	// Not on the host's own overlay: engines from 29 on have a snapshotter that can't.
	h.Sh(t, "mkdir -p /var/lib/docker2; busybox mount -t tmpfs tmpfs /var/lib/docker2")
	d := &Dockerd{host: h, suffix: "2", engine: h.config.Engine}
	h.engines = append(h.engines, d)
	d.Start(t, "--bridge=none")
	return d
}

func (d *Dockerd) socket() string { return "/run/docker" + d.suffix + ".sock" }

// Start starts the engine and waits until it answers; images are loaded when
// it has none.
func (d *Dockerd) Start(t testing.TB, args ...string) {
	t.Helper()
	if err := d.start(args...); err != nil {
		t.Fatal(err)
	}
}

func (d *Dockerd) start(args ...string) error {
	h := d.host
	all := []string{
		"dockerd", "--data-root", "/var/lib/docker" + d.suffix, "--exec-root", "/run/docker" + d.suffix,
		"--pidfile", "/run/docker" + d.suffix + ".pid", "--host", "unix://" + d.socket(),
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/" + h.cgroup(), "--shutdown-timeout", "5",
	}
	all = append(append(all, h.config.Docker...), args...)
	if d.chroot != "" {
		all = append([]string{"/fw/probe", "enter", d.chroot}, all...)
	}
	var err error
	for range starts {
		if d.daemon, err = h.startDaemon("dockerd"+d.suffix, all, func() error {
			_, err := d.Try("version")
			return err
		}); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if _, err := d.Try("image", "inspect", Image); err == nil {
		return nil
	}
	if _, err := d.Try("import", "--change", "ENV PATH=/bin", "/fw/image.tar", Image); err != nil {
		return err
	}
	_, err = d.Try("import", "--change", "ENV PATH=/bin", "--change", "EXPOSE 80/tcp 53/udp", "/fw/image.tar", ExposingImage)
	return err
}

// Stop ends the engine as systemctl stop does.
func (d *Dockerd) Stop(t testing.TB) {
	t.Helper()
	if d.daemon == nil {
		return
	}
	err := d.daemon.stop()
	d.daemon = nil
	if err != nil {
		t.Fatal(err)
	}
}

// Kill ends the engine with SIGKILL; its containers run on.
func (d *Dockerd) Kill() {
	d.daemon.kill()
	d.daemon = nil
}

// Try runs the engine's own client.
func (d *Dockerd) Try(args ...string) (string, error) {
	all := append([]string{"docker", "--host", "unix://" + d.socket()}, args...)
	if d.chroot != "" {
		all = append([]string{"chroot", d.chroot}, all...)
	}
	return d.host.try(all...)
}

// Docker runs the engine's client; the test ends if it fails.
func (d *Dockerd) Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := d.Try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// StartEngine starts the host's first engine.
func (h *Host) StartEngine(t testing.TB, args ...string) { t.Helper(); h.Engine().Start(t, args...) }

// StopEngine stops the host's first engine.
func (h *Host) StopEngine(t testing.TB) { t.Helper(); h.Engine().Stop(t) }

// RestartEngine stops the first engine and starts it again.
func (h *Host) RestartEngine(t testing.TB, args ...string) {
	t.Helper()
	h.StopEngine(t)
	h.StartEngine(t, args...)
}

// Docker runs the client of the host's first engine.
func (h *Host) Docker(t testing.TB, args ...string) string {
	t.Helper()
	return h.Engine().Docker(t, args...)
}

// TryDocker runs the client of the host's first engine.
func (h *Host) TryDocker(args ...string) (string, error) { return h.Engine().Try(args...) }

// DockerErr runs the client, which must fail, and returns what it said.
func (h *Host) DockerErr(t testing.TB, args ...string) string {
	t.Helper()
	out, err := h.Engine().Try(args...)
	if err == nil {
		t.Fatalf("docker %s: succeeded, want an error: %s", strings.Join(args, " "), out)
	}
	return out
}

// DockerCommand makes a command of the first engine's client, for a test that
// runs it beside others.
func (h *Host) DockerCommand(t testing.TB, args ...string) *exec.Cmd {
	return h.command(t.Context(), append([]string{"docker", "--host", "unix://" + h.Engine().socket()}, args...)...)
}

// Upgrade replaces the first engine's programs by another engine's, as a
// package upgrade does: same data root, same /run. It is stopped before and
// started after.
func (h *Host) Upgrade(t testing.TB, to Engine) {
	t.Helper()
	d := h.Engine()
	d.Stop(t)
	root := "/next"
	h.Sh(t, fmt.Sprintf(`
		mkdir -p %[1]s /tmp/next-upper /tmp/next-work
		busybox mount -t overlay -o lowerdir=/engines/%[2]s,upperdir=/tmp/next-upper,workdir=/tmp/next-work overlay %[1]s
		for d in proc sys dev run var/lib/docker; do
			mkdir -p %[1]s/$d
			busybox mount -o rbind /$d %[1]s/$d
		done
		for i in iptables ip6tables; do for s in '' -save -restore; do
			ln -sf $(readlink /usr/sbin/iptables) %[1]s/usr/sbin/$i$s
		done; done`, root, to.Name))
	d.engine, d.chroot = to, root
	d.Start(t)
}

// Version is the name of the engine that runs: 20.10, 26.1, sid.
func (d *Dockerd) Version() string { return d.engine.Name }
