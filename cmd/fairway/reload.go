package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"fairway/admin"
	"fairway/event"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// live reports whether a setting can be changed while the daemon runs. The
// others name what it has open, or what is in the kernel already.
func live(name string) bool {
	return slices.Contains([]string{"default-address-pool", "metrics-address", "metrics-endpoints", "log-level", "log-format"}, name)
}

// A tuner changes the live settings of a running daemon.
type tuner struct {
	read  func() (config, []admin.Setting, error)
	apply []func(config) error // each takes what is its own
	log   logrus.FieldLogger

	mu  sync.Mutex
	now []admin.Setting
}

// Settings returns what the daemon has.
func (t *tuner) Settings() []admin.Setting {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.now)
}

// run reads the settings again at each signal until ctx ends. Mistakes are
// logged, and change nothing.
func (t *tuner) run(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		notify(t.log, reloading())
		if err := t.reload(); err != nil {
			t.log.WithError(err).Error("reload: all settings stay as they were")
		}
		notify(t.log, sd.SdNotifyReady)
	}
}

// reloading is what systemd is told at the beginning of a reload: sd_notify(3).
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000)
}

// reload makes the live settings what they are now where they are read from,
// and notes what waits for the next start.
func (t *tuner) reload() error {
	cfg, next, err := t.read()
	if err != nil {
		return err
	}
	var errs []error
	for _, apply := range t.apply {
		errs = append(errs, apply(cfg))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range next {
		old := &t.now[i] // the same flags in the same order
		if s.Value == old.Value {
			old.Origin, old.Next = s.Origin, nil
			continue
		}
		log := t.log.WithFields(logrus.Fields{"setting": s.Name, "from": old.Value, "to": s.Value, "origin": s.Origin})
		if s.Live {
			*old = s
			log.Info("reload: changed")
			continue
		}
		old.Next = &next[i].Value
		log.Warn("reload: takes effect when the daemon starts again")
	}
	t.log.WithField(event.Field, event.Reload).Info("reloaded")
	return nil
}
