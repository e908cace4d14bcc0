package nat

// A Lack is a published port that isn't served by the kernel's rules, as they
// are now, in the way that was meant.
type Lack struct {
	Endpoint string // ID
	Port     Port   // without a TargetPort: all that is carried to its Target
	Kind     LackKind
	Why      string
}

// LackKind is what a lack makes of a port.
type LackKind int

// The kinds of lacks.
const (
	Unserved  LackKind = iota // nobody reaches it
	Unguarded                 // not only its Clients reach it
	Unsure                    // others have changed rules: who reaches it can't be told
)
