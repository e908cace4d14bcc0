package nat

import (
	"fmt"
	"io"
	"regexp"

	"github.com/sirupsen/logrus"
)

// Options make a backend.
type Options struct {
	Instance     string             // of the store: marks the rules that are ours
	Log          logrus.FieldLogger // nil: silent
	Step         func(string)       // told of every change before it is made; may be nil
	LinkGroup    uint32             // of links that the instance makes, by which they are known before they have its mark; 0: none
	ForwardGuard string             // path of a file that remembers GuardForward; "": nothing does
	Marks        Marks              // bits of packets' marks that are ours; none: those of DefaultMask
}

var instanceName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) //nolint:gochecknoglobals // a constant

// Complete returns o with what was left out. It refuses an instance that a
// rule's comment can't hold.
func (o Options) Complete() (Options, error) {
	if !instanceName.MatchString(o.Instance) {
		return o, fmt.Errorf("nat: instance %q: want at most 64 of A-Z a-z 0-9 _ . -", o.Instance)
	}
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = l
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Marks == (Marks{}) {
		o.Marks, _ = MarksOf(DefaultMask)
	}
	return o, nil
}
