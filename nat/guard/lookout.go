package guard

import (
	"maps"
	"slices"
	"time"
)

// A lookout remembers what ports had sent when it last looked.
type lookout struct {
	seen map[string]sight
}

type sight struct {
	count uint64
	grew  time.Time
}

// look returns the ports whose counts began to grow since the last look, at most
// atOnce of them, and how many more there are. A count that is less than before
// is that of a new port or a new table.
func (l *lookout) look(now time.Time, counts map[string]uint64) (begun []string, more int) {
	was := l.seen
	l.seen = make(map[string]sight, len(counts))
	for _, port := range slices.Sorted(maps.Keys(counts)) {
		s, known := was[port]
		if counts[port] == s.count {
			l.seen[port] = s
			continue
		}
		if !known || s.grew.IsZero() || now.Sub(s.grew) >= quiet {
			if len(begun) < atOnce {
				begun = append(begun, port)
			} else {
				more++
			}
		}
		l.seen[port] = sight{counts[port], now}
	}
	return begun, more
}
