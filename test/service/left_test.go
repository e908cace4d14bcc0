//go:build release

package service

import (
	"slices"
	"strings"
)

// files lists what is on the machine's disk, but what Docker, systemd and dpkg
// keep for themselves.
func (m *machine) files() string {
	m.t.Helper()
	return m.sh(`find / -xdev \( -path /files -o -path /root -o -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/systemd ` +
		`-o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /etc/docker -o -path /opt -o -path /var/tmp \) -prune -o -print; ` +
		`ls -d /run/fairway* /run/docker/plugins/fairway* 2>/dev/null || :`)
}

// left returns the files that weren't there before.
func (m *machine) left(before string) (out []string) {
	m.t.Helper()
	had := strings.Fields(before)
	for _, path := range strings.Fields(m.files()) {
		if !slices.Contains(had, path) {
			out = append(out, path)
		}
	}
	return out
}

// nothingLeft compares the machine with what it was, and its kernel with one that
// never saw fairway.
func (m *machine) nothingLeft(before string) {
	m.t.Helper()
	for _, path := range m.left(before) {
		m.t.Errorf("%s is left", path)
	}
	for what, line := range map[string]string{
		"links":  "ip -o link | grep ' fw' || :",
		"tables": "nft list tables | grep fairway || :",
		"chains": "iptables-save | grep -i fairway || :; ip6tables-save | grep -i fairway || :",
		"rules":  "ip rule | grep 'proto 102' || :; ip -6 rule | grep 'proto 102' || :",
		"routes": "ip route show table 4000; ip route show table 4001; ip -6 route show table 4000; ip -6 route show table 4001",
		"units":  "systemctl list-unit-files --no-legend 'fairway*'; systemctl --failed --no-legend 'fairway*'",
	} {
		if out, _ := m.try(line + " 2>/dev/null"); out != "" && !strings.Contains(out, "does not exist") {
			m.t.Errorf("%s are left:\n%s", what, out)
		}
	}
}
