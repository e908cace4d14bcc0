package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ServeDNS starts dnsmasq, this machine's, as the DNS server of the LAN that hosts
// ask, until the test ends. It knows one name.
func (l *LAN) ServeDNS(t testing.TB, name, address string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("nsenter", "--target", fmt.Sprint(l.Neighbour.PID()), "--net", "dnsmasq", "--keep-in-foreground",
		"--conf-file=/dev/null", "--user=root", "--group=root", "--pid-file=", "--interface=lan", "--bind-interfaces",
		"--no-resolv", "--no-hosts", "--log-facility=-", "--host-record="+name+","+address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("lab: dnsmasq: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(settleTime); ; time.Sleep(50 * time.Millisecond) {
		text, _ := os.ReadFile(log.Name())
		if strings.Contains(string(text), "started") { // it says so once it listens
			return
		}
		if time.Now().After(end) {
			t.Fatalf("lab: dnsmasq doesn't start: %s", text)
		}
	}
}
