package driver

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"fairway/event"
)

// A trouble is what goes wrong again and again, such as commits on a full disk.
// It is logged when it begins, when its cause is another one, and when it is
// over.
type trouble struct {
	since time.Time  // zero: there is none
	cause unix.Errno // 0: none that the kernel gave
}

// note takes how the next attempt at what went.
func (t *trouble) note(log logrus.FieldLogger, what string, err error) {
	if err == nil {
		if !t.since.IsZero() {
			log.WithField(event.Field, event.Recovered).Infof("%s works again, after %s", what, time.Since(t.since).Round(time.Second))
		}
		*t = trouble{}
		return
	}
	var cause unix.Errno
	errors.As(err, &cause)
	if t.since.IsZero() {
		t.since = time.Now()
	} else if cause == t.cause {
		return
	}
	t.cause = cause
	log.WithField(event.Field, event.Trouble).WithError(err).Errorf("%s fails; it is tried again until it works", what)
}
