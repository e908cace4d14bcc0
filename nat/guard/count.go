package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Denied returns how many frames of each guarded port were dropped since the
// port came, or since the table was last made anew.
func (g *Guard) Denied(_ context.Context) (out map[string]uint64, err error) {
	err = g.ask(func(c *nftables.Conn) error {
		elements, err := c.GetSetElements(&nftables.Set{Table: g.table, Name: setDenied})
		out = make(map[string]uint64, len(elements))
		for _, e := range elements {
			if e.Counter != nil {
				out[unix.ByteSliceToString(e.Key)] = e.Counter.Packets
			}
		}
		return err
	})
	return out, err
}

// deniedInAll is the sum, without a look at each port.
func (g *Guard) deniedInAll() (sum uint64, err error) {
	err = g.ask(func(c *nftables.Conn) error {
		rules, err := c.GetRules(g.table, &nftables.Chain{Table: g.table, Name: chainDeny})
		for _, r := range rules {
			for _, e := range r.Exprs {
				if counter, ok := e.(*expr.Counter); ok {
					sum += counter.Packets
				}
			}
		}
		return err
	})
	return sum, err
}

// ask reads from the kernel.
func (g *Guard) ask(read func(*nftables.Conn) error) (err error) {
	g.reading.Lock()
	defer g.reading.Unlock()
	if g.reader == nil {
		if g.reader, err = dial(nftables.AsLasting()); err != nil {
			return err
		}
	}
	if err = read(g.reader); err != nil {
		_ = g.reader.CloseLasting() // answers may still wait in it
		g.reader = nil
		return fmt.Errorf("guard: read table bridge %s: %w", tableName, err)
	}
	return nil
}

// How often Run looks at the counts, how long a port is quiet before it is told
// of again, and of how many it tells in one look.
const (
	everyLook = 2 * time.Second
	quiet     = 10 * time.Minute
	atOnce    = 10
)

// Run sweeps, and tells begins of every port that begins to send what isn't its
// own, until the context ends. It tells again of one that was quiet for a while.
func (g *Guard) Run(ctx context.Context, begins func(port string, frames uint64)) error {
	t := time.NewTicker(everyLook)
	defer t.Stop()
	var l lookout
	var sum uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if err := g.Sweep(ctx); err != nil && ctx.Err() == nil {
				g.opts.Log.Warn(err)
			}
			if s, err := g.deniedInAll(); err != nil || s == sum {
				continue // an error: the table is gone, which is for Repair to say
			} else {
				sum = s
			}
			counts, err := g.Denied(ctx)
			if err != nil {
				continue
			}
			begun, more := l.look(now, counts)
			for _, port := range begun {
				begins(port, counts[port])
			}
			if more > 0 {
				g.opts.Log.Warnf("%d more endpoints began to send what is not their own", more)
			}
		}
	}
}
