package model

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// errDead is what a dead process gets of the machine: nothing happens any more.
var errDead = errors.New("the process is dead")

// A machine is a host without a daemon: what outlives a crash. Side effects
// come to it one by one, each a step.
type machine struct {
	mu     sync.Mutex
	disk   *disk
	kernel *kernel
	rules  *rules
	ports  map[portKey]string // host ports that foreign processes hold

	rng   *rand.Rand
	steps []string // since the last arm
	// litter: a removal has failed. On others' bridges nothing is marked, so
	// what it left there stays.
	litter bool
	fault  fault
	seed   uint64
	ticks  map[string]int // steps so far, by name
}

// A fault is what goes wrong at one of the steps to come. The zero value is
// nothing.
type fault struct {
	kind faultKind
	step int // 1 is the first step after arming
}

type faultKind string

const (
	noFault   faultKind = ""
	dieBefore faultKind = "die"  // the machine's daemon is killed before the step takes effect
	dieAfter  faultKind = "died" // after it took effect, before it can tell anybody
	failOnce  faultKind = "fail" // the step fails, with what its kind fails with
	failDisk  faultKind = "full" // from this step on no commit succeeds
)

func newMachine(seed uint64) *machine {
	return &machine{
		disk: newDisk(), kernel: newKernel(), rules: newRules(), ports: map[portKey]string{},
		rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, ticks: map[string]int{},
	}
}

// arm begins a new count of steps, in which f will happen.
func (m *machine) arm(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps, m.fault = nil, f
}

// taken returns how many steps were taken since the last arm.
func (m *machine) taken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.steps)
}

// A process is one life of the daemon on a machine.
type process struct {
	*machine
	dead chan struct{} // closed when it dies
}

func (m *machine) start() *process { return &process{machine: m, dead: make(chan struct{})} }

// alive reports whether the process still runs. The caller holds m.mu.
func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// kill ends the process.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.die()
}

func (p *process) die() {
	if p.alive() {
		close(p.dead)
	}
}

// do carries out one side effect: after a moment, and if the process lives and
// no fault is due. Effect runs alone.
func (p *process) do(name string, effect func() error) error {
	time.Sleep(p.moment(name))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return errDead
	}
	p.steps = append(p.steps, name)
	f := p.fault
	switch due := f.step == len(p.steps); {
	case f.kind == dieBefore && due:
		p.die()
		return errDead
	case f.kind == dieAfter && due:
		_ = effect()
		p.die()
		return errDead
	case f.kind == failOnce && due, f.kind == failDisk && len(p.steps) >= f.step && strings.HasPrefix(name, "store."):
		if err := errnoOf(name); err != nil {
			p.litter = p.litter || strings.HasPrefix(name, "link.remove")
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return effect()
}

// look reads the machine. A dead process reads nothing.
func (p *process) look(read func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return errDead
	}
	read()
	return nil
}

// errnoOf is what a kind of step fails with when it fails; nil if it can't.
func errnoOf(name string) error {
	switch {
	case strings.HasPrefix(name, "store."):
		return unix.ENOSPC
	case strings.HasPrefix(name, "link."):
		return unix.ENOBUFS
	case name == "ports.release", name == "ports.restore": // close(2) and what only logs
		return nil
	}
	return unix.EAGAIN
}

// moment is how long the next step of a name takes to come: random, so that
// concurrent calls interleave in many ways, but alike in every run of a seed.
func (p *process) moment(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticks[name]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d", p.seed, name, p.ticks[name])
	often := time.Duration(h.Sum64()%64) * time.Microsecond
	h.Reset()
	_, _ = h.Write([]byte(name))
	return often + time.Duration(h.Sum64()%997) // its own, so that no two fall together
}
