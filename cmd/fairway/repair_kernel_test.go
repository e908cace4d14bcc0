//go:build kernel

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// soon is generous: a repair takes some 50 ms, and the look that needs no
// notification comes every 30 s.
const soon = 12 * time.Second

// A harm is what somebody does with a script, and a part of what the daemon
// says that it found.
type harm struct{ script, says string }

// TestRepairAtOnce does harm to what a daemon keeps, one thing after the other,
// and sees it made good long before the daemon looks by itself.
func TestRepairAtOnce(t *testing.T) {
	both := []harm{
		{"ip link del fwbtest", "bridge fwbtest"},
		{"ip link set fwbtest down", "bridge fwbtest"},
		{"ip address flush dev fwbtest", "address 10.99.0.1/24 on fwbtest"},
		{"ip link del $port", "veth $port to fwbtest"},
		{"ip link set $port nomaster", "veth $port to fwbtest"},
		{"ip link set $port down", "veth $port to fwbtest"},
		{"ip link set $port down name fwvother", "veth $port to fwbtest"},
		{"nft delete table bridge fairway", "bridge fairway: the table was missing"},
		{"nft flush set bridge fairway macs", "bridge fairway: set macs lacked"},
		{"nft insert rule bridge fairway prerouting accept", "bridge fairway: chain prerouting had other rules"},
		{"iptables -F && iptables -t nat -F", "FAIRWAY-ACCEPT"},
		{"iptables -F DOCKER-USER", "jump from DOCKER-USER"},
		{"ip6tables -F; ip6tables -X FAIRWAY-ACCEPT", "FAIRWAY-ACCEPT was missing"},
		{"nft flush ruleset; " + before, "was missing"},
	}
	backends := []struct {
		name string
		own  []harm
	}{
		{"nftables", []harm{
			{"nft delete table inet fairway", "the table was missing"},
			{"nft flush table inet fairway", "had other rules"},
			{"nft flush chain inet fairway to-nat", "chain to-nat had other rules"},
			{"nft flush chain inet fairway nat-output; nft delete chain inet fairway nat-output", "chain nat-output was missing"},
			{"nft 'delete element inet fairway ports4 { tcp . 8080 }'", "set ports4 lacked 1 elements"},
			{"nft 'delete element inet fairway to { ipv4 . \"fwbtest\" }'", "set to lacked 1 elements"},
			{"nft insert rule inet fairway filter-forward accept", "chain filter-forward had other rules"},
		}},
		{"iptables", []harm{
			{"iptables -t nat -F", "jump from PREROUTING"},
			{"iptables -t raw -F", "jump from PREROUTING"},
			{"iptables -t nat -D OUTPUT 1", "jump from OUTPUT"},
			{"iptables -I FORWARD -j ACCEPT; iptables -F FAIRWAY-FORWARD", "FAIRWAY-FORWARD lacked"},
		}},
	}
	for _, backend := range backends {
		t.Run(backend.name, func(t *testing.T) {
			h := startIn(t, backend.name)
			for _, harm := range append(backend.own, both...) {
				t.Run(harm.script, func(t *testing.T) { h.suffer(t, harm) })
			}
		})
	}
}

// before is what others' programs have done to a host before fairway: its
// iptables drop what nobody accepts, as with Docker.
const before = "for i in iptables ip6tables; do $i -P FORWARD DROP; $i -N DOCKER-USER; $i -A FORWARD -j DOCKER-USER; done"

// A host is a daemon in a network namespace of its own, with one network and
// two endpoints of it.
type host struct {
	*client
	pid  int
	log  string
	port string // link of an endpoint that waits for its container
	*strings.Replacer
}

// A client speaks the plugin's protocol.
type client struct{ socket string }

func (c *client) call(t testing.TB, method, body string) string {
	t.Helper()
	reply, err := askWith(c.socket, "/"+method, body)
	if err != nil || strings.Contains(reply, `"Err"`) {
		t.Fatalf("%s: %s, %v", method, reply, err)
	}
	return reply
}

func startIn(t *testing.T, backend string) *host {
	t.Helper()
	h := daemonIn(t, openDir(t), backend, before)
	h.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,`+
		`"com.docker.network.generic":{"com.docker.network.bridge.name":"fwbtest"}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.99.0.0/24","Gateway":"10.99.0.1/24"}],`+
		`"IPv6Data":[{"AddressSpace":"x","Pool":"fd00:99::/64","Gateway":"fd00:99::1/64"}]}`)
	h.attach(t, 2)
	h.port = strings.TrimSpace(h.run(t, "ip -o link show master fwbtest | sed 's/^[0-9]*: \\([^@]*\\)@.*/\\1/'"))
	h.Replacer = strings.NewReplacer("$port", h.port)
	h.attach(t, 3)
	h.call(t, "NetworkDriver.Join", `{"NetworkID":"n1","EndpointID":"e3","SandboxKey":"/run/netns/none"}`)
	h.call(t, "NetworkDriver.ProgramExternalConnectivity",
		`{"NetworkID":"n1","EndpointID":"e3","Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080,"HostPortEnd":8080}]}}`)
	return h
}

// daemonIn starts a daemon with its files in dir, in a namespace that a script has
// set up.
func daemonIn(t *testing.T, dir, backend, setup string) *host {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{client: &client{filepath.Join(dir, "plugin.sock")}, log: filepath.Join(dir, "log")}
	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-ec", "ip link set lo up; "+setup+`; exec "$@"`, "sh", self, "daemon", "--firewall", backend,
		"--socket", h.socket, "--admin-socket", filepath.Join(dir, "admin.sock"),
		"--state-dir", filepath.Join(dir, "state"), "--docker-socket=", "--log-level", "debug")
	cmd.Env = append(os.Environ(), childCommand+"=1", "TEST_OPEN_TABLE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the process ends with its thread
		err := cmd.Start()
		if started <- err; err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	h.pid = cmd.Process.Pid
	t.Cleanup(func() {
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(h.log)
			t.Logf("fairway:\n%s", text)
		}
	})
	await(t, "the daemon serves", func() error {
		_, err := askWith(h.socket, "/NetworkDriver.GetCapabilities", "{}")
		return err
	})
	return h
}

func (h *host) attach(t testing.TB, n int) {
	t.Helper()
	h.call(t, "NetworkDriver.CreateEndpoint", fmt.Sprintf(
		`{"NetworkID":"n1","EndpointID":"e%d","Interface":{"Address":"10.99.0.%d/24","AddressIPv6":"fd00:99::%x/64"}}`, n, n, n))
}

// live is the life of an endpoint with a published port, whose other end is in
// a sandbox meanwhile.
func (h *host) live(t testing.TB, n int, box *sandbox) {
	t.Helper()
	h.attach(t, n)
	ref := fmt.Sprintf(`{"NetworkID":"n1","EndpointID":"e%d"`, n)
	reply := h.call(t, "NetworkDriver.Join", ref+`,"SandboxKey":"/run/netns/none"}`)
	var joined struct{ InterfaceName struct{ SrcName string } }
	if err := json.Unmarshal([]byte(reply), &joined); err != nil {
		t.Fatal(err)
	}
	h.call(t, "NetworkDriver.ProgramExternalConnectivity", fmt.Sprintf(
		`%s,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":%d,"HostPortEnd":%[2]d}]}}`, ref, 20000+n))
	if n%16 == 0 { // it takes its time
		box.visit(t, joined.InterfaceName.SrcName)
	}
	h.call(t, "NetworkDriver.RevokeExternalConnectivity", ref+"}")
	h.call(t, "NetworkDriver.Leave", ref+"}")
	h.call(t, "NetworkDriver.DeleteEndpoint", ref+"}")
}

// A sandbox is a network namespace that links of a host's visit.
type sandbox struct {
	home, there netns.NsHandle
	at          [2]*netlink.Handle // home and there
}

func newSandbox(t testing.TB, pid int) *sandbox {
	t.Helper()
	b := &sandbox{}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		b.there, err = netns.New()
		made <- err
	}()
	err := <-made
	if err == nil {
		b.home, err = netns.GetFromPid(pid)
	}
	for i, ns := range []netns.NsHandle{b.home, b.there} {
		if err == nil {
			b.at[i], err = netlink.NewHandleAt(ns)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, h := range b.at {
			h.Close()
		}
		_, _ = b.home.Close(), b.there.Close()
	})
	return b
}

// visit moves a link into the sandbox, up there, and back.
func (b *sandbox) visit(t testing.TB, name string) {
	t.Helper()
	link, err := b.at[0].LinkByName(name)
	if err == nil {
		err = b.at[0].LinkSetNsFd(link, int(b.there))
	}
	if err == nil {
		link, err = b.at[1].LinkByName(name)
	}
	if err == nil {
		err = b.at[1].LinkSetUp(link)
	}
	if err == nil {
		err = b.at[1].LinkSetNsFd(link, int(b.home))
	}
	if err != nil {
		t.Errorf("%s visits a sandbox: %v", name, err)
	}
}

// run runs a script in the daemon's namespace.
func (h *host) run(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nsenter", "-t", fmt.Sprint(h.pid), "-n", "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// state is what the daemon keeps, in a form that is the same when it was made
// again. In which order rules are is for the firewall's own tests.
func (h *host) state(t testing.TB) string {
	t.Helper()
	return h.run(t, `{ nft -s list table inet fairway; nft -s list table bridge fairway; } 2>/dev/null | sort
		{ iptables-save; ip6tables-save; } | grep -i fairway | sed 's/\[.*\]//' | sort
		ip -o link | sed -n 's/^[0-9]*: \(fw[^ ]*\) <.*[<,]\(UP\)[,>].*\( mtu [0-9]*\).*\( master fwbtest\).*alias \(.*\)/\1 \2\3\4 \5/p;
			s/^[0-9]*: \(fwbtest:\) <.*[<,]\(UP\)[,>].*alias \(.*\)/\1 \2 \3/p' | sort
		ip -o address show dev fwbtest scope global 2>&1 | sed 's/^[0-9]*: //' | sort`)
}

func (h *host) logSize(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(h.log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// suffer does harm, and waits until nothing of it is left and the daemon has
// said what it found.
func (h *host) suffer(t *testing.T, harm harm) {
	t.Helper()
	says := h.Replace(harm.says)
	before, logged := h.state(t), h.logSize(t)
	h.run(t, h.Replace(harm.script))
	var after, log string
	for start := time.Now(); time.Since(start) < soon; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(h.log)
		if err != nil {
			t.Fatal(err)
		}
		if log = string(text[logged:]); !strings.Contains(log, "repaired: ") || !strings.Contains(log, says) {
			continue
		}
		if after = h.state(t); after == before {
			return
		}
	}
	t.Errorf("%s after it the log has, want %q:\n%s\nbefore:\n%s\nnow:\n%s", soon, says, log, before, after)
}

// TestOwnChangesAreNoHarm has a daemon do what it is there for, with links moved
// as Docker moves them: none of it may make it look at everything each time.
func TestOwnChangesAreNoHarm(t *testing.T) {
	const bound = 10
	for backend, endpoints := range map[string]int{"nftables": 120, "iptables": 24} {
		t.Run(backend, func(t *testing.T) {
			h := startIn(t, backend)
			box := newSandbox(t, h.pid)
			logged := h.logSize(t)
			var all sync.WaitGroup
			for worker := range 8 {
				all.Go(func() {
					for n := worker; n < endpoints; n += 8 {
						h.live(t, 4+(n*7)%endpoints, box)
					}
				})
			}
			all.Wait()
			for range 8 {
				h.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"n2","Options":{"com.docker.network.generic":{}},`+
					`"IPv4Data":[{"AddressSpace":"x","Pool":"10.98.0.0/24","Gateway":"10.98.0.1/24"}]}`)
				h.call(t, "NetworkDriver.DeleteNetwork", `{"NetworkID":"n2"}`)
			}
			text, err := os.ReadFile(h.log)
			if err != nil {
				t.Fatal(err)
			}
			log := string(text[logged:])
			rules, links := strings.Count(log, "watch: rules were changed"), strings.Count(log, "watch: links were changed")
			t.Logf("%d looks at rules, %d at links", rules, links)
			if strings.Contains(log, "repaired: ") {
				t.Error("something was repaired")
			}
			if rules > bound || links > bound {
				t.Errorf("%d endpoints: %d looks at rules, %d at links, want at most %d", endpoints, rules, links, bound)
			}
		})
	}
}
