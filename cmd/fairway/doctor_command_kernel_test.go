//go:build kernel

package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// exits runs a script and wants an exit code, and a text in what it prints.
func (w *ward) exits(t *testing.T, code int, says, script string) {
	t.Helper()
	out, err := w.try(t, script)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != code || !strings.Contains(out, says) {
		t.Errorf("%s: exit %d, want %d and %q:\n%s", script, got, code, says, out)
	}
}

// TestDoctorCommand is what an operator sees and types, with the other backend.
func TestDoctorCommand(t *testing.T) {
	w := newWard(t)
	w.sh(t, "systemctl stop fairway; echo FAIRWAY_FIREWALL=iptables >/run/env; systemctl start fairway")
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "web", "box", "10.98.0.2/24", "", [2]int{8080, 80})
	w.exits(t, exitGood, "0 bad, 0 warnings", "fairway doctor </dev/null")
	w.sh(t, "systemctl kill fairway; iptables -t nat -F")
	w.exits(t, exitBad, "jump from OUTPUT", "fairway doctor FW003 </dev/null")
	w.exits(t, exitGood, "  systemctl start fairway", "fairway doctor FW003 --fix -y </dev/null")
	w.exits(t, exitGood, "10.98.0.2:80", "fairway trace outside 192.0.2.1:8080 | grep 'to 10.98.0.2:80'")

	w.sh(t, "sysctl -w net.ipv4.ip_forward=0")
	w.exits(t, exitUsage, "want --yes", "fairway doctor --fix FW020 </dev/null")
	w.exits(t, exitBad, "fix: sysctl -w net/ipv4/ip_forward=1", "fairway doctor FW02 </dev/null")
	w.sh(t, "ip link set eth0 mtu 1400") // which an operator must judge
	w.exits(t, exitPartly, "0 bad, 1 warnings", "fairway doctor --fix --yes FW020 FW021 </dev/null")
	w.exits(t, exitBad, "nothing here is repaired by itself", "fairway doctor --fix --yes FW021 </dev/null")
	w.sh(t, "ip link set eth0 mtu 1500")
	// Where go test keeps its binaries is for root alone.
	w.sh(t, `self=$(sed -n 's/^exec \(.*\) "$@"$/\1/p' /run/bin/fairway); cp $self /run/bin/self
		sed "s,$self,/run/bin/self," /run/bin/fairway >/run/bin/for-all; chmod 755 /run/bin /run/bin/*`)
	w.exits(t, exitPermission, "hint: run it with sudo", "setpriv --reuid 65534 --clear-groups for-all doctor </dev/null")

	// Whoever reads metrics has the daemon look.
	w.sh(t, "sysctl -w net.ipv4.ip_forward=0")
	const metrics = "curl -s --unix-socket /run/fairway/admin.sock http://fairway/metrics"
	w.exits(t, exitGood, `fairway_doctor_finding{code="FW020",severity="bad"} 1`,
		metrics+" >/dev/null; for i in $(seq 100); do "+metrics+" | grep ^fairway_doctor_ && break; sleep 0.2; done")
	w.sh(t, "sysctl -w net.ipv4.ip_forward=1")

	w.sh(t, "fairway doctor FW020 --watch 1s >/run/watch 2>&1 & echo $! >/run/watcher")
	for _, step := range []struct{ script, says string }{
		{"true", "0 bad"},
		{"sysctl -w net.ipv4.ip_forward=0", "+ BAD FW020"},
		{"sysctl -w net.ipv4.ip_forward=1", "- BAD FW020"},
	} {
		w.exits(t, exitGood, "seen", step.script+"; for i in $(seq 100); do grep -qF -- '"+step.says+"' /run/watch && echo seen && break; sleep 0.1; done")
	}
	w.sh(t, "kill $(cat /run/watcher)")
}
