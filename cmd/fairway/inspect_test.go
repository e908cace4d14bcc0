package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"fairway/admin"
	"fairway/event"
	"fairway/inspect"
)

// report is one of each thing. What others called it can't move a cursor.
func report() inspect.Report {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	given, zero := "1400", uint64(0)
	bridge := &inspect.Link{
		Name: "fwb1", Kind: "bridge", Up: true, State: "up", MTU: 1400, MAC: "02:00:00:00:00:01", Alias: "fairway:1:aaaa",
		Addresses: []netip.Prefix{prefix("172.20.0.1/24")}, Received: inspect.Traffic{Bytes: 2048, Packets: 7}, Of: []string{"network we\x1b[2Jb"},
	}
	return inspect.Report{
		Name: "web", Daemon: "1.0.0",
		Networks: []inspect.Network{{
			Record: admin.Network{ID: "aaaa", Name: "we\x1b[2Jb", Mode: "bridge", Link: "fwb1", Internal: true, Created: at,
				Subnets: []admin.Subnet{{Subnet: prefix("172.20.0.0/24"), Gateway: addr("172.20.0.1")}}},
			Endpoints: []inspect.Member{{ID: "eeee", Container: "a\u202eb", IPv4: prefix("172.20.0.2/24")}},
			Options:   []inspect.Option{{Name: "mode", Effective: "bridge"}, {Name: "mtu", Asked: &given, Effective: "1400"}, {Name: "snat", Asked: &given, Effective: "x"}},
			Kernel:    []inspect.Object{{Object: "bridge fwb1"}, {Object: "address 172.20.0.1/24 on fwb1", Differs: "missing"}},
			Link:      bridge, Engine: inspect.Engine{Known: true, Name: "web"},
		}},
		Endpoints: []inspect.Endpoint{{
			Record: admin.Endpoint{ID: "eeee", Network: "aaaa", NetworkName: "web", Container: "a\u202eb", Mode: "bridge", IPv4: prefix("172.20.0.2/24"), Denied: &zero, Created: at},
			Ports:  []admin.Port{{Protocol: "tcp", HostIP: addr("0.0.0.0"), HostPort: 80, IP: addr("172.20.0.2"), Port: 8080, ReachableFrom: "all"}},
			Leases: []admin.Lease{{IP: addr("172.20.0.2"), Server: addr("172.20.0.1"), Parent: "eth0", State: "bound", Expires: at}},
			Inside: &inspect.Inside{Sandbox: "/run/docker/netns/1", Routes: []string{"default via 172.20.0.1 dev eth0", "172.20.0.0/24 dev eth0"}},
			Engine: inspect.Engine{Unasked: "--docker-socket is empty"},
		}},
		Addresses: []inspect.Address{{
			Address: addr("172.20.0.2"), Is: []string{"container web on network web"}, Networks: []string{"aaaa"},
			IPAM:       []inspect.Recorded{{Subnet: prefix("172.20.0.0/24"), Kind: "endpoint", Created: at, Released: at}},
			Neighbours: []inspect.Neighbour{{Link: "fwb1", MAC: "02:00:00:00:00:02", State: "permanent"}}, Route: "dev fwb1",
		}},
		Links: []inspect.Link{*bridge},
	}
}

const reportText = `network we\x1b[2Jb
  id          aaaa
  mode        bridge
  subnet      172.20.0.0/24, gateway 172.20.0.1
  internal    yes
  created     2026-09-01T12:00:00Z
  docker      knows it as web
  option      mtu=1400
  option      snat=x   (given: 1400)
  default     mode=bridge
  link        fwb1: bridge, mtu 1400, 02:00:00:00:00:01, up (up), 172.20.0.1/24
              received 2.0K in 7 packets, 0 dropped; sent 0 in 0, 0 dropped
  alias       fairway:1:aaaa
  kernel      ok  bridge fwb1
  kernel      BAD address 172.20.0.1/24 on fwb1: missing
  containers  a\u202eb 172.20.0.2/24

endpoint of container a\u202eb on network web
  id         eeee
  mode       bridge
  addresses  172.20.0.2/24
  denied     0 frames that weren't its own
  created    2026-09-01T12:00:00Z
  docker     not asked: --docker-socket is empty
  port       0.0.0.0:80/tcp to 172.20.0.2:8080, from all
  lease      172.20.0.2 from 172.20.0.1 by eth0, bound, ends 2026-09-01T12:00:00Z
  sandbox    /run/docker/netns/1
  route      default via 172.20.0.1 dev eth0
             172.20.0.0/24 dev eth0

address 172.20.0.2
  is           container web on network web
  given out    endpoint of 172.20.0.0/24, since 2026-09-01T12:00:00Z, released 2026-09-01T12:00:00Z
  in networks  aaaa
  neighbour    02:00:00:00:00:02 on fwb1, permanent
  route        dev fwb1

link fwb1
  of     network we\x1b[2Jb
  link   bridge, mtu 1400, 02:00:00:00:00:01, up (up), 172.20.0.1/24
         received 2.0K in 7 packets, 0 dropped; sent 0 in 0, 0 dropped
  alias  fairway:1:aaaa
`

func TestPrintReport(t *testing.T) {
	var out strings.Builder
	if err := printReport(&out, report()); err != nil {
		t.Fatal(err)
	}
	if out.String() != reportText {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), reportText)
	}
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q reaches the terminal", r)
		}
	}
}

// printedOf is what inspect, events and top print of things that are called so.
func printedOf(t *testing.T, name string) map[string]string {
	t.Helper()
	var seen, happened, screen strings.Builder
	link := inspect.Link{Name: name, Kind: name, Alias: name, Master: name, Parent: name, Of: []string{name}}
	err := printReport(&seen, inspect.Report{
		Networks: []inspect.Network{{
			Record: admin.Network{Name: name, Link: name, Remark: name}, Endpoints: []inspect.Member{{Container: name}},
			Options: []inspect.Option{{Name: name, Asked: &name, Effective: name}}, Kernel: []inspect.Object{{Object: name, Differs: name}},
			Engine: inspect.Engine{Known: true, Name: name},
		}},
		Endpoints: []inspect.Endpoint{{
			Record: admin.Endpoint{Container: name, NetworkName: name}, Ports: []admin.Port{{TakenBy: name, Why: name}}, Leases: []admin.Lease{{Why: name}},
			Inside: &inspect.Inside{Sandbox: name, Routes: []string{name}, Links: []inspect.Link{link}, Trouble: name},
		}},
		Addresses: []inspect.Address{{Is: []string{name}, Route: name, Neighbours: []inspect.Neighbour{{Link: name, MAC: name, State: name}}}},
		Links:     []inspect.Link{link},
	})
	for _, asJSON := range []bool{true, false} {
		err = errors.Join(err, printHappened(&happened, event.Event{Message: name, Fields: map[string]string{"container": name, "endpoint": name}}, asJSON))
	}
	top := topCommand{network: name}
	err = errors.Join(err, top.paint(&screen, topped{Endpoints: []rate{{ID: name, Container: name, Network: name}}}, 1000, 10, time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"inspect": seen.String(), "events": happened.String(),
		"top": strings.NewReplacer(screenHome, "", lineRest, "", screenRest, "").Replace(screen.String()),
	}
}
