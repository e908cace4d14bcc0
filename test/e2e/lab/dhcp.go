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

// A DHCPServer is a dnsmasq that serves the LAN from the neighbour.
type DHCPServer struct {
	cmd *exec.Cmd
	log string
}

// ServeDHCP starts dnsmasq, this machine's, in the neighbour's network namespace
// with more arguments, until Stop or the test's end. Its leases are new each time.
func (l *LAN) ServeDHCP(t testing.TB, args ...string) *DHCPServer {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	all := append([]string{
		"--target", fmt.Sprint(l.Neighbour.PID()), "--net", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-ping",
		"--port=0", "--user=root", "--group=root", "--pid-file=", "--interface=lan", "--bind-interfaces",
		"--log-dhcp", "--log-facility=-", "--dhcp-leasefile=" + filepath.Join(dir, "leases"),
	}, args...)
	s := &DHCPServer{cmd: exec.Command("nsenter", all...), log: log.Name()}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("lab: dnsmasq: %v", err)
	}
	t.Cleanup(s.Stop)
	s.Says(t, ", IP range ")
	return s
}

// Stop ends the server; it tells nobody.
func (s *DHCPServer) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Says waits until the server has logged something.
func (s *DHCPServer) Says(t testing.TB, what string) {
	t.Helper()
	var text []byte
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text, _ = os.ReadFile(s.log)
		if strings.Contains(string(text), what) {
			return
		}
	}
	t.Errorf("the DHCP server never said %q:\n%s", what, text)
}
