package doctor

import (
	"strings"
	"testing"
	"time"

	"fairway/admin"
	"fairway/store"
)

// patient is one whose engine and store know the same network and endpoint.
func patient() *Patient {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	r := store.NewRecords()
	r.Networks["n1"] = store.Network{ID: "n1", Name: "web", Engine: "/var/lib/docker", Created: now.Add(-time.Hour)}
	r.Endpoints["e1"] = store.Endpoint{ID: "e1", Network: "n1", Container: "app", Created: now.Add(-time.Hour)}
	return &Patient{
		Settings: Settings{DockerSocket: "/var/run/docker.sock"}, Now: now, Records: r, Instance: "i",
		Daemon: &admin.Status{Started: now.Add(-time.Hour)},
		Engine: &Engine{ID: "/var/lib/docker", Networks: map[string]EngineNetwork{
			"n1": {Name: "web", Endpoints: map[string]EngineEndpoint{"e1": {ContainerID: "c1", Name: "app"}}},
		}},
	}
}

func TestEngine(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Patient)
		want   string // codes
		text   string // a part of the first
		fix    string
	}{
		"healthy": {func(*Patient) {}, "", "", ""},
		"an endpoint without a container": {func(p *Patient) {
			p.Engine.Networks["n1"].Endpoints["e2"] = EngineEndpoint{Name: "db-old"}
		}, "FW042", "blocks", "docker network disconnect -f web db-old"},
		"a name that a shell would read": {func(p *Patient) {
			p.Engine.Networks["n1"].Endpoints["e2"] = EngineEndpoint{Name: "$(reboot)'"}
		}, "FW042", "", `docker network disconnect -f web '$(reboot)'\'''`},
		"a network that isn't recorded": {func(p *Patient) {
			p.Engine.Networks["n2"] = EngineNetwork{Name: "lost"}
		}, "FW043", "network lost", "docker network rm lost"},
		"a network that Docker forgot": {func(p *Patient) { delete(p.Engine.Networks, "n1") }, "FW046", "network web", ""},
		"it was just made": {func(p *Patient) {
			delete(p.Engine.Networks, "n1")
			n := p.Records.Networks["n1"]
			n.Created = p.Now.Add(-time.Second)
			p.Records.Networks["n1"] = n
		}, "", "", ""},
		"it is another engine's": {func(p *Patient) {
			p.Engine.ID = "/srv/docker"
			p.Engine.Networks = map[string]EngineNetwork{}
		}, "", "", ""},
		"an endpoint that Docker forgot": {func(p *Patient) { delete(p.Engine.Networks["n1"].Endpoints, "e1") }, "FW046", "container app", ""},
		"no daemon will see to it": {func(p *Patient) {
			p.Daemon = nil
			delete(p.Engine.Networks, "n1")
		}, "FW046", "", startDaemon},
		"no engine": {func(p *Patient) { p.Engine, p.EngineErr = nil, skipped{"connection refused"} }, "FW044", "connection refused", "systemctl start docker"},
	} {
		p := patient()
		c.change(p)
		var codes []string
		var found []Finding
		for _, r := range Examine(t.Context(), p, engineChecks()) {
			for _, f := range r.Findings {
				codes, found = append(codes, f.Code), append(found, f)
			}
		}
		if got := strings.Join(codes, " "); got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
			continue
		}
		if len(found) > 0 && (!strings.Contains(found[0].Text, c.text) || c.fix != "" && (len(found[0].Fix) != 1 || found[0].Fix[0] != c.fix)) {
			t.Errorf("%s: %+v, want %q and %q", name, found[0], c.text, c.fix)
		}
	}
}

func TestChosen(t *testing.T) {
	for text, want := range map[string]int{"": len(Checks()), "FW001": 1, "fw001": 1, "FW00 FW001": 9, "FW99": -1, "x": -1} {
		all, err := Chosen(strings.Fields(text))
		n := len(all)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d checks, %v, want %d", text, n, err, want)
		}
	}
}

// A check that fails is skipped with the reason, and keeps none from being made.
func TestSkipped(t *testing.T) {
	p := patient()
	p.Daemon, p.DaemonErr = nil, skipped{"gone"}
	for _, r := range Examine(t.Context(), p, portChecks()[:1]) {
		if r.Skipped == "" || len(r.Findings) > 0 {
			t.Errorf("without a daemon: %+v, want it skipped", r)
		}
	}
}

// The first .network file that matches is the one that counts, as in
// systemd.network(5).
func TestMatches(t *testing.T) {
	for text, want := range map[string]bool{
		"[Match]\nName=*\n":                    true,
		"[Match]\nName=eth* fwb*\n":            true,
		"[Match]\nName=eth*\n":                 false,
		"[Match]\nName=!eth*\n":                true,
		"[Match]\nName=!fw*\n":                 false,
		"[Match]\nKind=bridge\n":               true,
		"[Match]\nKind=veth\n":                 false,
		"[Match]\nName=*\nDriver=e1000\n":      false,
		"[Network]\nName=*\n":                  false,
		"# [Match]\n":                          false,
		"[Match]\nType=bridge\n[Link]\nName=x": true,
	} {
		file := t.TempDir() + "/10-x.network"
		write(t, file, text)
		if got := matches(file, "fwb0123456789", "bridge"); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
