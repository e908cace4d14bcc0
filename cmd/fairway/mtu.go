package main

import (
	"fmt"
	"slices"
	"strings"

	"fairway/cluster"
	"fairway/overlay"
)

// members returns the other hosts that have a segment.
func (o *overlays) members(segment string) []cluster.Host {
	if o.cluster != nil {
		return o.cluster.Members(segment)
	}
	return o.saved.Members(segment)
}

// narrow says, a line each, which hosts' uplinks carry less than the containers of
// this host's segments send there: an uplink was changed, or a host joined with a
// smaller one. Other hosts' are as these had them when their daemons started.
func (o *overlays) narrow() (out []string) {
	for _, n := range o.driver.Networks() {
		name := n.Overlay.Segment
		if name == "" {
			continue
		}
		needs := n.MTU + overlay.Overhead(o.host.Local)
		note := func(whose string, has int) {
			if has != 0 && has < needs {
				out = append(out, fmt.Sprintf("segment %s: MTU %d needs %d bytes on the underlay, and that of %s carries %d: raise it, or make the segment's networks again", name, n.MTU, needs, whose, has))
			}
		}
		own, _ := linkMTU(o.host.Local)
		note("this host", own)
		for _, h := range o.members(name) {
			note("host "+h.Name, h.MTU)
		}
	}
	slices.Sort(out)
	return out
}

// logNarrow logs what is new of that, and when all is well again.
func (o *overlays) logNarrow() {
	now := o.narrow()
	for _, line := range now {
		if !slices.Contains(o.narrowed, line) {
			o.log.Warn("overlay: " + line)
		}
	}
	for _, line := range o.narrowed {
		if !slices.Contains(now, line) {
			about, _, _ := strings.Cut(line, ":")
			o.log.Infof("overlay: %s: an underlay that carried too little doesn't any more", about)
		}
	}
	o.narrowed = now
}
