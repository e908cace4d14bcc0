//go:build kernel

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fill makes a network with endpoints that have a sandbox and a published port
// each.
func (w *ward) fill(b *testing.B, endpoints int) {
	b.Helper()
	w.network(b, "big", "10.64.0.0/20", "10.64.0.1/20", `"com.docker.network.bridge.name":"fwbtest"`)
	var add, move, set strings.Builder
	for n := range endpoints {
		id, ip := fmt.Sprintf("e%d", n), fmt.Sprintf("10.64.%d.%d/20", 1+n/200, 1+n%200)
		fmt.Fprintf(&add, "netns add %s\n", id)
		ref := `{"NetworkID":"big","EndpointID":"` + id + `"`
		w.call(b, "NetworkDriver.CreateEndpoint", fmt.Sprintf(`%s,"Interface":{"Address":%q}}`, ref, ip))
		reply := w.call(b, "NetworkDriver.Join", ref+`,"SandboxKey":"/run/netns/`+id+`"}`)
		var joined struct{ InterfaceName struct{ SrcName string } }
		if err := json.Unmarshal([]byte(reply), &joined); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&move, "link set %s netns %s name eth0\n", joined.InterfaceName.SrcName, id)
		fmt.Fprintf(&set, "ip -n %s -batch - <<'END'\nlink set lo up\naddress add %s dev eth0\nlink set eth0 up\nroute add default via 10.64.0.1\nEND\n", id, ip)
	}
	for program, text := range map[string]string{"ip -batch": add.String() + move.String(), "sh -e": set.String()} {
		if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(w.init), "root/run", program), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	w.sh(b, "ip -batch '/run/ip -batch' && sh -e '/run/sh -e'")
	for n := range endpoints {
		w.call(b, "NetworkDriver.ProgramExternalConnectivity", fmt.Sprintf(
			`{"NetworkID":"big","EndpointID":"e%d","Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":%d,"HostPortEnd":%[2]d}]}}`, n, 20000+n))
	}
}

// BenchmarkStart measures how long the daemon takes from its start until it tells
// systemd that it is ready, with so many endpoints recorded, and nothing to repair.
// version is what a start of the program costs alone.
func BenchmarkStart(b *testing.B) {
	for _, present := range []int{1, 1000} {
		w := newWard(b)
		w.fill(b, present)
		if n := strings.TrimSpace(w.sh(b, "fairway endpoints -q | wc -l")); n != strconv.Itoa(present) {
			b.Fatalf("%s endpoints", n)
		}
		told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{
			Name: filepath.Join("/proc", strconv.Itoa(w.init), "root/run/notify"), Net: "unixgram",
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { told.Close() })
		b.Run(fmt.Sprintf("daemon/present=%d", present), func(b *testing.B) {
			cpu := 0.0
			for b.Loop() {
				b.StopTimer()
				w.sh(b, "systemctl stop fairway")
				b.StartTimer()
				w.sh(b, "NOTIFY_SOCKET=/run/notify fairway daemon --log-level debug >>/run/log 2>&1 & echo $! >/run/pid")
				awaitReady(b, told)
				b.StopTimer()
				var user, system float64 // in hundredths of a second: proc_pid_stat(5)
				text := w.sh(b, "cut -d' ' -f14,15 /proc/$(cat /run/pid)/stat")
				if _, err := fmt.Sscan(text, &user, &system); err != nil {
					b.Fatalf("%q: %v", text, err)
				}
				cpu += 10 * (user + system)
				b.StartTimer()
			}
			b.ReportMetric(cpu/float64(b.N), "cpu-ms/op")
		})
		b.Run(fmt.Sprintf("version/present=%d", present), func(b *testing.B) {
			for b.Loop() {
				w.sh(b, "fairway version")
			}
		})
	}
}

// childrenTime is what the processes that this one started have had of a
// processor: on a busy machine it says more than how long they took.
func childrenTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// awaitReady waits until a daemon says that it is: sd_notify(3).
func awaitReady(b *testing.B, told *net.UnixConn) {
	b.Helper()
	if err := told.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		b.Fatal(err)
	}
	for text := make([]byte, 4096); ; {
		n, err := told.Read(text)
		if err != nil {
			b.Fatal(err)
		}
		if strings.Contains(string(text[:n]), "READY=1") {
			return
		}
	}
}

// BenchmarkExplain measures the commands that explain things, beside so many
// endpoints with a published port each: of their process, from start to end.
func BenchmarkExplain(b *testing.B) {
	for _, present := range []int{1, 1000} {
		w := newWard(b)
		w.fill(b, present)
		for name, script := range map[string]string{
			"doctor": "fairway doctor --json >/run/found || true", "trace": fmt.Sprintf("fairway trace outside 192.0.2.1:%d >/run/way || true", 20000+present-1),
			"status": "fairway status >/dev/null", "top": "fairway top >/dev/null", "inspect": "fairway inspect 10.64.1.1 >/dev/null",
		} {
			b.Run(fmt.Sprintf("%s/present=%d", name, present), func(b *testing.B) {
				before := childrenTime(b)
				for b.Loop() {
					w.sh(b, script)
				}
				b.ReportMetric(float64((childrenTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			})
		}
		b.Log(w.sh(b, "tail -5 /run/way; grep '\"text\"' /run/found | sort | uniq -c | sort -n | tail -5 | cut -c1-200"))
	}
}
