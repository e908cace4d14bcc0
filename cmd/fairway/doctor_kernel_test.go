//go:build kernel

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"fairway/doctor"
)

// A provoked finding: what a script does to the host, and what takes it away.
type provoked struct {
	code string
	harm string // a script on the host
	says string // a part of the finding's text
	// remedy is a script of an operator's; "" for the finding's own commands, by
	// --fix where they may be run so, else as they are printed.
	remedy string
	after  string                                    // puts back what the remedy leaves
	do     func(t *testing.T, w *ward) (undo func()) // harm that is no script, before it
}

// process starts a program that is called so, and quit ends it.
func process(name string) string {
	return "cp $(readlink -f $(command -v sleep)) /run/bin/" + name + "; /run/bin/" + name + " 86400 >/dev/null 2>&1 & echo $! >/run/process\n"
}

const quit = "kill $(cat /run/process)"

func provocations() []provoked {
	kill := "systemctl kill fairway; "
	return []provoked{
		{code: "FW002", harm: kill + "ip address flush dev fwbtest", says: "address 10.99.0.1/24 on fwbtest"},
		{code: "FW003", harm: kill + "nft delete table inet fairway", says: "inet fairway: the table was missing"},
		{code: "FW003", harm: kill + "nft 'delete element inet fairway ports4 { tcp . 8080 }'", says: "ports4 lacked 1 elements"},
		{code: "FW003", harm: kill + "iptables -F FAIRWAY-ACCEPT", says: "FAIRWAY-ACCEPT"},
		{code: "FW004", harm: kill + "ip rule del priority 4000", says: "ip rule 4000 was missing"},
		{code: "FW005", harm: kill + "nft delete table bridge fairway", says: "bridge fairway: the table was missing"},
		{code: "FW006", harm: kill, says: "daemon not reachable"},
		{code: "FW011", harm: kill, says: "connection refused", after: "systemctl start fairway"},
		{
			code: "FW001", says: "the file is damaged", after: "systemctl start fairway",
			harm: "systemctl stop fairway; mkdir -p /run/state/backup; cp /run/state/fairway.db /run/state/backup/fairway-20260101T000000.000Z.db; printf 0000000000000000 | dd of=/run/state/fairway.db bs=1 seek=16 conv=notrunc; printf 0000000000000000 | dd of=/run/state/fairway.db bs=1 seek=4112 conv=notrunc",
		},
		{
			code: "FW007", says: "fwbtest", remedy: "ip link del fwbtest; fairway repair",
			harm: "kill -STOP $(cat /run/pid); ip link set fwbtest down; ip link set fwbtest name old; ip link add fwbtest type bridge; kill -CONT $(cat /run/pid); fairway repair || true",
		},
		{code: "FW008", harm: "echo 99.0 >/run/version", says: "the program 99.0", after: "rm /run/version; systemctl restart fairway"},
		{code: "FW009", harm: "chmod 755 /run/state", says: "mode 0755"},
		{code: "FW010", harm: "head -c 40m /dev/zero >/run/state/big", says: "MiB", remedy: "rm /run/state/big"},
		{code: "FW012", harm: "mkdir -p /etc/docker/plugins; touch /etc/docker/plugins/fairway.spec", says: "/etc/docker/plugins/fairway.spec"},
		{code: "FW013", harm: "p=$(cat /run/pid); prlimit --pid $p --nofile=$(($(ls /proc/$p/fd | wc -l) + 3)):", says: "files are open"},
		{
			code: "FW014", says: "of 16 entries", after: "umount /proc/sys/net/ipv4/neigh; ip neigh flush dev eth1",
			// The limit is one of all namespaces: here, a file stands for it.
			harm: "mount -t tmpfs none /proc/sys/net/ipv4/neigh; mkdir /proc/sys/net/ipv4/neigh/default; echo 16 >/proc/sys/net/ipv4/neigh/default/gc_thresh3; for i in $(seq 10 30); do ip neigh add 203.0.113.$i lladdr 02:00:00:00:00:$i dev eth1 nud reachable; done",
		},
		{
			code: "FW015", says: "of 8 connections", after: "umount /proc/sys/net/netfilter/nf_conntrack_max; conntrack -F",
			harm: "echo 8 >/run/ct; mount --bind /run/ct /proc/sys/net/netfilter/nf_conntrack_max; for i in $(seq 1 10); do conntrack -I -p udp -s 192.0.2.$i -d 192.0.2.200 --sport 1 --dport 2 -t 600; done",
		},
		{code: "FW016", harm: "ip link add fwbold type bridge; ip link set fwbold alias fairway:deadbeef:x", says: "fwbold"},
		{code: "FW020", harm: "sysctl -w net.ipv4.ip_forward=0", says: "ip_forward is 0"},
		{code: "FW021", harm: "ip link set eth0 mtu 1400", says: "1500 bytes here, 1400 on eth0", remedy: "ip link set eth0 mtu 1500"},
		{code: "FW022", harm: "sysctl -w net.ipv6.conf.all.forwarding=0", says: "by IPv6"},
		{
			code: "FW023", says: "default route by eth0", after: "ip -6 route del default",
			harm: "sysctl -w net.ipv6.conf.eth0.accept_ra=1; ip -6 route add default via fe80::1 dev eth0 proto ra",
		},
		{
			code: "FW024", says: "by eth1 is dropped", after: "ip route del default metric 500; sysctl -w net.ipv4.conf.eth1.rp_filter=0",
			harm: "ip route add default via 203.0.113.254 dev eth1 metric 500; sysctl -w net.ipv4.conf.eth1.rp_filter=1",
		},
		{code: "FW025", harm: "sysctl -w net.ipv4.conf.eth0.route_localnet=1", says: "eth0.route_localnet"},
		{code: "FW026", harm: "sysctl -w net.ipv4.conf.eth0.forwarding=0", says: "eth0.forwarding"},
		{
			code: "FW030", says: "from network n1 to the outside: dropped by inet mine forward: policy drop", after: "nft delete table inet mine",
			harm: "nft 'add table inet mine; add chain inet mine forward { type filter hook forward priority 0; policy drop; }; add rule inet mine forward ct state established accept'",
		},
		{code: "FW030", says: "handle", harm: "nft 'add table ip mine; add chain ip mine f { type filter hook forward priority -20; }; add set ip mine bad { type inet_service; elements = { 443 } }; add rule ip mine f tcp dport @bad counter reject'", after: "nft delete table ip mine"},
		{code: "FW031", harm: "iptables -I DOCKER-USER -j DROP", says: "dropped by ip filter DOCKER-USER: -A DOCKER-USER -j DROP"},
		{code: "FW031", harm: "iptables -I FORWARD -i eth0 -p tcp -m tcp --dport 80 -j REJECT", says: "from the outside to port 8080"},
		{code: "FW032", harm: "iptables-legacy -A FORWARD -s 203.0.113.9 -j DROP", says: "iptables-legacy has 1 rules"},
		{
			code: "FW033", says: "StrictForwardPorts", after: quit,
			harm: process("firewalld") + "mkdir -p /etc/firewalld; echo StrictForwardPorts=yes >/etc/firewalld/firewalld.conf",
		},
		{code: "FW034", harm: "ip rule add priority 2 from 203.0.113.0/24 lookup main", says: "rule 2"},
		{code: "FW035", harm: "ip rule add priority 32000 fwmark 0x10000000/0x10000000 lookup main", says: "0x10000000", remedy: "ip rule del priority 32000"},
		{
			code: "FW036", harm: "sysctl -w net.ipv4.conf.eth0.proxy_arp=1", says: "10.98.0.0/24 is routed",
			do: func(t *testing.T, w *ward) func() {
				w.network(t, "routed", "10.98.0.0/24", "10.98.0.1/24", `"com.docker.network.bridge.gateway_mode_ipv4":"routed"`)
				return func() { w.call(t, "NetworkDriver.DeleteNetwork", `{"NetworkID":"routed"}`) }
			},
		},
		{code: "FW040", harm: "ip route add 10.99.0.128/25 dev eth1", says: "10.99.0.128/25 leads to eth1"},
		{
			code: "FW041", says: "6 of 6", remedy: "true",
			do: func(t *testing.T, w *ward) func() {
				w.network(t, "small", "10.98.0.0/29", "10.98.0.1/29", "")
				for _, n := range []string{"2", "3", "4", "5", "6"} {
					w.endpoint(t, "small", "small"+n, "10.98.0."+n+"/29", "")
				}
				return func() {
					for _, n := range []string{"2", "3", "4", "5", "6"} {
						w.remove(t, "small", "small"+n)
					}
					w.call(t, "NetworkDriver.DeleteNetwork", `{"NetworkID":"small"}`)
				}
			},
		},
		{
			code: "FW045", says: "02:00:00:00:00:99", remedy: "true",
			do: func(t *testing.T, w *ward) func() {
				w.endpoint(t, "n1", "same1", "10.99.0.8/24", "02:00:00:00:00:99")
				w.endpoint(t, "n1", "same2", "10.99.0.9/24", "02:00:00:00:00:99")
				return func() { w.remove(t, "n1", "same1"); w.remove(t, "n1", "same2") }
			},
		},
		{code: "FW047", harm: "ip -n box link set eth0 down", says: "is down", after: "ip -n box route add default via 10.99.0.1"},
		{code: "FW047", harm: "ip -n box address flush dev eth0", says: "has lost the address 10.99.0.2/24", after: "ip -n box route add default via 10.99.0.1"},
		{
			code: "FW060", says: "0.0.0.0:8080/tcp", remedy: "true",
			do: func(t *testing.T, w *ward) func() {
				w.sh(t, "systemctl stop fairway")
				l := w.listen(t, "0.0.0.0:8080")
				w.sh(t, "systemctl start fairway")
				return func() {
					_ = l.Close()
					w.sh(t, "fairway repair")
				}
			},
		},
		{
			code: "FW062", says: "its container is gone", remedy: "true",
			do: func(t *testing.T, w *ward) func() {
				w.endpoint(t, "n1", "gone", "10.99.0.8/24", "", [2]int{8082, 80})
				w.sh(t, "ip netns del gone; for i in $(seq 200); do [ $(ip -o link show master fwbtest | wc -l) -gt 1 ] || break; sleep 0.02; done")
				return func() { w.remove(t, "n1", "gone") }
			},
		},
		{
			code: "FW063", says: "192.0.2.77:8083", harm: "ip address del 192.0.2.77/32 dev eth0", remedy: "ip address add 192.0.2.77/32 dev eth0",
			do: func(t *testing.T, w *ward) func() {
				w.sh(t, "ip address add 192.0.2.77/32 dev eth0")
				w.network(t, "bound", "10.97.0.0/24", "10.97.0.1/24", `"com.docker.network.bridge.host_binding_ipv4":"192.0.2.77"`)
				w.endpoint(t, "bound", "bound1", "10.97.0.2/24", "", [2]int{8083, 80})
				return func() {}
			},
			after: "true",
		},
		{
			code: "FW064", says: "names link eth1", harm: "ip link set eth1 down; ip link set eth1 name eth7", remedy: "ip link set eth7 name eth1; ip link set eth1 up",
			do: func(t *testing.T, w *ward) func() {
				w.network(t, "limited", "10.98.0.0/24", "10.98.0.1/24", `"publish":"iface:eth1"`)
				return func() { w.call(t, "NetworkDriver.DeleteNetwork", `{"NetworkID":"limited"}`) }
			},
		},
		{code: "FW070", harm: process("NetworkManager"), says: "fw*", after: quit},
		{
			code: "FW071", says: "10-all.network", after: quit,
			harm: process("systemd-network") + "mkdir -p /etc/systemd/network; printf '[Match]\\nName=*\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/10-all.network",
		},
		{code: "FW073", harm: process("systemd-network"), says: "ManageForeignRoutingPolicyRules", after: quit},
		{code: "FW074", harm: process("dhcpcd") + "echo 'hostname' >/etc/dhcpcd.conf", says: "/etc/dhcpcd.conf", after: quit},
		{
			code: "FW080", says: "waits for link eth2", harm: "ip link del eth2", remedy: "ip link add eth2 type veth peer name lan2; ip link set eth2 up; ip link set lan2 up",
			do: func(t *testing.T, w *ward) func() {
				w.sh(t, "ip link add eth2 type veth peer name lan2; ip link set eth2 up; ip link set lan2 up")
				w.network(t, "lan", "10.96.0.0/24", "", `"mode":"macvlan","parent":"eth2"`)
				return func() {}
			},
		},
		{code: "FW081", says: "parent eth2 is down", harm: "ip link set eth2 down"},
		{
			code: "FW082", says: "bridge br9 is gone", harm: "ip link del br9", remedy: "ip link add br9 type bridge; ip link set br9 up; fairway repair",
			do: func(t *testing.T, w *ward) func() {
				w.sh(t, "ip link add br9 type bridge; ip link set br9 up")
				w.network(t, "theirs", "10.95.0.0/24", "10.95.0.1/24", `"com.docker.network.bridge.name":"br9"`)
				return func() {}
			},
		},
		{code: "FW082", says: "bridge br9 is down", harm: "ip link set br9 down"},
	}
}

// engines are the codes that take a Docker Engine to provoke: see
// test/e2e.TestDoctor, and for the last, which takes a cluster besides, TestOverlay.
func ofEngines() []string { return []string{"FW042", "FW043", "FW044", "FW046", "FW061", "FW090"} }

// TestDoctor does harm to a host, one thing after the other: the doctor finds
// each, what it says repairs it, and then it finds nothing.
func TestDoctor(t *testing.T) {
	w := newWard(t)
	w.call(t, "NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{"com.docker.network.enable_ipv6":true,`+
		`"com.docker.network.generic":{"com.docker.network.bridge.name":"fwbtest"}},`+
		`"IPv4Data":[{"AddressSpace":"x","Pool":"10.99.0.0/24","Gateway":"10.99.0.1/24"}],`+
		`"IPv6Data":[{"AddressSpace":"x","Pool":"fd00:99::/64","Gateway":"fd00:99::1/64"}]}`)
	w.endpoint(t, "n1", "box", "10.99.0.2/24", "", [2]int{8080, 80})
	if found := w.examine(t); len(found) > 0 {
		t.Fatalf("a healthy host: %v", found)
	}
	tested := ofEngines()
	for _, c := range provocations() {
		tested = append(tested, c.code)
		t.Run(c.code+" "+c.says, func(t *testing.T) { w.provoke(t, c) })
	}
	if found := w.examine(t); len(found) > 0 {
		t.Errorf("in the end: %v", found)
	}
	for _, c := range doctor.Checks() {
		if !slices.Contains(tested, c.Code) {
			t.Errorf("%s %s: nothing provokes it", c.Code, c.Title)
		}
	}
}

// examine returns what the doctor finds.
func (w *ward) examine(t *testing.T, codes ...string) []doctor.Finding {
	t.Helper()
	out, err := w.try(t, "fairway doctor --json "+strings.Join(codes, " "))
	var d diagnosis
	if e := json.Unmarshal([]byte(out), &d); e != nil {
		t.Fatalf("doctor: %v, %v\n%s", err, e, out)
	}
	holdJSON(t, "doctor", []byte(out))
	if (err != nil) != (len(d.Findings) > 0) {
		t.Errorf("doctor: %d findings, exit %v", len(d.Findings), err)
	}
	for _, s := range d.Skipped {
		if slices.Contains(codes, s.Code) {
			t.Errorf("%s was skipped: %s", s.Code, s.Why)
		}
	}
	return d.Findings
}

func (w *ward) provoke(t *testing.T, c provoked) {
	undo := func() {}
	if c.do != nil {
		undo = c.do(t, w)
	}
	w.sh(t, c.harm)
	found := w.examine(t, c.code)
	if len(found) == 0 || !strings.Contains(found[0].Text, c.says) {
		t.Errorf("found %v, want one that says %q", found, c.says)
	}
	var fix []string
	automatic := len(found) > 0
	for _, f := range found {
		fix = append(fix, f.Fix...)
		automatic = automatic && f.Automatic
	}
	switch {
	case c.remedy != "":
		w.sh(t, c.remedy)
	case automatic:
		if out, err := w.try(t, "fairway doctor --yes --fix "+c.code); err != nil {
			t.Errorf("--fix: %v\n%s", err, out)
		}
	case len(fix) == 0:
		t.Error("it doesn't say what repairs it")
	default:
		w.sh(t, strings.Join(fix, "\n"))
	}
	if c.remedy == "true" {
		undo()
	} else {
		defer undo()
	}
	if found = w.examine(t, c.code); len(found) > 0 {
		t.Errorf("after %q: %v", fix, found)
	}
	w.sh(t, c.after)
}
