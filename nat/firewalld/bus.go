package firewalld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Names of firewalld on the bus: firewalld.dbus(5).
const (
	service    = "org.fedoraproject.FirewallD1"
	path       = dbus.ObjectPath("/org/fedoraproject/FirewallD1")
	configPath = path + "/config"
	zone       = "fairway"

	busService = "org.freedesktop.DBus"
	reloaded   = service + ".Reloaded"
	newOwner   = busService + ".NameOwnerChanged"
)

// A bus is one connection to the system's bus.
type bus struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed with the connection
}

// dial connects to a bus, to the system's if address is "", and asks for the
// signals of a reload and of a start. The context bounds the dialling only.
func dial(ctx context.Context, address string) (*bus, error) {
	life, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var conn *dbus.Conn
	var err error
	if address == "" {
		conn, err = dbus.ConnectSystemBus(dbus.WithContext(life))
	} else {
		conn, err = dbus.Connect(address, dbus.WithContext(life))
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("firewalld: connect to D-Bus: %w", err)
	}
	b := &bus{conn: conn, signals: make(chan *dbus.Signal, 64)}
	conn.Signal(b.signals)
	err = errors.Join(
		conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(service), dbus.WithMatchObjectPath(path),
			dbus.WithMatchInterface(service), dbus.WithMatchMember("Reloaded")),
		conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busService), dbus.WithMatchInterface(busService),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("firewalld: listen on D-Bus: %w", err), conn.Close())
	}
	return b, nil
}

// alive reports whether the connection still stands.
func (b *bus) alive() bool { return b != nil && b.conn.Connected() && b.conn.Context().Err() == nil }

// running reports whether firewalld is on the bus. It starts nothing.
func (b *bus) running(ctx context.Context) (there bool, err error) {
	err = b.conn.BusObject().CallWithContext(ctx, busService+".NameHasOwner", dbus.FlagNoAutoStart, service).Store(&there)
	if err != nil {
		err = fmt.Errorf("firewalld: look for it on D-Bus: %w", err)
	}
	return there, err
}

// elsewhere reports whether the firewalld on the bus is seen to filter in another
// network namespace than the calling thread's. Where we may not look it isn't.
func (b *bus) elsewhere(ctx context.Context) bool {
	var pid uint32
	err := b.conn.BusObject().CallWithContext(ctx, busService+".GetConnectionUnixProcessID", dbus.FlagNoAutoStart, service).Store(&pid)
	if err != nil {
		return false
	}
	proc := fmt.Sprintf("/proc/%d/", pid)
	if name, err := os.ReadFile(proc + "comm"); err != nil || strings.TrimSpace(string(name)) != "firewalld" {
		return false // the bus is in another PID namespace
	}
	its, err := os.Readlink(proc + "ns/net")
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	return err == nil && its != ours
}

// list calls a method that returns names.
func (b *bus) list(ctx context.Context, method string, args ...any) (names []string, err error) {
	err = b.conn.Object(service, path).CallWithContext(ctx, service+"."+method, dbus.FlagNoAutoStart, args...).Store(&names)
	if err != nil {
		err = fmt.Errorf("firewalld: %s: %w", method, err)
	}
	return names, err
}

// call calls a method whose answer doesn't matter.
func (b *bus) call(ctx context.Context, object dbus.ObjectPath, method string, args ...any) error {
	err := b.conn.Object(service, object).CallWithContext(ctx, service+"."+method, dbus.FlagNoAutoStart, args...).Err
	if err != nil {
		err = fmt.Errorf("firewalld: %s: %w", method, err)
	}
	return err
}

// is reports whether firewalld answered with one of its error codes, such as
// ZONE_CONFLICT: the message of its exception begins with it.
func is(err error, codes ...string) bool {
	var e dbus.Error
	if !errors.As(err, &e) || len(e.Body) == 0 {
		return false
	}
	text, _ := e.Body[0].(string)
	for _, code := range codes {
		if strings.HasPrefix(text, code) {
			return true
		}
	}
	return false
}
