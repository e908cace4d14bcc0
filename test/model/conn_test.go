package model

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fairway/link"
)

// A conn is a process's link.Conn over the machine's kernel.
type conn struct {
	*process
	mu2      sync.Mutex
	queue    []*removal // to be done, as a group, a little later
	pending  map[place]*removal
	draining bool
}

func newConn(p *process) *conn { return &conn{process: p, pending: map[place]*removal{}} }

const groupDelay = 2 * time.Millisecond

// uplinkMTU is that of the host's default route, in bytes.
const uplinkMTU = 1500

func (c *conn) UplinkMTU(context.Context) (int, error) { return uplinkMTU, nil }

func (c *conn) Sysctl(_ context.Context, _, path string) (value string, err error) {
	dead := c.look(func() {
		v, ok := c.kernel.sysctls[path]
		if value = v; !ok {
			err = fmt.Errorf("link: read sysctl %s: %w", path, unix.ENOENT)
		}
	})
	return value, cmp.Or(dead, err)
}

// Subnets are those of the host's routes: of its addresses, here.
func (c *conn) Subnets(context.Context) (out []netip.Prefix, err error) {
	err = c.look(func() {
		for _, l := range c.kernel.sorted() {
			for _, a := range l.addresses {
				if l.ns == "" && l.up {
					out = append(out, a.Masked())
				}
			}
		}
	})
	return out, err
}

func (c *conn) SandboxAlive(path string) (alive bool) {
	_ = c.look(func() { alive = c.kernel.sandboxes[path] })
	return alive
}

func (c *conn) Link(_ context.Context, _, name string) (info link.Info, err error) {
	dead := c.look(func() {
		l := c.kernel.host(name)
		if l == nil || c.isPending(name) {
			err = fmt.Errorf("link: get %s: %w", name, unix.ENODEV)
			return
		}
		info = l.info()
	})
	return info, cmp.Or(dead, err)
}

func (c *conn) AnnounceInside(context.Context, string, net.HardwareAddr, ...netip.Addr) error {
	return nil
}

// Probe finds nobody: the LAN is empty.
func (c *conn) Probe(context.Context, link.Segment, net.HardwareAddr, ...netip.Addr) (netip.Addr, net.HardwareAddr, error) {
	return netip.Addr{}, nil, nil
}

func (c *conn) Announce(context.Context, string, string, net.HardwareAddr, ...netip.Addr) error {
	return c.do("link.announce", func() error { return nil })
}

func (c *conn) Forwards(v6 bool) (on bool, err error) {
	err = c.look(func() { on = c.kernel.forwarding[index(v6)] })
	return on, err
}

func (c *conn) EnableForwarding(_ context.Context, v6 bool) (flipped bool, err error) {
	if on, err := c.Forwards(v6); err != nil || on {
		return false, err
	}
	err = c.do("link.forwarding", func() error {
		c.kernel.forwarding[index(v6)] = true
		return nil
	})
	return err == nil, err
}

// owner is a mark less the container's name.
func owner(alias string) string {
	if f := strings.SplitN(alias, ":", 4); len(f) == 4 {
		return strings.Join(f[:3], ":")
	}
	return alias
}

func (c *conn) ours(l *klink) bool { return l.ours() }
