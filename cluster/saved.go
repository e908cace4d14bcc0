package cluster

import (
	"encoding/json"
	"io"

	"github.com/sirupsen/logrus"

	"fairway/store"
)

// A Saved is what a host knew of its cluster when it was last in it: for a daemon
// that isn't, and goes on serving the segments that are there.
type Saved struct{ of *Cluster }

// NewSaved reads the records of the last run. Records that aren't good are left
// out.
func NewSaved(records store.Records, log logrus.FieldLogger) Saved {
	if log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		log = silent
	}
	var id identity
	_ = json.Unmarshal(records.Cluster[selfKey].Value, &id) // none: it never was in one
	c := newCluster(Options{Self: Host{Name: id.Name, Advertise: id.Advertise}, Log: log})
	_ = c.load(records) // an error is that of another name
	return Saved{c}
}

// Remotes returns the endpoints of all other hosts in a segment, as of a revision
// of etcd's.
func (s Saved) Remotes(segment string) (all []Remote, revision int64) {
	all, _ = s.of.Remotes(segment)
	for _, e := range s.of.view.entries {
		revision = max(revision, e.Revision)
	}
	return all, revision
}

// Members returns the other hosts that had a segment, by name.
func (s Saved) Members(segment string) []Host { return s.of.Members(segment) }

// Self returns this host.
func (s Saved) Self() Host { return s.of.Self() }

// Hosts returns the hosts that there were, by name.
func (s Saved) Hosts() []HostState {
	hosts, _ := s.of.Hosts()
	return hosts
}
