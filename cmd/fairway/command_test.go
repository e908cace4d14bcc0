package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"fairway/admin"
	"fairway/store"

	"github.com/sirupsen/logrus"
)

var update = flag.Bool("update", false, "write what the commands print into testdata") //nolint:gochecknoglobals // a flag of the test

// shown is what the daemon of the command tests runs.
type shown struct {
	networks  []store.Network
	endpoints []store.Endpoint
	taken     map[uint16]string // host port → by whom
	waiting   []string          // why
	leases    []admin.LeaseState
}

func (s shown) Networks() []store.Network   { return s.networks }
func (s shown) Endpoints() []store.Endpoint { return s.endpoints }

// spanning is a cluster of two hosts, one of them silent.
type spanning struct{}

func (spanning) ClusterHosts() admin.ClusterHosts {
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	return admin.ClusterHosts{Cluster: "default", Self: "a", Hosts: []admin.ClusterHost{
		{Name: "a", Address: netip.MustParseAddr("192.0.2.1"), Alive: true, Version: "1.0.0", Started: at, MTU: 1500, Segments: []string{"backbone"}, Endpoints: 3, Instance: "0a"},
		{Name: "b", Address: netip.MustParseAddr("192.0.2.2"), Version: "1.0.0", Started: at, MTU: 1500, Segments: []string{}, Instance: "0b"},
	}, Alarms: []string{"segment backbone: an alarm"}}
}

func (spanning) ForgetHost(_ context.Context, name string) error {
	if name != "b" {
		return fmt.Errorf("host %s: is alive", name)
	}
	return nil
}

func (spanning) ClusterNetworks() admin.ClusterNetworks {
	return admin.ClusterNetworks{Cluster: "default", Self: "a", Networks: []admin.ClusterNetwork{
		{
			Name: "backbone", Segment: "backbone", Subnets: []netip.Prefix{netip.MustParsePrefix("10.40.0.0/16")}, Hosts: []string{},
			Options: map[string]string{"mtu": "1400"}, Labels: map[string]string{},
			On: []admin.NetworkOn{
				{Host: "a", State: "made", Alive: true},
				{Host: "b", State: "away", Why: "nothing is heard of its daemon: it makes it when it is back"},
				{Host: "c", State: "refused", Why: "no\x1b[2J", Alive: true},
			},
		},
		{
			Name: "old", Segment: "old", Subnets: []netip.Prefix{}, Hosts: []string{"a"}, Options: map[string]string{}, Labels: map[string]string{}, Removing: true,
			On: []admin.NetworkOn{{Host: "a", State: "waiting", Why: "containers db, web are attached: it goes once they are gone", Alive: true}},
		},
		{
			Name: "whole", Segment: "whole", Subnets: []netip.Prefix{}, Hosts: []string{"a"}, Options: map[string]string{}, Labels: map[string]string{},
			On: []admin.NetworkOn{{Host: "a", State: "made", Alive: true}},
		},
	}}
}

func (spanning) WantNetwork(_ context.Context, n admin.WantedNetwork) error {
	if n.Name == "refused" {
		return fmt.Errorf("asked for %+v", n)
	}
	return nil
}

func (spanning) UnwantNetwork(_ context.Context, name string) error {
	if name == "refused" {
		return fmt.Errorf("network %s: is none of the cluster's", name)
	}
	return nil
}

// Leases: one was lost twice.
func (s shown) Leases() ([]admin.LeaseState, uint64) { return s.leases, 2 }

// Denied: the second endpoint sends what isn't its own, the third what it likes.
func (s shown) Denied(context.Context) map[string]uint64 {
	return map[string]uint64{"fwv1": 0, "fwv2": 12}
}

func (s shown) Taken(_ string, p store.PortBinding) (by string, taken bool) {
	by, taken = s.taken[p.HostPort]
	return by, taken
}

func (s shown) PortStates(_ context.Context, traffic bool) admin.States {
	out := admin.States{Ports: map[admin.Published]admin.State{}, Counted: true}
	for _, e := range s.endpoints {
		for _, p := range e.Published {
			st := admin.State{From: "all"}
			switch {
			case p.HostIP.IsLoopback():
				st.From = "this host"
			case p.IP.Is6():
				st.From, st.Why = "nobody", "its element of ports6 is missing"
			}
			if traffic {
				st.Connections, st.Packets, st.Bytes = 1, 30, 23_000
			}
			out.Ports[admin.Published{Endpoint: e.ID, PortBinding: p}] = st
		}
	}
	for _, why := range s.waiting {
		out.Waiting = append(out.Waiting, admin.Waiting{Protocol: "tcp", HostPort: 7000, Port: 70, Container: "app", Why: why})
	}
	return out
}

// A publisher says what it is asked for.
type publisher struct{}

func (publisher) AddPorts(_ context.Context, container, network string, ports []store.PortBinding) (string, []store.PortBinding, error) {
	if container == "app" && network == "" {
		return strings.Repeat("1", 64), fixture().endpoints[0].Published[2:], nil
	}
	return "", nil, fmt.Errorf("container %q: asked for %d ports on %q", container, len(ports), network)
}

func (publisher) RemovePorts(_ context.Context, container, _ string, _ []store.PortBinding) error {
	if container == "app" {
		return nil
	}
	return fmt.Errorf("container %q: is not running on a network of fairway's", container)
}

func fixture() shown {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	id := func(c string) string { return strings.Repeat(c, 64) }
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	s := shown{
		leases: []admin.LeaseState{
			{
				Lease: store.Lease{
					IP: addr("fd00:20::2"), MAC: "02:00:00:00:00:01", Parent: "eth0", Server: addr("fe80::1"), Obtained: at, Expires: at.Add(time.Hour),
					Renew: at.Add(30 * time.Minute), Lost: at, Name: "app",
				}, State: "lost", Why: "DHCP server fe80::1 refused it: no\x1b[2J",
			},
			{
				Lease: store.Lease{
					IP: addr("172.20.0.2"), Bits: 24, MAC: "02:00:00:00:00:01", Parent: "eth0", Server: addr("172.20.0.1"), Obtained: at,
					Hostname: "app", FQDN: "app.lan", Domain: "lan", Routers: []netip.Addr{addr("172.20.0.1")}, MTU: 1400,
					Routes: []store.Route{{Destination: prefix("10.0.0.0/8"), NextHop: addr("172.20.0.9")}},
				}, State: "bound",
			},
			{Lease: store.Lease{MAC: "02:00:00:00:00:09", Parent: "eth0"}, State: "requesting"},
		},
		waiting: []string{`Bind for 0.0.0.0:7000 failed: port is already allocated (by container "b\x1b[2J")`},
		networks: []store.Network{
			{ID: id("b"), Mode: "bridge", Link: "fwb2", Created: at},
			{
				ID: id("a"), Name: "web", Mode: "bridge", Link: "fwb1", MTU: 1500, Created: at,
				Options: map[string]string{"mtu": "1500"},
				Subnets: []store.Subnet{
					{Prefix: prefix("172.20.0.0/24"), Gateway: addr("172.20.0.1")},
					{Prefix: prefix("fd00:20::/64"), Gateway: addr("fd00:20::1")},
				},
			},
		},
		endpoints: []store.Endpoint{
			{
				ID: id("1"), Network: id("a"), Container: "app", MAC: "02:00:00:00:00:01", HostLink: "fwv1", Created: at,
				IPv4: prefix("172.20.0.2/24"), IPv6: prefix("fd00:20::2/64"), Sandbox: "/var/run/docker/netns/1",
				Published: []store.PortBinding{
					{Proto: 6, HostIP: addr("0.0.0.0"), HostPort: 80, IP: addr("172.20.0.2"), Port: 8080},
					{Proto: 6, HostIP: addr("::"), HostPort: 80, IP: addr("fd00:20::2"), Port: 8080},
					{Proto: 6, HostIP: addr("127.0.0.1"), HostPort: 9000, IP: addr("172.20.0.2"), Port: 9000},
				},
			},
			{
				ID: id("2"), Network: id("a"), Container: "evil\x1b[2J\u009b\u202ename", MAC: "02:00:00:00:00:02", HostLink: "fwv2",
				IPv4: prefix("172.20.0.3/24"), Created: at,
			},
			{ID: id("3"), Network: id("b"), MAC: "02:00:00:00:00:03", HostLink: "fwv3", Created: at},
		},
	}
	for port := uint16(5000); port <= 5999; port++ {
		s.endpoints[1].Published = append(s.endpoints[1].Published,
			store.PortBinding{Proto: 17, HostIP: addr("0.0.0.0"), HostPort: port, IP: addr("172.20.0.3"), Port: port})
	}
	return s
}

// serveAdmin serves records, or nothing yet, and returns the socket.
func serveAdmin(t *testing.T, records admin.Records, ready bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	if ready {
		close(opened)
	}
	s := admin.New(admin.Options{Records: records, Publisher: publisher{}, Ready: opened, Events: happened(), Cluster: spanning{}, Log: logrus.New()})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

// execute runs one command line and returns all that it shows.
func execute(ctx context.Context, line string) string {
	var out, errs bytes.Buffer
	code := run(ctx, fields(line), &out, &errs)
	text := out.String()
	if errs.Len() > 0 {
		text += "stderr: " + strings.ReplaceAll(strings.TrimSuffix(errs.String(), "\n"), "\n", "\nstderr: ") + "\n"
	}
	if code != 0 {
		text += fmt.Sprintf("exit %d\n", code)
	}
	return text
}

// fields splits a command line at blanks outside of quotes.
func fields(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == '\'' || r == ' ' && !quoted
	})
}

// Each file of testdata is a session: a line "$ fairway …", then what it shows.
func TestCommands(t *testing.T) {
	daemons := map[string]string{
		"lists.txt":     serveAdmin(t, fixture(), true),
		"empty.txt":     serveAdmin(t, shown{}, true),
		"restoring.txt": serveAdmin(t, fixture(), false),
		"usage.txt":     "/nonexistent/admin.sock",
		"help.txt":      "/nonexistent/admin.sock",
		"config.txt":    "/nonexistent/admin.sock",
		"store.txt":     "/nonexistent/admin.sock",
		"options.txt":   "/nonexistent/admin.sock",
	}
	for name, socket := range daemons {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FAIRWAY_ADMIN_SOCKET", socket)
			file := filepath.Join("testdata", name)
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				command, ok := strings.CutPrefix(line, "$ fairway")
				if !ok {
					continue
				}
				got.WriteString(line)
				got.WriteString(strings.ReplaceAll(execute(t.Context(), strings.TrimSpace(command)), socket, "SOCKET"))
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != string(want) {
				t.Errorf("%s differs (go test -update writes it):\n%s", file, got.String())
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, usagef("x"): 2,
		fmt.Errorf("a: %w", admin.ErrUnreachable): 3, fmt.Errorf("a: %w", admin.ErrPermission): 4,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: exit %d, want %d", err, got, want)
		}
	}
	if h := hint(admin.ErrPermission); !strings.Contains(h, "sudo") {
		t.Errorf("hint without permission: %q", h)
	}
}

// Whatever things are called, a terminal gets printable characters only, and a
// table keeps its columns.
func FuzzTerminal(f *testing.F) {
	f.Add("web")
	f.Add("\x1b]0;owned\x07")
	f.Add("a\tb\r\nc\x00\x7f\u0085\u009b31m\u200b\u202e\xff\xc2")
	f.Add(`quo"te  and blanks `)
	f.Add("")
	f.Fuzz(func(t *testing.T, name string) {
		reply := admin.Endpoints{Endpoints: []admin.Endpoint{{ID: name, NetworkName: name, Container: name, MAC: name, Link: name}}}
		for _, v := range []view{{}, {json: true}, {quiet: true}, {noTrunc: true}, {format: "{{.Container}}"}, {format: "json"}} {
			var out bytes.Buffer
			if err := v.show(&out, v.endpoints(reply)); err != nil {
				t.Fatal(err)
			}
			for _, r := range out.String() {
				if r != '\n' && !unicode.IsPrint(r) && !(v.format == "{{.Container}}" && r == '\t') || r == unicode.ReplacementChar && !strings.ContainsRune(strings.ToValidUTF8(name, "\ufffd"), r) {
					t.Fatalf("%+v: %q reaches the terminal as %q", v, name, out.String())
				}
			}
			if v == (view{}) {
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				if len(lines) != 2 {
					t.Fatalf("a row of %q takes %d lines", name, len(lines)-1)
				}
			}
		}
		for what, out := range printedOf(t, name) {
			if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				t.Fatalf("%s: %q reaches the terminal as %q", what, name, out)
			}
		}
		if c := cell(name); c == "" || strings.Contains(c, "  ") && c[0] != '"' {
			t.Errorf("cell of %q is %q", name, c)
		}
		if message := printable(name); strings.ContainsFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("message %q", message)
		}
	})
}

// A refused connection is no daemon: nobody listens behind a socket file.
func TestStaleAdminSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	got := execute(t.Context(), "networks --admin-socket "+path)
	want := "stderr: fairway: " + path + ": daemon not reachable: connection refused\nstderr: hint: is it running? systemctl status fairway\nexit 3\n"
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// TestPortsTaken: who took a port is shown, safely, and just then.
func TestPortsTaken(t *testing.T) {
	var v view
	reply := admin.Ports{Ports: []admin.Port{
		{Protocol: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 80, IP: netip.MustParseAddr("172.20.0.2"), Port: 80},
		{
			Protocol: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 81, IP: netip.MustParseAddr("172.20.0.2"), Port: 81,
			TakenBy: `unit "nginx.service"`,
		},
	}}
	l := v.ports(reply, false)
	if n := len(l.header); l.header[n-1] != "TAKEN BY" || len(l.rows) != 2 {
		t.Fatalf("a list with a taken port: %q %q, want a column TAKEN BY and two rows", l.header, l.rows)
	}
	if l.rows[0][6] != "" || l.rows[1][6] != `unit "nginx.service"` {
		t.Errorf("rows %q", l.rows)
	}
	reply.Ports = reply.Ports[:1]
	if l = v.ports(reply, false); len(l.header) != 6 || len(l.rows[0]) != 6 {
		t.Errorf("a list without: %q %q, want no such column", l.header, l.rows)
	}
}

// TestPortsProxied: a port of IPv6 that leads to IPv4 isn't mistaken for one of
// IPv4, and what is proxied is shown, just then.
func TestPortsProxied(t *testing.T) {
	var v view
	port := admin.Port{
		Protocol: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 80, IP: netip.MustParseAddr("172.20.0.2"), Port: 80, ReachableFrom: "all",
	}
	six := port
	six.HostIP, six.Proxied = netip.IPv6Unspecified(), admin.ProxiedAll
	next := six
	next.HostPort, next.Port = 81, 81
	l := v.ports(admin.Ports{Ports: []admin.Port{port, six, next}}, false)
	var out bytes.Buffer
	if err := v.show(&out, l); err != nil {
		t.Fatal(err)
	}
	want := `HOST  PROTO  PUBLISHED  CONTAINER  TARGET            REACHABLE FROM  PROXIED
*     tcp    80         -          172.20.0.2:80     all             -
::    tcp    80-81      -          172.20.0.2:80-81  all             all
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if l = v.ports(admin.Ports{Ports: []admin.Port{port}}, false); len(l.header) != 6 || len(l.rows[0]) != 6 {
		t.Errorf("a list without: %q %q, want no such column", l.header, l.rows)
	}
}
