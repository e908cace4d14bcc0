package main

import (
	"context"
	"fmt"
	"time"

	"fairway/admin"

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

// toldEvery is how often systemd's line is looked at.
const toldEvery = 10 * time.Second

// tell keeps the line that systemctl status shows up to date, until ctx ends.
func tell(ctx context.Context, log logrus.FieldLogger, status func() admin.Status) error {
	t := time.NewTicker(toldEvery)
	defer t.Stop()
	for told := ""; ; {
		if line := summary(status()); line != told {
			notify(log, "STATUS="+line)
			told = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// summary is a status in one line.
func summary(s admin.Status) string {
	return fmt.Sprintf("fairway %s: %s; %d networks, %d endpoints, %d published ports",
		s.Daemon.Version, s.State, s.Networks, s.Endpoints, s.Ports)
}
