//go:build kernel

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd-analyze knows every line of the units, and finds the service no more
// exposed than we promise.
func TestUnitsVerify(t *testing.T) {
	dir := unitsFor(t, "/bin/true")
	for _, args := range [][]string{
		{"verify", "--man=no", filepath.Join(dir, "fairway.service"), filepath.Join(dir, "fairway.socket")},
		{"security", "--offline=yes", "--threshold=30", filepath.Join(dir, "fairway.service")},
	} {
		cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
		if out, err := cmd.CombinedOutput(); err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// unitsFor copies the units to a directory, with another program in place of
// /usr/bin/fairway.
func unitsFor(t *testing.T, program string) string {
	t.Helper()
	dir := openDir(t)
	for _, name := range []string{"fairway.service", "fairway.socket"} {
		text, err := os.ReadFile(filepath.Join(unitDir, name))
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "ExecStart=/usr/bin/fairway", "ExecStart="+program))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// booted is a systemd with no units but fairway's, in namespaces of its own.
type booted struct {
	t   *testing.T
	pid string // of the systemd
}

// bootScript makes the machine: nothing of the host's is writable that matters,
// and mounts reach services as on a real boot, where systemd shares them.
const bootScript = `set -e
mount --make-rprivate /
cp "$2" "$1/fairway.bin"
for d in /run /var/lib /var/log /var/tmp /opt; do mount -t tmpfs tmpfs $d; done
mv "$1/fairway.bin" /opt/fairway
mkdir /run/lock
mount -t proc proc /proc
ip link set lo up
mount --make-rshared /
export SYSTEMD_UNIT_PATH="$1" container=other
exec /lib/systemd/systemd --system --log-target=console --show-status=0
`

func boot(t *testing.T) *booted {
	t.Helper()
	dir := unitsFor(t, "/opt/fairway")
	files := map[string]string{
		"default.target": "[Unit]\nDefaultDependencies=no\nWants=fairway.socket\n",
		// The program is this test's own binary, which is fairway with this set.
		"fairway.service.d/test.conf": "[Service]\nEnvironment=" + childCommand + "=1 FAIRWAY_DOCKER_SOCKET=\n" +
			"StandardOutput=append:/var/log/fairway\nStandardError=append:/var/log/fairway\n",
	}
	for _, target := range []string{"sysinit", "basic", "sockets", "shutdown", "network-pre", "multi-user"} {
		files[target+".target"] = "[Unit]\nDefaultDependencies=no\n"
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "unshare", "-m", "-p", "-f", "--kill-child=KILL", "-n", "-C", "-u", "-i",
		"sh", "-c", bootScript, "boot", dir, self)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "systemd"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &booted{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("systemd:\n%s\nfairway:\n%s", text, b.run("cat", "/var/log/fairway"))
		}
		cancel()
		_ = cmd.Wait()
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	await(t, "systemd starts", func() error {
		text, err := os.ReadFile(children)
		if b.pid = strings.TrimSpace(string(text)); err != nil || b.pid == "" {
			return fmt.Errorf("%s: %q, %w", children, text, err)
		}
		if _, err := os.Stat(b.path("/run/docker/plugins/fairway.sock")); err != nil {
			return err
		}
		return nil
	})
	return b
}

// path is where the machine's files are seen from here.
func (b *booted) path(p string) string { return "/proc/" + b.pid + "/root" + p }

// run runs a command inside and returns what it prints.
func (b *booted) run(args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", b.pid, "-m", "-p", "-n", "-u", "-i", "-C", "--"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v", out, err)
	}
	return strings.TrimSpace(string(out))
}

// call sends a request of Docker's and returns the reply, which must be no error.
func (b *booted) call(method, body string) map[string]any {
	b.t.Helper()
	reply, err := askWith(b.path("/run/docker/plugins/fairway.sock"), "/"+method, body)
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal([]byte(reply), &fields)
	}
	for _, key := range []string{"Err", "Error"} {
		if text, ok := fields[key]; ok {
			err = errors.Join(err, fmt.Errorf("%s", text))
		}
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	return fields
}

// bus listens where the system's bus is, and hangs up at once. The channel is
// closed when somebody came.
func (b *booted) bus() <-chan struct{} {
	b.t.Helper()
	if err := os.Mkdir(b.path("/run/dbus"), 0o755); err != nil {
		b.t.Fatal(err)
	}
	l, err := net.Listen("unix", b.path("/run/dbus/system_bus_socket"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	came := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			if first {
				close(came)
			}
		}
	}()
	return came
}

// The hardened service does its whole work under a real systemd: started by the
// first request, it makes a network and publishes a port below 1024, knows a
// sandbox that was mounted after it started, and goes on after kill -9.
func TestUnitsUnderSystemd(t *testing.T) {
	b := boot(t)
	bus := b.bus()
	if got := b.run("systemctl", "is-active", "fairway.service"); !strings.HasPrefix(got, "inactive") {
		t.Errorf("service before the first request: %s", got)
	}
	const ref = `"NetworkID":"n1","EndpointID":"e1"`
	pool := b.call("IpamDriver.RequestPool", `{"AddressSpace":"fairway-local","Pool":"10.99.0.0/24"}`)["PoolID"]
	// It answers as soon as it can; systemd hears a moment later.
	got := ""
	for end := time.Now().Add(30 * time.Second); got != "active" && time.Now().Before(end); {
		got = b.run("systemctl", "is-active", "fairway.service")
	}
	if got != "active" {
		t.Errorf("service after it: %s", got)
	}
	b.call("IpamDriver.RequestAddress", fmt.Sprintf(`{"PoolID":%q,"Address":"10.99.0.1","Options":{"RequestAddressType":"com.docker.network.gateway"}}`, pool))
	b.call("NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{}},`+
		`"IPv4Data":[{"AddressSpace":"fairway-local","Pool":"10.99.0.0/24","Gateway":"10.99.0.1/24"}],`+
		`"IPv6Data":[{"AddressSpace":"x","Pool":"fd00:99::/64","Gateway":"fd00:99::1/64"}]}`)
	b.call("IpamDriver.RequestAddress", fmt.Sprintf(`{"PoolID":%q,"Address":"10.99.0.2"}`, pool))
	b.call("NetworkDriver.CreateEndpoint", `{`+ref+`,"Interface":{"Address":"10.99.0.2/24","AddressIPv6":"fd00:99::2/64"}}`)
	if out := b.run("ip", "netns", "add", "box"); out != "" {
		t.Fatalf("ip netns add: %s", out)
	}
	joined := b.call("NetworkDriver.Join", `{`+ref+`,"SandboxKey":"/run/netns/box"}`)
	name, _ := joined["InterfaceName"].(map[string]any)["SrcName"].(string)
	if out := b.run("ip", "link", "set", name, "netns", "box"); out != "" {
		t.Errorf("move %q into the sandbox: %s", name, out)
	}
	b.call("NetworkDriver.ProgramExternalConnectivity",
		`{`+ref+`,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":80,"HostPortEnd":80}]}}`)
	if rules := b.run("sh", "-c", "nft list table inet fairway"); !strings.Contains(rules, "10.99.0.2 . 80") || !strings.Contains(rules, "fd00:99::2 . 80") {
		t.Errorf("rules:\n%s", rules)
	}

	if out := b.run("systemctl", "reload", "fairway.service"); out != "" {
		t.Errorf("reload: %s", out)
	}
	await(t, "the reload", func() error {
		if log := b.run("cat", "/var/log/fairway"); !strings.Contains(log, "msg=reloaded") {
			return errors.New("the log doesn't tell of it")
		}
		return nil
	})
	metrics := b.run("curl", "-sS", "--unix-socket", "/run/fairway/admin.sock", "http://fairway/metrics")
	for _, line := range []string{
		`fairway_endpoints{mode="bridge",network="n1"} 1`, `fairway_pool_addresses{pool="10.99.0.0/24",space="fairway-local",state="used"} 2`,
		`fairway_published_ports{network="n1",proto="tcp"} 2`, `fairway_endpoint_receive_packets_total{container="",network="n1"} `,
		`fairway_driver_requests_total{code="ok",method="NetworkDriver.Join"} 1`, "fairway_store_commit_duration_seconds_count ",
		"fairway_reconcile_failing 0", "process_open_fds ",
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("metrics have no line %s:\n%s", line, metrics)
		}
	}

	if got := b.run("sh", "-c", "TEST_FAIRWAY=1 /opt/fairway store check"); !strings.Contains(got, ": good: schema ") ||
		!strings.Contains(got, "1 networks, 1 endpoints, 1 pools, 2 addresses") || !strings.HasPrefix(got, "/var/lib/fairway/backup/") {
		t.Errorf("store check of a daemon that runs:\n%s", got)
	}

	b.run("systemctl", "kill", "-s", "KILL", "fairway.service")
	b.call("NetworkDriver.EndpointOperInfo", `{`+ref+`}`)
	if got := b.run("sh", "-c", "TEST_FAIRWAY=1 /opt/fairway ports"); !strings.Contains(got, "10.99.0.2:80") {
		t.Errorf("ports after kill -9:\n%s", got)
	}
	b.call("NetworkDriver.RevokeExternalConnectivity", `{`+ref+`}`)
	b.call("NetworkDriver.Leave", `{`+ref+`}`)
	b.call("NetworkDriver.DeleteEndpoint", `{`+ref+`}`)
	b.call("NetworkDriver.DeleteNetwork", `{"NetworkID":"n1"}`)

	b.run("systemctl", "stop", "fairway.service")
	for _, socket := range []string{"/run/docker/plugins/fairway.sock", "/run/fairway/admin.sock"} {
		if info, err := os.Stat(b.path(socket)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s after stop: %v, want it there with mode 0600", socket, err)
		}
	}
	select {
	case <-bus:
	default:
		t.Error("the service did not look for firewalld on D-Bus, or could not")
	}
	if log := b.run("cat", "/var/log/fairway"); strings.Contains(log, "not permitted") || strings.Contains(log, "permission denied") ||
		strings.Contains(log, "read-only file system") {
		t.Errorf("something was denied:\n%s", log)
	}
}
