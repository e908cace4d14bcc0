package firewalld

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// Run tells firewalld again what it must hold, each time that it starts or
// reloads, until the context ends.
func (z *Zone) Run(ctx context.Context) error {
	every := time.NewTicker(again)
	defer every.Stop()
	z.catchUp(ctx)
	for {
		z.mu.Lock()
		var signals chan *dbus.Signal
		if z.bus != nil {
			signals = z.bus.signals
		}
		z.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-z.dialled:
			continue
		case s, open := <-signals:
			if !open {
				z.hangUp(signals)
				continue
			}
			if s.Name == reloaded || s.Name == newOwner {
				z.catchUp(ctx)
			}
		case <-every.C:
			if signals == nil {
				z.catchUp(ctx)
			}
		}
	}
}

// catchUp talks to firewalld with time enough for it to reload.
func (z *Zone) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	err := z.sync(ctx, func(link string) {
		z.opts.Log.WithField("link", link).Warn("repaired: firewalld: link was not in zone " + zone)
	})
	if ctx.Err() == nil || err != nil {
		z.note(err)
	}
}

// hangUp forgets a bus whose connection is gone.
func (z *Zone) hangUp(signals chan *dbus.Signal) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.bus != nil && z.bus.signals == signals {
		_ = z.bus.conn.Close()
		z.bus = nil
	}
}
