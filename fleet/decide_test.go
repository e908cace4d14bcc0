package fleet

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairway/cluster"
	"fairway/engine"
)

// backbone is a network that hosts are to have.
func backbone() cluster.Network {
	return cluster.Network{
		Name: "backbone", Segment: "bone", Pools: []cluster.Pool{{Subnet: netip.MustParsePrefix("10.40.0.0/16")}},
		Options: map[string]string{"mtu": "1400"}, Labels: map[string]string{"tier": "1"},
	}
}

func wanted(change func(*cluster.NetworkState)) cluster.NetworkState {
	s := cluster.NetworkState{Network: backbone(), Seen: 7}
	if change != nil {
		change(&s)
	}
	return s
}

func TestDecide(t *testing.T) {
	now, other := backbone(), backbone()
	other.Internal = true
	made := func(n cluster.Network, running, stopped []string) engine.Held {
		return engine.Held{
			ID: strings.Repeat("ab", 32), Name: n.Name, Ours: true, Attached: running, Stopped: stopped,
			Labels: map[string]string{LabelCluster: "prod", LabelRevision: n.Revision()},
		}
	}
	foreign := engine.Held{ID: strings.Repeat("cd", 32), Name: "backbone", Ours: true}
	anothers := made(now, nil, nil)
	anothers.Labels = map[string]string{LabelCluster: "test", LabelRevision: now.Revision()}
	builtin := made(now, nil, nil)
	builtin.Ours = false
	const (
		working = cluster.NetworkWorking
		waiting = cluster.NetworkWaiting
		refused = cluster.NetworkRefused
	)
	gone := func(s *cluster.NetworkState) { s.Removed = true }
	elsewhere := func(s *cluster.NetworkState) { s.Hosts = []string{"b", "c"} }
	here := func(s *cluster.NetworkState) { s.Hosts = []string{"a"} }
	unknown := func(s *cluster.NetworkState) { *s = cluster.NetworkState{Network: cluster.Network{Name: "backbone"}} }
	damaged := func(s *cluster.NetworkState) {
		s.Network, s.Damaged = cluster.Network{Name: "backbone"}, true
		s.On = map[string]cluster.NetworkReport{"a": {State: cluster.NetworkMade, Revision: "x"}}
	}
	for name, c := range map[string]struct {
		wanted func(*cluster.NetworkState)
		have   []engine.Held
		verb   verb
		state  string // "": no report
		says   string
	}{
		"not there":                       {nil, nil, create, working, ""},
		"not there, for this host":        {here, nil, create, working, ""},
		"there":                           {nil, []engine.Held{made(now, nil, nil)}, keep, cluster.NetworkMade, ""},
		"there, in use":                   {nil, []engine.Held{made(now, []string{"web"}, []string{"db"})}, keep, cluster.NetworkMade, ""},
		"changed":                         {nil, []engine.Held{made(other, nil, nil)}, remove, working, ""},
		"changed, in use":                 {nil, []engine.Held{made(other, []string{"db", "web"}, nil)}, keep, waiting, "containers db, web are attached: it changes once they are gone"},
		"changed, to be used":             {nil, []engine.Held{made(other, nil, []string{"web"})}, keep, waiting, "container web is not running, and on it: it changes once it is removed"},
		"changed, in use by many":         {nil, []engine.Held{made(other, []string{"1", "2", "3", "4", "5", "6", "7"}, nil)}, keep, waiting, "containers 1, 2, 3, 4, 5 and 2 more are"},
		"removed":                         {gone, []engine.Held{made(now, nil, nil)}, remove, working, ""},
		"removed, in use":                 {gone, []engine.Held{made(now, []string{"web"}, nil)}, keep, waiting, "container web is attached: it goes once it is gone"},
		"removed, with what isn't run":    {gone, []engine.Held{made(now, nil, []string{"web"})}, remove, working, ""},
		"removed and gone":                {gone, nil, forget, "", ""},
		"removed, another's is there":     {gone, []engine.Held{foreign}, forget, "", ""},
		"not for this host":               {elsewhere, nil, forget, "", ""},
		"not for this host any more":      {elsewhere, []engine.Held{made(now, nil, nil)}, remove, working, ""},
		"nor any more, in use":            {elsewhere, []engine.Held{made(now, []string{"web"}, nil)}, keep, waiting, "container web"},
		"made with docker":                {nil, []engine.Held{foreign}, keep, refused, "another network backbone on this host, cdcdcdcdcdcd, which isn't the cluster's"},
		"another cluster's":               {nil, []engine.Held{anothers}, keep, refused, "isn't the cluster's"},
		"another driver's, with a label":  {nil, []engine.Held{builtin}, keep, refused, "isn't the cluster's"},
		"two of the name":                 {nil, []engine.Held{made(now, nil, nil), foreign}, keep, refused, "isn't the cluster's"},
		"etcd has lost it":                {unknown, []engine.Held{made(now, nil, nil)}, keep, cluster.NetworkLeft, "the cluster knows nothing of it"},
		"etcd has lost it, and it's gone": {unknown, nil, forget, "", ""},
		"what is wanted can't be read":    {damaged, []engine.Held{made(now, nil, nil)}, keep, cluster.NetworkMade, ""},
		"nor read, and not there":         {damaged, nil, keep, cluster.NetworkMade, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := wanted(c.wanted)
			got := decide("prod", "a", s, c.have)
			if got.verb != c.verb || got.report.State != c.state || !strings.Contains(got.report.Why, c.says) || c.says == "" && got.report.Why != "" {
				t.Errorf("%+v, want verb %d, %q, %q", got, c.verb, c.state, c.says)
			}
			if got.verb == keep && got.report.State == cluster.NetworkMade && !s.Damaged && got.id != c.have[0].ID {
				t.Errorf("%q is as wanted", got.id)
			}
			if got.verb == remove && got.id != c.have[0].ID {
				t.Errorf("removes %q", got.id)
			}
			if c.state != "" && !s.Damaged && got.report.Revision != Target("a", s) {
				t.Errorf("a report of %q, want %q", got.report.Revision, Target("a", s))
			}
		})
	}
}

func TestSpec(t *testing.T) {
	n := backbone()
	n.IPv6, n.Pools[0].Gateway = true, netip.MustParseAddr("10.40.0.9")
	want := engine.Spec{
		Name: "backbone", IPv6: true, Subnets: []engine.Subnet{{Prefix: n.Pools[0].Subnet, Gateway: n.Pools[0].Gateway}},
		Options:     map[string]string{"mode": "overlay", "segment": "bone", "mtu": "1400"},
		IPAMOptions: map[string]string{"segment": "bone"},
		Labels:      map[string]string{"tier": "1", "fairway.cluster": "prod", "fairway.revision": n.Revision()},
	}
	if d := cmp.Diff(want, spec("prod", n), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
