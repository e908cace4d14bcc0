package overlay

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/sirupsen/logrus"
)

func (s *segment) log(d Drift, c change) {
	example := ""
	switch {
	case len(c.putMACs) > 0:
		example = c.putMACs[0].MAC.String() + " behind " + c.putMACs[0].Host.String()
	case len(c.putIPs) > 0:
		example = c.putIPs[0].IP.String() + " at " + c.putIPs[0].MAC.String()
	case len(c.dropMACs) > 0:
		example = c.dropMACs[0].String()
	case len(c.dropIPs) > 0:
		example = c.dropIPs[0].String()
	case len(c.putFloods) > 0:
		example = "copies to " + c.putFloods[0].String()
	case len(c.dropFloods) > 0:
		example = "copies to " + c.dropFloods[0].String()
	}
	s.plane.opts.Log.WithFields(logrus.Fields{
		"vni": s.seg.VNI, "missing": d.Missing, "wrong": d.Wrong, "strange": d.Strange, "one": example,
	}).Warn("overlay: entries of other hosts' endpoints repaired")
}

// Repaired returns how many entries weren't as they should be, of all segments
// that there have been.
func (p *Plane) Repaired() int { return int(p.repaired.Load()) }

// RepairedRules returns how much of the filter wasn't as it should be.
func (p *Plane) RepairedRules() int { return int(p.rules.Load()) }

// A Status is how a segment is.
type Status struct {
	VNI      uint32
	Records  int
	Hosts    []netip.Addr
	Last     Drift // what the last pass found: zero when all is quiet
	Repaired int   // entries, since the Plane was made
}

// Status returns how the segments are, by VNI.
func (p *Plane) Status() (out []Status) {
	for _, vni := range p.vnis() {
		p.mu.Lock()
		s, ok := p.segments[vni]
		p.mu.Unlock()
		if !ok {
			continue
		}
		s.mu.Lock()
		hosts := slices.SortedFunc(maps.Keys(s.hosts), netip.Addr.Compare)
		out = append(out, Status{vni, len(s.records), hosts, s.last, s.repaired})
		s.mu.Unlock()
	}
	return out
}
