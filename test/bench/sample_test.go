//go:build bench

package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A sample is how long something took, each time.
type sample []time.Duration

// at returns the value that the part q of the sample doesn't exceed.
func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1))]
}

func (s sample) p50() time.Duration { return s.at(.5) }
func (s sample) p95() time.Duration { return s.at(.95) }
func (s sample) max() time.Duration { return s.at(1) }

// ms is a duration in milliseconds, for people.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v >= 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func times(a, b time.Duration) string { return fmt.Sprintf("%.2f", ratio(a, b)) }

// verdict says whether an aim is met.
func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "missed"
}

// table prints rows as a table of a document.
func table(header []string, rows [][]string) {
	fmt.Println("\n| " + strings.Join(header, " | ") + " |")
	fmt.Println("|" + strings.Repeat("---|", len(header)))
	for _, r := range rows {
		fmt.Println("| " + strings.Join(r, " | ") + " |")
	}
}
