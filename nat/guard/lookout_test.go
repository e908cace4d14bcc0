package guard

import (
	"fmt"
	"testing"
	"time"
)

// A port is told of when it begins, not while it goes on, and again after a
// while of silence.
func TestLookout(t *testing.T) {
	var l lookout
	start := time.Unix(0, 0)
	for i, c := range []struct {
		after  time.Duration
		counts map[string]uint64
		want   string
	}{
		{0, map[string]uint64{"fwv1": 0, "fwv2": 0}, "[] 0"},
		{2 * time.Second, map[string]uint64{"fwv1": 5, "fwv2": 0}, "[fwv1] 0"},
		{4 * time.Second, map[string]uint64{"fwv1": 9, "fwv2": 1}, "[fwv2] 0"},
		{quiet, map[string]uint64{"fwv1": 9, "fwv2": 1}, "[] 0"},
		{2 * quiet, map[string]uint64{"fwv1": 10, "fwv2": 1}, "[fwv1] 0"},
		{2*quiet + time.Second, map[string]uint64{"fwv2": 1}, "[] 0"},
		{2*quiet + 2*time.Second, map[string]uint64{"fwv1": 1, "fwv2": 1}, "[fwv1] 0"}, // another one of this name
	} {
		begun, more := l.look(start.Add(c.after), c.counts)
		if got := fmt.Sprint(begun, more); got != c.want {
			t.Errorf("look %d: %s, want %s", i, got, c.want)
		}
	}
	many := map[string]uint64{}
	for i := range atOnce + 3 {
		many[fmt.Sprintf("fwv%02d", i+10)] = 1
	}
	if begun, more := l.look(start.Add(3*quiet), many); len(begun) != atOnce || more != 3 {
		t.Errorf("many at once: %d, and %d more", len(begun), more)
	}
}
