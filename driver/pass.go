package driver

import (
	"sync"

	"fairway/nat"
)

// A pass gathers endpoints whose connections are to go: to look through the
// host's table takes as long for one as for the hundred that docker compose down
// ends at once.
type pass struct {
	mu      sync.Mutex
	waiting []nat.Endpoint
	running sync.Mutex
}

func (p *pass) add(e nat.Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, e)
}

// each calls do with all that were added and that nobody else has taken, and
// returns when whatever was added before is done.
func (p *pass) each(do func([]nat.Endpoint)) {
	p.running.Lock()
	defer p.running.Unlock()
	p.mu.Lock()
	all := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	if len(all) > 0 {
		do(all)
	}
}
