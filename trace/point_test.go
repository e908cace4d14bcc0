package trace

import (
	"fmt"
	"net/netip"
	"testing"

	"fairway/store"
)

func records() *World {
	r := store.NewRecords()
	r.Networks["n1"] = store.Network{ID: "n1", Name: "web", Link: "fwb1"}
	r.Networks["n2"] = store.Network{ID: "n2", Name: "db", Link: "fwb2"}
	prefix := netip.MustParsePrefix
	for _, e := range []store.Endpoint{
		{ID: "e1abcdef", Network: "n1", Container: "app", ContainerID: "c1abcdef", Sandbox: "/run/netns/1", IPv4: prefix("172.20.0.2/24")},
		{ID: "e2abcdef", Network: "n2", Container: "app", ContainerID: "c1abcdef", Sandbox: "/run/netns/1", IPv4: prefix("172.21.0.2/24")},
		{ID: "e3abcdef", Network: "n2", Container: "db", ContainerID: "c2abcdef", Sandbox: "/run/netns/2", IPv4: prefix("172.21.0.3/24"), IPv6: prefix("fd00::3/64")},
		{ID: "e4abcdef", Network: "n2", Container: "db2", ContainerID: "c2ffffff", Sandbox: "/run/netns/3", IPv4: prefix("172.21.0.4/24")},
	} {
		r.Endpoints[e.ID] = e
	}
	return &World{Records: r}
}

func TestFind(t *testing.T) {
	w := records()
	for text, want := range map[string]string{
		"app":              "e1abcdef 0 0",
		"app@db":           "e2abcdef 0 0",
		"c1ab":             "e1abcdef 0 0",
		"db:5432":          "e3abcdef 5432 0",
		"db:53/udp":        "e3abcdef 53 17",
		"db/icmp":          "e3abcdef 0 1",
		"172.21.0.4:80":    "e4abcdef 80 0",
		"fd00::3":          "e3abcdef 0 0",
		"[fd00::3]:80":     "e3abcdef 80 0",
		"198.51.100.7:443": "198.51.100.7 443 0",
		"host:22":          "host 22 0",
		"outside":          "outside 0 0",
		"":                 `"": want a container, an address, host or outside`,
		"nobody":           `container "nobody": is on no network of fairway's`,
		"c2abcdef@web":     `container "c2abcdef@web": is on no network of fairway's`,
		"db:0":             `"db:0": port "0": want a number from 1 to 65535`,
		"db:http":          `"db:http": port "http": want a number from 1 to 65535`,
		"db:80/quic":       `"db:80/quic": protocol "quic": want tcp, udp, sctp or icmp`,
	} {
		p, err := w.Find(text, true)
		who := p.Addr.String()
		switch {
		case p.Endpoint != nil:
			who = p.Endpoint.ID
		case p.Host:
			who = "host"
		case p.Outside:
			who = "outside"
		}
		got := fmt.Sprintf("%s %d %d", who, p.Port, p.Proto)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A container that is on several networks is reached on one that both share.
func TestSharedNetwork(t *testing.T) {
	w := records()
	db, _ := w.Find("db", false)
	app, _ := w.Find("app@web", true)
	if ip, err := w.target(db, app, false); err != nil || ip.String() != "172.21.0.2" {
		t.Errorf("from db to app: %v, %v, want the address on the network of both", ip, err)
	}
	if _, err := w.target(db, app, true); err == nil {
		t.Error("a container without IPv6 has an address of it")
	}
}

// Sockets are read as proc_pid_net(5) writes them.
func TestTakes(t *testing.T) {
	p := packet()
	p.Dst = netip.MustParseAddr("127.0.0.1")
	for line, want := range map[string]bool{
		"  0: 00000000:0050 00000000:0000 0A 0 0":                                                 true,
		"  0: 0100007F:0050 00000000:0000 0A 0 0":                                                 true,
		"  0: 0200007F:0050 00000000:0000 0A 0 0":                                                 false,
		"  0: 00000000:0051 00000000:0000 0A 0 0":                                                 false,
		"  0: 00000000:0050 00000000:0000 01 0 0":                                                 false,
		"  0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0 0": true,
		"  0: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0 0": true,
		"  0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0": false,
		"  sl  local_address rem_address   st tx_queue rx_queue":                                  false,
	} {
		if got := takes(line, p); got != want {
			t.Errorf("%s: %t, want %t", line, got, want)
		}
	}
}
