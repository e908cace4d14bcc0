package nat

// A Repair is one thing that a backend found different from what is wanted,
// and made right.
type Repair struct {
	What string // where and what was found, e.g. "ip filter: chain FAIRWAY-ACCEPT was missing"
}

func (r Repair) String() string { return r.What }
