package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Options make a Watcher. All but Log and Parent are required.
type Options struct {
	Instance string // of the store: marks what is ours
	// Wanted reports whether a record wants a link of the host. It is called
	// often and must not wait.
	Wanted func(link string) bool
	// Parent reports whether a record wants somebody else's link as a parent: it is
	// looked at when it comes, goes, or goes up or down. It must not wait either.
	Parent func(link string) bool
	// Firewall compares rules, Links links and addresses, with what is wanted,
	// and reports whether something had to be repaired. Each is called by one
	// goroutine.
	Firewall, Links func(context.Context) (found bool)
	// RuleProtocol is what policy rules of ours are marked with: rtm_protocol.
	RuleProtocol uint8
	Log          logrus.FieldLogger // nil: silent
}

// A Watcher calls for looks when others changed something of ours.
type Watcher struct {
	sources         []*source
	firewall, links *lane
}

// New listens in the network namespace of the calling thread: from now on
// nothing is missed, though looks are called for by Run only. On a kernel
// without netfilter's sockets only links are listened to.
func New(opts Options) (*Watcher, error) {
	if opts.Parent == nil {
		opts.Parent = func(string) bool { return false }
	}
	if opts.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		opts.Log = l
	}
	self, err := os.ReadFile("/proc/thread-self/comm")
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	seen := newLinks(opts.Wanted, opts.Parent)
	w := &Watcher{
		firewall: newLane(func(ctx context.Context) bool {
			opts.Log.Debug("watch: rules were changed")
			return opts.Firewall(ctx)
		}),
		links: newLane(func(ctx context.Context) bool {
			if !seen.take() {
				return false
			}
			opts.Log.Debug("watch: links were changed")
			return opts.Links(ctx)
		}),
	}
	rules := &rules{self: string(bytes.TrimSpace(self)), mark: "fairway:" + opts.Instance}
	w.sources = []*source{{
		name: "links", family: unix.NETLINK_ROUTE, log: opts.Log, started: askLinks,
		groups: bits(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE),
		read: func(m netlink.Message) {
			if seen.read(m) {
				w.links.wake()
			}
			if otherOrder(m, opts.RuleProtocol) {
				w.firewall.wake()
			}
		},
		missed: func() { seen.missed(); w.links.wake(); w.firewall.wake() },
	}, {
		name: "rules", family: unix.NETLINK_NETFILTER, log: opts.Log, groups: bits(unix.NFNLGRP_NFTABLES),
		read: func(m netlink.Message) {
			if rules.read(m) {
				w.firewall.wake()
			}
		},
		missed: w.firewall.wake,
	}}
	for i, s := range w.sources {
		err := s.open()
		if s.family == unix.NETLINK_NETFILTER && errors.Is(err, unix.EPROTONOSUPPORT) {
			w.sources = w.sources[:i]
			break
		}
		if err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// askLinks has the kernel tell all links, as if each were new: so their names
// are known.
func askLinks(c *netlink.Conn) error {
	_, err := c.Send(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofIfInfomsg),
	})
	return err
}

// Run calls for looks until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, s := range w.sources {
		running.Go(func() { s.run(ctx) })
	}
	for _, l := range []*lane{w.firewall, w.links} {
		running.Go(func() { l.run(ctx) })
	}
	running.Wait()
	return nil
}

// Close frees what New opened. Run must have ended.
func (w *Watcher) Close() error {
	for _, s := range w.sources {
		s.close()
	}
	return nil
}
