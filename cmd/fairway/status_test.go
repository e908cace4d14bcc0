package main

import (
	"strings"
	"testing"
	"time"

	"fairway/admin"
)

func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 9, 3, 12, 0, 0, 0, time.UTC)
	healthy := admin.Status{
		Daemon: admin.Build{Version: "1.0.0"}, PID: 811, Started: now.Add(-49 * time.Hour), State: admin.StateHealthy,
		Networks: 14, Endpoints: 212, Ports: 402, Firewall: "nftables", Checked: now.Add(-12 * time.Second),
		RepairedRules: admin.Repaired{Count: 3, Last: now.Add(-2*time.Hour - 5*time.Minute), What: "chain to-\x1bnat was missing"},
	}
	failing := healthy
	failing.State, failing.Trouble, failing.Started = admin.StateFailing, "link: bridge fwb0: no space left on device", now
	for name, c := range map[string]struct {
		s    admin.Status
		want string
	}{
		"healthy": {healthy, `
fairway 1.0.0, pid 811, up 2 days 1 h: healthy
networks   14, 212 endpoints, 402 published ports
firewall   nftables
kernel     as recorded, 12 s ago
links      nothing repaired
rules      3 repaired, the last 2 h 5 min ago: chain to-\x1bnat was missing
`},
		"failing": {failing, `
fairway 1.0.0, pid 811, up 0 s: failing
networks   14, 212 endpoints, 402 published ports
firewall   nftables
kernel     not as recorded: link: bridge fwb0: no space left on device
links      nothing repaired
rules      3 repaired, the last 2 h 5 min ago: chain to-\x1bnat was missing
`},
		"restoring": {
			admin.Status{Daemon: admin.Build{Version: "1.0.0"}, PID: 811, Started: now.Add(-3 * time.Minute), State: admin.StateRestoring},
			"\nfairway 1.0.0, pid 811, up 3 min: restoring\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := printStatus(&out, c.s, now); err != nil {
				t.Fatal(err)
			}
			if got := "\n" + out.String(); got != c.want {
				t.Errorf("got:%swant:%s", got, c.want)
			}
		})
	}
}
