//go:build kernel

package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A council is an etcd of three members, each with a wire before it by which the
// hosts reach it.
type council struct {
	members []*etcd
	wires   []*wire
	url     string // of all, by their wires
}

func startCouncil(t testing.TB) *council {
	t.Helper()
	c := &council{}
	var peers, urls []string
	for i := range 3 {
		e := &etcd{name: fmt.Sprintf("m%d", i), dir: filepath.Join(t.TempDir(), "etcd"), url: "http://" + freeAddress(t), peer: "http://" + freeAddress(t)}
		c.members = append(c.members, e)
		peers = append(peers, e.name+"="+e.peer)
	}
	for _, e := range c.members {
		e.others = strings.Join(peers, ",")
		e.launch(t)
		t.Cleanup(e.kill)
		w := newWire(t, e)
		c.wires = append(c.wires, w)
		urls = append(urls, "http://"+w.listener.Addr().String())
	}
	c.url = strings.Join(urls, ",")
	c.leader(t)
	return c
}

// leader waits until those that run agree on one that runs, and returns its number.
func (c *council) leader(t testing.TB) (leader int) {
	t.Helper()
	eventually(t, "the members have a leader", func() bool {
		said, id := map[uint64]int{}, map[uint64]int{}
		for i, e := range c.members {
			if e.cmd == nil || e.paused {
				continue
			}
			client := e.client(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r, err := client.Status(ctx, e.url)
			cancel()
			client.Close()
			if err == nil {
				said[r.Leader]++
				id[r.Header.MemberId] = i
			}
		}
		for l, n := range said {
			if i, runs := id[l]; runs && n >= 2 {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// part takes a member's machine off the net, or puts it back: it answers neither
// hosts nor the other members, and doesn't know.
func (c *council) part(t testing.TB, i int, off bool) {
	t.Helper()
	pause(t, c.members[i], off)
	c.members[i].paused = off
	c.wires[i].setCut(off)
}

// Of three members the leader is killed, or cut off, again and again, while hosts
// claim and release addresses: etcd goes on, and no address has two holders.
func TestLeaderLost(t *testing.T) {
	t.Parallel()
	c := startCouncil(t)
	crowd := newCrowd(t, c.url, c.url, c.url)
	crowd.join(t, "10.1.0.0/20")
	crowd.begin()
	for round := range 5 {
		l := c.leader(t)
		off := round%2 == 1
		if off {
			c.part(t, l, true)
		} else {
			c.members[l].kill()
		}
		// Each host gets what only etcd can give.
		crowd.progress(t, "with two members of three", true)
		if off {
			c.part(t, l, false)
		} else {
			c.members[l].launch(t)
		}
	}
	// Without a majority hosts go on with what they have.
	l := c.leader(t)
	for i := range 3 {
		if i != l {
			c.members[i].kill()
		}
	}
	crowd.progress(t, "with one member of three", false)
	for i := range 3 {
		if i != l {
			c.members[i].launch(t)
		}
	}
	c.leader(t)
	crowd.end(t)
	crowd.history.check(t)
	crowd.agree(t, c.members[c.leader(t)])
	crowd.quiet(t)
}

// launch starts a member, without waiting for it.
func (e *etcd) launch(t testing.TB) {
	t.Helper()
	e.cmd = e.command()
	e.cmd.Args = append(e.cmd.Args, "--heartbeat-interval", "50", "--election-timeout", "500")
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// entries returns what etcd has below a kind of keys, by key.
func (e *etcd) entries(t testing.TB, kind string) map[string]string {
	t.Helper()
	client := e.client(t)
	defer client.Close()
	out := map[string]string{}
	eventually(t, "etcd is read", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := client.Get(ctx, "/fairway/test/"+kind+"/", clientv3.WithPrefix())
		if err != nil {
			return false
		}
		for _, kv := range r.Kvs {
			out[strings.TrimPrefix(string(kv.Key), "/fairway/test/")] = string(kv.Value)
		}
		return true
	})
	return out
}
