package guard

import (
	"fmt"

	"fairway/nat"
)

// Compare says what in the kernel differs from these ports and nothing else, as
// Reconcile would find it. It changes nothing.
func Compare(opts nat.Options, want []nat.Guarded) ([]nat.Repair, error) {
	g, err := New(opts)
	if err != nil {
		return nil, err
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	have, there, err := g.read(conn)
	if err != nil {
		return nil, fmt.Errorf("guard: read table bridge %s: %w", tableName, err)
	}
	d := map[string]*nat.Guarded{}
	for _, p := range want {
		d[p.Port] = &p
	}
	g.swap(d)
	wanted := contentOf(g.ports)
	switch {
	case !there && len(want) == 0:
		return nil, nil
	case !there:
		return []nat.Repair{{What: "bridge " + tableName + ": the table was missing"}}, nil
	}
	return repairs(have, g.shapeOf(wanted), wanted.elements), nil
}
