package model

import (
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A ground is a host with a daemon that may die: of memory (level 1), or real
// (level 2).
type ground interface {
	// boot starts a daemon where the last one has died, and returns when it
	// serves or has died again. Torn is told what a commit that failed has left
	// on the disk.
	boot(torn func(before, after store.Records)) error
	lives() bool
	kill()
	post(r request) outcome
	engine(name string) string // an engine's name on record
	// arm begins a new count of steps, in which f will happen; taken is how
	// many there were.
	arm(f fault)
	taken() int

	quiesce() error // everything that was answered is done
	repair() error  // what was broken is mended, as Run does
	restarts() bool // repair starts the daemon anew
	records() (store.Records, error)
	// memory is what the daemon goes by, if that can be seen.
	memory() (networks []store.Network, endpoints []store.Endpoint, ok bool)

	sandbox(id string) (path string)
	makeSandbox(path string)
	killSandbox(path string)
	alive(path string) bool
	moveIn(sandbox string, e *dep) bool // as dockerd after Join
	moveOut(sandbox string, e *dep)     // as dockerd after Leave

	// lines are what the kernel has, one object each: of ours, and of others.
	lines() (ours, others []string)
	inner(hostLink string) (end klink, ok bool) // the other end of a pair
	away(m link.Macvlan) (l klink, ok bool)     // it is in its sandbox
	checkFirewall(want nat.State) error
	checkPorts(want map[portKey]string) error
	litter() bool // a removal has failed on others' bridges
	full() bool   // the crowded bridge is
	hasVLANs() bool

	tell(w *world)
	tamper(what, bridge, port string)
	reboot()
	end()
}
