//go:build kernel

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// A ward is a host to do harm to: network, mount and process namespaces of its
// own, with /run and /etc that can be written, two uplinks, a daemon, and
// programs fairway and systemctl in /run/bin. There is no systemd in a
// namespace: systemctl is a script that does what units would.
type ward struct {
	*client
	t    testing.TB
	init int // process 1 in there
}

const wardSetup = `
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/etc /run/work /run/bin /run/state /run/docker/plugins /run/fairway /run/netns
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work none /etc
mount -t tmpfs -o size=64m,mode=700 none /run/state
rm -rf /etc/NetworkManager /etc/systemd/network /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d /etc/docker /etc/firewalld /etc/dhcpcd.conf
ip link set lo up
for i in 0 1; do
	ip link add eth$i type veth peer name lan$i
	ip link set eth$i up; ip link set lan$i up
done
ip address add 192.0.2.1/24 dev eth0
ip address add 203.0.113.1/24 dev eth1
ip netns add out
ip link set lan0 netns out
ip -n out link set lo up; ip -n out link set lan0 up
ip -n out address add 192.0.2.254/24 dev lan0; ip -n out address add 198.51.100.1/32 dev lo
ip -n out route add default via 192.0.2.1
ip route add default via 192.0.2.254 dev eth0
ip -6 address add 2001:db8::1/64 dev eth0 nodad
for i in iptables ip6tables; do $i -N DOCKER-USER; $i -A FORWARD -j DOCKER-USER; done
cat >/run/bin/fairway <<'END'
#!/bin/sh
if [ -e /run/version ]; then export TEST_FAIRWAY_VERSION=$(cat /run/version); fi
if [ -e /run/env ]; then export $(cat /run/env); fi
export TEST_FAIRWAY=1 FAIRWAY_STATE_DIR=/run/state FAIRWAY_DOCKER_SOCKET=
exec SELF "$@"
END
cat >/run/bin/systemctl <<'END'
#!/bin/sh
ended() { # with all of its threads, so that its sockets are closed
	while [ -e /proc/$1 ] && ! { grep -q '^State:.Z' /proc/$1/status && [ $(ls /proc/$1/task | wc -l) = 1 ]; } 2>/dev/null; do sleep 0.02; done
}
case "$1 $2" in
"restart fairway") systemctl stop fairway; exec systemctl start fairway ;;
"stop fairway") kill $(cat /run/pid); ended $(cat /run/pid) ;;
"kill fairway") kill -9 $(cat /run/pid); ended $(cat /run/pid) ;;
"start fairway")
	fairway daemon --log-level debug >>/run/log 2>&1 & echo $! >/run/pid
	fairway status --check ready --wait 20s ;;
*) echo "systemctl $*: not in this test"; exit 1 ;;
esac
END
chmod 755 /run/bin/*
echo ready
while sleep 1; do :; done # and what ended is waited for
`

// newWard makes a host and starts the daemon on it.
func newWard(t testing.TB) *ward {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", strings.ReplaceAll(wardSetup, "SELF", self))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the process ends with its thread
		err := cmd.Start()
		if started <- err; err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("make a host: %q, %v", line, err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{t: t}
	if w.init, err = strconv.Atoi(strings.Fields(string(children))[0]); err != nil {
		t.Fatal(err)
	}
	w.client = &client{filepath.Join("/proc", strconv.Itoa(w.init), "root/run/docker/plugins/fairway.sock")}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.init), "root/run/log"))
			t.Logf("fairway:\n%s", log[max(0, len(log)-20000):])
		}
		_ = syscall.Kill(w.init, syscall.SIGKILL)
		<-ended
	})
	w.sh(t, "systemctl start fairway")
	return w
}

// try runs a script on the host.
func (w *ward) try(t testing.TB, script string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(w.init), "-n", "-m", "-p", "sh", "-ec", script)
	cmd.Env = append(os.Environ(), "PATH=/run/bin:"+os.Getenv("PATH"))
	cmd.WaitDelay = 100 * time.Millisecond // a daemon that it starts keeps the pipe
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.Success() {
		err = nil
	}
	return string(out), err
}

func (w *ward) sh(t testing.TB, script string) string {
	t.Helper()
	out, err := w.try(t, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// network makes a network of the driver with -o options.
func (w *ward) network(t testing.TB, id, subnet, gateway, options string) {
	t.Helper()
	w.call(t, "NetworkDriver.CreateNetwork", fmt.Sprintf(`{"NetworkID":%q,"Options":{"com.docker.network.enable_ipv4":true,"com.docker.network.generic":{%s}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":%q,"Gateway":%q}]}`, id, options, subnet, gateway))
}

// endpoint makes an endpoint and its container: a sandbox with the link in it,
// as Docker has it. Ports are published as host:container.
func (w *ward) endpoint(t testing.TB, network, id, ip, mac string, ports ...[2]int) {
	t.Helper()
	ref := fmt.Sprintf(`{"NetworkID":%q,"EndpointID":%q`, network, id)
	ip6 := ""
	if network == "n1" { // which has both families
		ip6 = "fd00:99::" + ip[strings.LastIndexByte(ip, '.')+1:strings.IndexByte(ip, '/')] + "/64"
	}
	w.call(t, "NetworkDriver.CreateEndpoint", fmt.Sprintf(`%s,"Interface":{"Address":%q,"AddressIPv6":%q,"MacAddress":%q}}`, ref, ip, ip6, mac))
	w.sh(t, "ip netns add "+id+" && ip -n "+id+" link set lo up")
	reply := w.call(t, "NetworkDriver.Join", ref+fmt.Sprintf(`,"SandboxKey":"/run/netns/%s"}`, id))
	var joined struct {
		InterfaceName struct{ SrcName string }
		Gateway       string
	}
	if err := json.Unmarshal([]byte(reply), &joined); err != nil {
		t.Fatal(err)
	}
	w.sh(t, fmt.Sprintf("ip link set %s netns %s name eth0 && ip -n %[2]s address add %s dev eth0 && ip -n %[2]s link set eth0 up", joined.InterfaceName.SrcName, id, ip))
	if ip6 != "" {
		w.sh(t, fmt.Sprintf("ip -n %s address add %s dev eth0 nodad", id, ip6))
	}
	if joined.Gateway != "" {
		w.sh(t, fmt.Sprintf("ip -n %s route add default via %s", id, joined.Gateway))
	}
	var all []string
	for _, p := range ports {
		all = append(all, fmt.Sprintf(`{"Proto":6,"Port":%d,"HostPort":%d,"HostPortEnd":%[2]d}`, p[1], p[0]))
	}
	if len(all) > 0 {
		w.call(t, "NetworkDriver.ProgramExternalConnectivity", ref+`,"Options":{"com.docker.network.portmap":[`+strings.Join(all, ",")+`]}}`)
	}
}

// remove takes an endpoint and its container away.
func (w *ward) remove(t testing.TB, network, id string) {
	t.Helper()
	ref := fmt.Sprintf(`{"NetworkID":%q,"EndpointID":%q}`, network, id)
	w.call(t, "NetworkDriver.Leave", ref)
	w.call(t, "NetworkDriver.DeleteEndpoint", ref)
	w.sh(t, "ip netns del "+id+" || true")
}

// listen has a process of the host, this one, listen on a port there.
func (w *ward) listen(t testing.TB, address string) net.Listener {
	t.Helper()
	type opened struct {
		l   net.Listener
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromPid(w.init)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp4", address)
		}
		done <- opened{l, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.l
}
