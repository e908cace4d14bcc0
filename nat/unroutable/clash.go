package unroutable

import (
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// reportClashes logs one line for each rule or route of another that ours don't
// go with.
func (t *Table) reportClashes(family int) error {
	lines, err := t.clashes(family)
	for _, line := range lines {
		t.opts.Log.Warn("unroutable: another's rule: " + line)
	}
	return err
}

// clash says what another's rule has in common with ours, "" if nothing. A rule
// that looks at a whole mark is none: we add to marks only on the way from and
// to our own networks.
func (t *Table) clash(r netlink.Rule) string {
	if r.Protocol == Protocol || r.Protocol == unix.RTPROT_KERNEL {
		return ""
	}
	mask := uint32(0)
	if r.Mask != nil {
		mask = *r.Mask
	}
	bits := mask & t.opts.Marks.All()
	switch {
	case r.Priority >= t.opts.Priority && r.Priority <= t.opts.Priority+2:
		return fmt.Sprintf("rule %d has the priority of one of ours: choose another --rule-priority", r.Priority)
	case r.Table == t.opts.Priority, r.Table == t.answers():
		return fmt.Sprintf("rule %d looks up table %d, which is ours: choose another --rule-priority", r.Priority, r.Table)
	case bits != 0 && (mask != math.MaxUint32 || r.Mark&t.opts.Marks.All() != 0):
		return fmt.Sprintf("rule %d looks at bits %#x of marks, which are ours: choose another --mark-mask", r.Priority, bits)
	}
	return ""
}
