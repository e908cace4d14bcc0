//go:build !kernel

package model

import (
	"fmt"
	"testing"
)

// everyCall are lines, each with what has to happen before, that between them
// have every call of the protocol and everything that the daemon does by
// itself.
func everyCall() map[string][]line {
	return map[string][]line{
		"network":        {"network n0 dual"},
		"adopted":        {"network n0 adopted"},
		"run":            {"network n0 dual", "run c0 n0 tcp/8080 udp/0"},
		"run adopted":    {"network n0 adopted", "run c0 n0 tcp/8080"},
		"run old":        {"network n2 routed", "run c3 n2 tcp/8080"},
		"run docker's":   {"network n0 docker", "run c0 n0 tcp/8080"},
		"connect":        {"network n0 internal", "network n1 plain", "run c0 n0 tcp/8080", "run c0 n1"},
		"disconnect":     {"network n0 plain", "network n1 plain", "run c0 n0 tcp/8080", "run c0 n1", "disconnect c0 n0"},
		"stop":           {"network n0 dual", "run c0 n0 tcp/8080 udp/0", "stop c0"},
		"run switched":   {"network n0 switched", "run c0 n0"},
		"stop adopted":   {"network n0 adopted", "run c0 n0 tcp/8080", "stop c0"},
		"kill":           {"network n0 dual", "run c0 n0 tcp/8080", "kill c0"},
		"remove":         {"network n0 dual", "rmnet n0"},
		"remove first":   {"network n0 adopted", "run c0 n0", "raw rmnet c0 n0"},
		"taken over":     {"network n0 plain", "run c0 n0 tcp/8080 ip=4", "dockerdies new", "run c1 n0 tcp/8080 ip=4"},
		"published anew": {"network n0 plain", "run c0 n0 tcp/8080", "raw publish c0 n0 tcp/8081 udp/8080"},
		"annotated":      {"network n0 plain", "run c0 n0", "observe"},
		"collected":      {"network n0 dual", "run c0 n0 tcp/8080", "dockerdies new", "collect"},
		"repaired":       {"network n0 dual", "run c0 n0 tcp/8080", "tamper port c0 n0 || tamper flush || repair"},
		"rebooted":       {"network n0 dual", "run c0 n0 tcp/8080", "reboot"},
	}
}

// TestEveryStep kills the daemon before and after each step of each call, and
// then once more at each step of the recovery.
func TestEveryStep(t *testing.T) {
	plays := 0
	for name, lines := range everyCall() {
		t.Run(name, func(t *testing.T) {
			for _, timing := range []uint64{0, 1} {
				n, err := killed(t, timing, lines)
				plays += n
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Logf("%d plays", plays)
}

// killed plays lines with every death in the last of them.
func killed(t *testing.T, timing uint64, lines []line) (plays int, err error) {
	before, last := lines[:len(lines)-1], lines[len(lines)-1]
	one := func(l line) (steps, recovery int, err error) {
		plays++
		all := append(before[:len(before):len(before)], l)
		err = play(t, timing, all, func(w *world) { steps, recovery = w.took, w.recovery })
		if err != nil {
			err = fmt.Errorf("timing %d\n%s%w", timing, show(all), err)
		}
		return steps, recovery, err
	}
	steps, _, err := one(last)
	for k := 1; k <= steps && err == nil; k++ {
		for _, kind := range []faultKind{dieBefore, dieAfter} {
			l := line(fmt.Sprintf("%s !%s %d", last, kind, k))
			var recovery int
			if _, recovery, err = one(l); err != nil {
				return plays, err
			}
			for j := 1; j <= recovery && kind == dieAfter; j++ {
				if _, _, err = one(line(fmt.Sprintf("%s !again %d", l, j))); err != nil {
					return plays, err
				}
			}
		}
	}
	return plays, err
}
