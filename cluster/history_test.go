package cluster

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A step of a history is what one host did with one address. What it got for an
// answer is porcupine's output: whether the address was handed out, or given back.
// One that was refused, or of which nothing is known, did neither: a host holds an
// address only once it has told so.
type step struct {
	host    string
	ip      netip.Addr
	release bool
}

// oneHolder is a set of free addresses, cut into its members, which don't concern
// one another: the state is who holds an address, "" for nobody. It doesn't matter
// why a host may hand one out, whether it is of a block of its own or a claim.
func oneHolder() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			at := map[netip.Addr]int{}
			for _, op := range history {
				ip := op.Input.(step).ip
				i, ok := at[ip]
				if !ok {
					i, at[ip] = len(parts), len(parts)
					parts = append(parts, nil)
				}
				parts[i] = append(parts[i], op)
			}
			return parts
		},
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			holder, in := state.(string), input.(step)
			switch {
			case !output.(bool):
				return true, holder
			case in.release:
				return holder == in.host, ""
			}
			return holder == "", in.host
		},
		DescribeOperation: func(input, output any) string {
			in := input.(step)
			verb := map[bool]string{false: "claims", true: "releases"}[in.release]
			if !output.(bool) {
				verb += " in vain"
			}
			return fmt.Sprintf("%s %s %s", in.host, verb, in.ip)
		},
	}
}

// A history is what hosts did, in the order of one clock. It may be used
// concurrently.
type history struct {
	began time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
}

func newHistory() *history { return &history{began: time.Now()} }

// now is the time in nanoseconds since the history began.
func (h *history) now() int64 { return int64(time.Since(h.began)) }

// add takes down a step that was called at a time and has just returned.
func (h *history) add(client int, s step, called int64, done bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: s, Call: called, Output: done, Return: h.now()})
}

// check fails the test with the steps of the addresses that two had at a time.
func (h *history) check(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	const limit = time.Minute
	m := oneHolder()
	switch porcupine.CheckOperationsTimeout(m, h.all, limit) {
	case porcupine.Ok:
	case porcupine.Unknown:
		t.Errorf("the history of %d steps wasn't checked within %v", len(h.all), limit)
	case porcupine.Illegal:
		for _, part := range m.Partition(h.all) {
			if porcupine.CheckOperations(m, part) {
				continue
			}
			t.Error("an address had two holders at a time:")
			for _, op := range part {
				t.Errorf("  from %v to %v: %s", time.Duration(op.Call), time.Duration(op.Return), m.DescribeOperation(op.Input, op.Output))
			}
		}
	}
}

// The check refuses what must not be, and nothing else.
func TestOneHolder(t *testing.T) {
	a, b := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
	op := func(call, ret int64, host string, ip netip.Addr, release, done bool) porcupine.Operation {
		return porcupine.Operation{Input: step{host, ip, release}, Call: call, Output: done, Return: ret}
	}
	for _, c := range []struct {
		name string
		good bool
		ops  []porcupine.Operation
	}{
		{"one after the other", true, []porcupine.Operation{
			op(1, 2, "x", a, false, true), op(3, 4, "x", a, true, true), op(5, 6, "y", a, false, true),
		}},
		{"two addresses", true, []porcupine.Operation{op(1, 2, "x", a, false, true), op(3, 4, "y", b, false, true)}},
		{"one is refused", true, []porcupine.Operation{op(1, 2, "x", a, false, true), op(3, 4, "y", a, false, false)}},
		{"given back while the other asks", true, []porcupine.Operation{
			op(1, 2, "x", a, false, true), op(3, 8, "y", a, false, true), op(5, 9, "x", a, true, true),
		}},
		{"two hosts have it", false, []porcupine.Operation{op(1, 2, "x", a, false, true), op(3, 4, "y", a, false, true)}},
		{"two hosts have it, who asked at the same time", false, []porcupine.Operation{op(1, 4, "x", a, false, true), op(2, 3, "y", a, false, true)}},
		{"a host has it twice", false, []porcupine.Operation{op(1, 2, "x", a, false, true), op(3, 4, "x", a, false, true)}},
		{"given back too late", false, []porcupine.Operation{
			op(1, 2, "x", a, false, true), op(3, 4, "y", a, false, true), op(5, 6, "x", a, true, true),
		}},
		{"given back in vain", false, []porcupine.Operation{
			op(1, 2, "x", a, false, true), op(3, 4, "x", a, true, false), op(5, 6, "y", a, false, true),
		}},
		{"given back by who never had it", false, []porcupine.Operation{op(1, 2, "x", a, true, true)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := porcupine.CheckOperations(oneHolder(), c.ops); got != c.good {
				t.Errorf("taken for good: %v, want %v", got, c.good)
			}
		})
	}
}
