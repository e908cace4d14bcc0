package event

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// An Event is something that happened.
type Event struct {
	// Number counts events since the daemon started, from 1.
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"event"`    // its kind, e.g. "attach"
	Severity string    `json:"severity"` // "info", "warning" or "error"
	Message  string    `json:"message"`
	// Fields say what it is about: network, endpoint, container, address, …
	Fields map[string]string `json:"fields"`
}

// Lost is the kind of an event that stands for those that a reader was too slow
// for, or that were no longer kept.
const Lost = "lost"

// A Ring keeps the last events: those among the entries of a log that have the
// Field. It is a logrus.Hook.
type Ring struct {
	mu      sync.Mutex
	kept    []Event       // those with number n at n modulo len
	last    uint64        // number of the newest; 0: there is none
	changed chan struct{} // closed with the next event
}

// NewRing returns a Ring that keeps as many.
func NewRing(size int) *Ring {
	return &Ring{kept: make([]Event, size), changed: make(chan struct{})}
}

// Levels are all: whether something is an event is no matter of how bad it is.
func (r *Ring) Levels() []logrus.Level { return logrus.AllLevels }

// Fire keeps an entry that is an event.
func (r *Ring) Fire(entry *logrus.Entry) error {
	kind, ok := entry.Data[Field].(string)
	if !ok {
		return nil
	}
	e := Event{Time: entry.Time, Kind: kind, Severity: severity(entry.Level), Message: entry.Message, Fields: map[string]string{}}
	for name, value := range entry.Data {
		if name != Field {
			e.Fields[name] = fmt.Sprint(value)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.Number = r.last
	r.kept[r.last%uint64(len(r.kept))] = e
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

func severity(l logrus.Level) string {
	switch {
	case l <= logrus.ErrorLevel:
		return "error"
	case l == logrus.WarnLevel:
		return "warning"
	}
	return "info"
}

// From returns the events from a number on that are kept, oldest first, how many
// of them aren't kept any more, and what is closed when there is another.
func (r *Ring) From(number uint64) (events []Event, lost uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number = max(number, 1)
	if size := uint64(len(r.kept)); r.last > size && number <= r.last-size {
		oldest := r.last - size + 1
		lost, number = oldest-number, oldest
	}
	for ; number <= r.last; number++ {
		events = append(events, r.kept[number%uint64(len(r.kept))])
	}
	return events, lost, r.changed
}
