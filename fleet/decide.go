package fleet

import (
	"fmt"
	"strings"

	"fairway/cluster"
	"fairway/engine"
)

// The labels of a network that a host has made for the cluster.
const (
	LabelCluster  = cluster.LabelPrefix + "cluster"  // the cluster's name
	LabelRevision = cluster.LabelPrefix + "revision" // see cluster.Network.Revision
)

// A verb is what there is to do about a network.
type verb int

const (
	keep   verb = iota // nothing, and the report says how it is
	forget             // nothing: there is none, and none is wanted
	create
	remove
)

// A step is what to do next about a network, and what to report.
type step struct {
	verb   verb
	id     string // of the network to remove, or that is as wanted
	report cluster.NetworkReport
}

// decide returns the next step, given a network of the cluster and those of its
// name that the engine has. It touches nothing.
func decide(name, host string, s cluster.NetworkState, have []engine.Held) step {
	var ours, foreign *engine.Held
	for i, h := range have {
		if h.Ours && h.Labels[LabelCluster] == name {
			ours = &have[i]
		} else {
			foreign = &have[i]
		}
	}
	says := func(state, why string) cluster.NetworkReport {
		return cluster.NetworkReport{Revision: Target(host, s), State: state, Why: why}
	}
	switch {
	case s.Damaged:
		return step{verb: keep, report: s.On[host]} // nothing is known of what is wanted
	case !s.For(host) || s.Seen == 0:
		switch {
		case ours == nil:
			return step{verb: forget}
		case s.Seen == 0:
			return step{report: says(cluster.NetworkLeft, "the cluster knows nothing of it: fairway network create or rm says what is to become of it")}
		case len(ours.Attached) > 0:
			return step{report: says(cluster.NetworkWaiting, attached(ours.Attached, "attached: it goes once they are gone"))}
		}
		return step{verb: remove, id: ours.ID, report: says(cluster.NetworkWorking, "")}
	case foreign != nil:
		return step{report: says(cluster.NetworkRefused, fmt.Sprintf("Docker has another network %s on this host, %s, which isn't the cluster's: it is left alone", s.Name, short(foreign.ID)))}
	case ours == nil:
		return step{verb: create, report: says(cluster.NetworkWorking, "")}
	case ours.Labels[LabelRevision] == s.Revision():
		return step{id: ours.ID, report: says(cluster.NetworkMade, "")}
	case len(ours.Attached) > 0:
		return step{report: says(cluster.NetworkWaiting, attached(ours.Attached, "attached: it changes once they are gone"))}
	case len(ours.Stopped) > 0: // they would not start on another network of its name
		return step{report: says(cluster.NetworkWaiting, attached(ours.Stopped, "not running, and on it: it changes once they are removed"))}
	}
	return step{verb: remove, id: ours.ID, report: says(cluster.NetworkWorking, "")}
}

// Target is what reports of a host are about: the revision that it is to have, ""
// for none.
func Target(host string, s cluster.NetworkState) string {
	if s.Seen == 0 || s.Damaged || !s.For(host) {
		return ""
	}
	return s.Revision()
}

// attached says whose network it is.
func attached(names []string, how string) string {
	const most = 5
	list := strings.Join(names[:min(most, len(names))], ", ")
	if n := len(names); n > most {
		list += fmt.Sprintf(" and %d more", n-most)
	}
	if len(names) == 1 {
		return "container " + list + " is " + strings.Replace(how, "they are", "it is", 1)
	}
	return "containers " + list + " are " + how
}

func short(id string) string { return id[:min(12, len(id))] }

// spec is what the engine is to make.
func spec(cluster string, n cluster.Network) engine.Spec {
	out := engine.Spec{
		Name: n.Name, Internal: n.Internal, IPv6: n.IPv6,
		Options:     map[string]string{"mode": "overlay", "segment": n.Segment},
		IPAMOptions: map[string]string{"segment": n.Segment},
		Labels:      map[string]string{LabelCluster: cluster, LabelRevision: n.Revision()},
	}
	for k, v := range n.Options {
		out.Options[k] = v
	}
	for k, v := range n.Labels {
		out.Labels[k] = v
	}
	for _, p := range n.Pools {
		out.Subnets = append(out.Subnets, engine.Subnet{Prefix: p.Subnet, Gateway: p.Gateway})
	}
	return out
}
