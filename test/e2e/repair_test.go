//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"

	"fairway/test/e2e/lab"
)

// TestRulesFlushed has an administrator flush rules of the host: what is
// published answers again within the few seconds that reaches allows, not at
// the daemon's next look in 30 s.
func TestRulesFlushed(t *testing.T) {
	if world.driver == "bridge" {
		t.Skip("Docker's own rules are gone until its restart")
	}
	each(t, []string{newest}, func(t *testing.T, engine string) {
		h := running(t, engine)
		serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		for _, flush := range []string{
			"iptables -F && iptables -t nat -F", // FORWARD drops, by Docker's policy
			"nft flush ruleset",
			"! nft delete table inet fairway", // refused: Linux 6.9 or later
		} {
			h.Sh(t, flush)
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP6, 8080), "a1", lab.Neighbour6)
		}
		eventually(t, "a repair is counted", func() bool {
			var status struct {
				Repaired struct{ Count int } `json:"repaired_rules"`
			}
			err := json.Unmarshal([]byte(h.Fairway(t, "status", "--json")), &status)
			return err == nil && status.Repaired.Count >= 1
		})
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		nothingOfOurs(t, h) // not the baseline: Docker's rules are flushed, too
	})
}
