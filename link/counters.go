package link

import (
	"context"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Counters are what a link has seen since it was made: the first fields of
// rtnl_link_stats64, linux/if_link.h.
type Counters struct {
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxDropped, TxDropped uint64 // packets
}

// Counters returns those of all links of the host, by name.
func (c *Conn) Counters(context.Context) (map[string]Counters, error) {
	var out map[string]Counters
	err := undisturbed(func() error {
		out = map[string]Counters{}
		req, _ := linkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP, 0)
		msgs, err := c.own.list.dump(req, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		for _, m := range msgs {
			name, counters, err := parseCounters(m)
			if err != nil {
				return err
			}
			out[name] = counters
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("link: list counters: %w", err)
	}
	return out, nil
}

// CountersInside returns those of the instance's links in a sandbox, by the ID of
// the endpoint that each is marked with.
func (c *Conn) CountersInside(_ context.Context, sandbox string) (map[string]Counters, error) {
	s, done, err := c.peek(sandbox)
	if err != nil {
		return nil, fmt.Errorf("link: list counters: %w", err)
	}
	defer done()
	out := map[string]Counters{}
	err = undisturbed(func() error {
		req, _ := linkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP, 0)
		msgs, err := s.list.dump(req, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		for _, m := range msgs {
			_, counters, err := parseCounters(m)
			if err != nil {
				return err
			}
			l, err := parseLink(m)
			if err != nil {
				return err
			}
			if Marked(l.alias, c.instance) {
				out[strings.Split(l.alias, ":")[2]] = counters
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("link: list counters of %s: %w", sandbox, err)
	}
	return out, nil
}

func parseCounters(msg []byte) (name string, c Counters, err error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return "", c, fmt.Errorf("link message: %w", unix.EBADMSG)
	}
	err = each(msg[unix.SizeofIfInfomsg:], func(t uint16, v []byte) {
		switch t {
		case unix.IFLA_IFNAME:
			name = unix.ByteSliceToString(v)
		case unix.IFLA_STATS64:
			// 4 and 5 are errors
			for i, to := range []*uint64{&c.RxPackets, &c.TxPackets, &c.RxBytes, &c.TxBytes, nil, nil, &c.RxDropped, &c.TxDropped} {
				if to != nil && len(v) >= 8*(i+1) {
					*to = nl.NativeEndian().Uint64(v[8*i:])
				}
			}
		}
	})
	return name, c, err
}
