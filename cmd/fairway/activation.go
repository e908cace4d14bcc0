package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/sirupsen/logrus"
)

// sockets are those that the daemon serves. The one in the place of a managed
// plugin is nil unless it was asked for, and that of the IPAM driver for ipvlans
// where it can't be made.
type sockets struct {
	plugin, ipvlan, replaced, admin net.Listener
}

// openSockets takes the sockets that systemd passed and opens those it didn't.
// A socket of systemd's stays when its listener is closed; our own is removed.
func openSockets(cfg config, log logrus.FieldLogger) (s sockets, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	passed, err := passedSockets(activation.Files(true), cfg)
	if err != nil {
		return s, err
	}
	for _, want := range []struct {
		name, path string
		l          *net.Listener
	}{{"plugin", cfg.Socket, &s.plugin}, {"ipvlan", cfg.ipvlanSocket(), &s.ipvlan}, {"replaced", cfg.replacedSocket(), &s.replaced}, {"admin", cfg.AdminSocket, &s.admin}} {
		l, ok := passed[want.name]
		if want.name == "replaced" && !ok && !cfg.ReplacePlugin {
			continue
		}
		if !ok {
			l, err = listen(want.path)
			if err != nil && want.name == "ipvlan" { // an older socket unit doesn't pass it
				log.Warnf("no addresses for ipvlan networks (--ipam-driver fairway-ipvlan): %v", err)
				err = nil
				continue
			}
			if err != nil {
				return s, err
			}
		}
		*want.l = guarded{l, log}
	}
	return s, nil
}

// Close closes them all.
func (s sockets) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.plugin, s.ipvlan, s.replaced, s.admin} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// passedSockets tells the sockets in files apart. One unit gives all of its
// sockets one name (FileDescriptorName= in systemd.socket(5)), so their paths
// tell too.
func passedSockets(files []*os.File, cfg config) (map[string]*net.UnixListener, error) {
	passed := map[string]*net.UnixListener{}
	var errs []error
	for _, f := range files {
		l, err := net.FileListener(f)
		_ = f.Close()
		u, ok := l.(*net.UnixListener)
		if err != nil || !ok {
			errs = append(errs, fmt.Errorf("socket %q passed by systemd: want a listening Unix stream socket", f.Name()))
			continue
		}
		use := socketUse(f.Name(), u.Addr().String(), cfg)
		if use == "" || passed[use] != nil {
			errs = append(errs, fmt.Errorf("socket %q at %s passed by systemd: want one at %s and one at %s",
				f.Name(), u.Addr(), cfg.Socket, cfg.AdminSocket))
			_ = u.Close()
			continue
		}
		u.SetUnlinkOnClose(false)
		passed[use] = u
	}
	if len(errs) > 0 {
		for _, l := range passed {
			errs = append(errs, l.Close())
		}
		return nil, errors.Join(errs...)
	}
	return passed, nil
}

func socketUse(name, path string, cfg config) string {
	switch {
	case path == cfg.replacedSocket(): // systemd was asked for it, so the daemon is
		return "replaced"
	case path == cfg.ipvlanSocket():
		return "ipvlan"
	case path == cfg.AdminSocket, name == "admin":
		return "admin"
	case path == cfg.Socket, name == "fairway.socket", name == "plugin":
		return "plugin"
	}
	return ""
}
