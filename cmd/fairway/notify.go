package main

import (
	"context"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
)

// notify tells systemd a state, where it listens. See sd_notify(3).
func notify(log logrus.FieldLogger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.WithError(err).Warn("notify systemd")
	}
}

// watchdog tells systemd that the daemon lives, as often as it asks for, until
// ctx ends. See WatchdogSec= in systemd.service(5).
func watchdog(ctx context.Context, log logrus.FieldLogger) error {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.WithError(err).Warn("watchdog")
	}
	if every == 0 {
		return nil
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		notify(log, sd.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
