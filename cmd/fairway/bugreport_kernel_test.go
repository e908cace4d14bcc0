//go:build kernel

package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestBugreport strews secrets over the host and finds none of them in a report,
// nor in one made with the daemon down; what is to be in it is.
func TestBugreport(t *testing.T) {
	w := newWard(t)
	w.network(t, "web", "10.98.0.0/24", "10.98.0.1/24", "")
	w.endpoint(t, "web", "box", "10.98.0.2/24", "", [2]int{8080, 80})
	w.sh(t, `
mkdir -p /etc/fairway /etc/default /etc/docker
echo '# s3cr3t-settings
log-level: debug' >/etc/fairway/fairway.yaml
echo 'TOKEN=s3cr3t-default' >/etc/default/fairway
echo '{"hosts": ["s3cr3t-docker"]}' >/etc/docker/daemon.json
echo FAIRWAY_TOKEN=s3cr3t-environment >/run/env
systemctl restart fairway
nft 'add table inet mine; add chain inet mine f { type filter hook forward priority -20; policy accept; }; add rule inet mine f ip daddr 10.98.0.0/24 drop comment "s3cr3t-nft"'
iptables -I DOCKER-USER -d 10.98.0.0/24 -m comment --comment s3cr3t-iptables -j DROP
iptables -I FORWARD -m comment --comment "s3cr3t forward" -j FAIRWAY-ACCEPT || true
ip link add s3cr3t0 type veth peer name s3cr3t1; ip link set s3cr3t0 alias s3cr3t-alias up
ip rule add pref 3000 from 10.98.0.0/24 lookup 3000; ip route add 203.0.113.77 dev s3cr3t0
echo s3cr3t >/run/state/s3cr3t-file`)
	first := w.report(t, "fairway bugreport -o /run/report.tar.gz")
	for _, name := range []string{
		"host.txt", "version.json", "status.json", "settings.json", "networks.json", "endpoints.json", "ports.json", "traffic.json", "doctor.json",
		"events.txt", "metrics.txt", "kernel/links.json", "kernel/sysctls.txt", "kernel/nftables.txt", "kernel/iptables.txt",
	} {
		if len(first[name]) < 10 || first[name+".error"] != "" {
			t.Errorf("%s: %q, %s", name, first[name], first[name+".error"])
		}
	}
	for name, what := range map[string]string{
		"networks.json": "10.98.0.0/24", "endpoints.json": "10.98.0.2/24", "ports.json": "8080", "doctor.json": "FW03", "events.txt": "ready:",
		"kernel/links.json": `"kind": "bridge"`, "kernel/nftables.txt": "table inet fairway", "kernel/sysctls.txt": "net/ipv4/ip_forward = ",
		"settings.json": "log-level", "metrics.txt": "fairway_up 1",
	} {
		if !strings.Contains(first[name], what) {
			t.Errorf("%s has no %q:\n%s", name, what, first[name])
		}
	}
	if out, err := w.try(t, "fairway bugreport -o /run/report.tar.gz"); err == nil || !strings.Contains(out, "exists") {
		t.Errorf("a second one over the first: %v\n%s", err, out)
	}
	w.sh(t, `rm /run/report.tar.gz; systemctl stop fairway
nft 'add rule inet fairway filter-forward accept comment "s3cr3t-ours"'`)
	down := w.report(t, "fairway bugreport --anonymous -o - >/run/report.tar.gz; chmod 600 /run/report.tar.gz")
	if !strings.Contains(down["networks.json"], "10.98.0.0/24") || !strings.Contains(down["doctor.json"], "FW006") || down["status.json.error"] == "" {
		t.Errorf("with the daemon down: %v", down)
	}
}

// report makes a report, returns its files, and looks for secrets.
func (w *ward) report(t *testing.T, command string) map[string]string {
	t.Helper()
	said := w.sh(t, command)
	path := filepath.Join("/proc", strconv.Itoa(w.init), "root/run/report.tar.gz")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the report's mode is %v, %v", info.Mode(), err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(text)
		if at := strings.Index(string(text), "s3cr3t"); at >= 0 {
			t.Errorf("%s has a secret: …%s", name, text[max(0, at-100):min(len(text), at+100)])
		}
		if !strings.HasSuffix(name, ".error") && !strings.Contains(said, name) {
			t.Errorf("%s wasn't listed:\n%s", name, said)
		}
	}
}
