package model

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairway/store"
)

// containerID is the ID of the container in a slot. One that is stopped keeps
// it; the next after one that is removed has another. The caller holds the
// world's lock.
func (d *docker) containerID(slot int) string {
	return fmt.Sprintf("%sid%dx%d", d.name, slot, d.removed[slot])
}

// there says which containers are there, running or not. The caller holds the
// world's lock.
func (d *docker) there(w *world) map[string]bool {
	out := map[string]bool{}
	g, ok := w.g.(*memory)
	if !ok {
		return out
	}
	for _, id := range g.d.driver.LiveContainers() {
		var slot, count int
		_, err := fmt.Sscanf(id, d.name+"id%dx%d", &slot, &count)
		out[id] = err == nil && count == d.removed[slot]
	}
	return out
}

// removeContainer is docker rm, after the stop.
func (w *world) removeContainer(d *docker, slot int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.model.removed[d.containerID(slot)] = true
	d.removed[slot]++
}

// changeLive is fairway ports add and remove, after the engine's look.
func (w *world) changeLive(verb string, d *docker, c, n int, ports string) {
	g, ok := w.g.(*memory)
	net, con := d.network(n), d.container(c)
	if !ok || net == nil || con == nil {
		return
	}
	w.revive()
	g.tell(w)
	w.revive()
	w.mu.Lock()
	id := d.containerID(c)
	w.mu.Unlock()
	run := g.daemon()
	var want []store.PortBinding
	for word := range strings.FieldsSeq(ports) {
		p := store.PortBinding{Proto: 6}
		_, _ = fmt.Sscanf(word, "tcp/%d", &p.HostPort)
		if verb == "add" {
			p.Port = 80
		}
		want = append(want, p)
	}
	var err error
	if verb == "add" {
		_, _, err = run.driver.AddPorts(context.Background(), id, net.id, want)
	} else {
		err = run.driver.RemovePorts(context.Background(), id, net.id, want)
	}
	if err == nil && run.lives() && !w.model.loose {
		w.checkChanged(run, net.id, id, verb == "add", want)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.model.changeLive(verb, net.id+" "+id, ports, err, run.lives())
}

// checkChanged: what was answered is done.
func (w *world) checkChanged(run *daemon, network, id string, added bool, want []store.PortBinding) {
	for _, e := range run.driver.Endpoints() {
		if e.Network != network || e.ContainerID != id {
			continue
		}
		for _, p := range want {
			there := slices.ContainsFunc(e.Published, func(b store.PortBinding) bool {
				return b.Proto == p.Proto && (b.HostPort == p.HostPort || !b.HostIP.IsValid())
			})
			if there != added && (added || !slices.ContainsFunc(e.Published, func(b store.PortBinding) bool { return !b.HostIP.IsValid() })) {
				w.fail(fmt.Errorf("port %d: published: %v, want %v", p.HostPort, there, added))
			}
		}
	}
}

// changeLive takes what became of a change.
func (m *model) changeLive(verb, key, ports string, err error, lived bool) {
	f := fateOf(m.live, key)
	for _, other := range m.endpoints { // stale ones that have the port make way
		for _, e := range other.facts() {
			if verb == "add" && (e.sandbox == "" || !m.alive(e.sandbox)) {
				other.add(nil)
				m.soften(e.v4, e.v6)
			}
		}
	}
	var after []*string
	for _, was := range f.may {
		all := map[string]bool{}
		if was != nil {
			for p := range strings.FieldsSeq(*was) {
				all[p] = true
			}
		}
		for p := range strings.FieldsSeq(ports) {
			if verb == "add" {
				all[p] = true
			} else {
				delete(all, p)
			}
		}
		if len(all) == 0 {
			after = append(after, nil)
			continue
		}
		text := strings.Join(slices.Sorted(maps.Keys(all)), " ")
		after = append(after, &text)
	}
	switch {
	case err == nil && !m.loose:
		f.become(after...)
	case err == nil, !lived, m.excused:
		f.add(after...)
	}
}

// mayGo notes that live ports go with their network, and with their container
// at the engine's next word, and checks that none is on
// record without one.
func (m *model) mayGo(s store.Records) error {
	for key, f := range m.live {
		if _, ok := s.Networks[strings.Fields(key)[0]]; !ok || m.removed[strings.Fields(key)[1]] {
			f.add(nil)
		}
	}
	for key, l := range s.LivePorts {
		if _, ok := s.Networks[l.Network]; !ok {
			return fmt.Errorf("I1: live ports %s are on record without their network", key)
		}
	}
	return nil
}

// liveFactOf is what a record of live ports says.
func liveFactOf(l store.LivePorts) string {
	var out []string
	for _, p := range l.Added {
		out = append(out, fmt.Sprintf("tcp/%d", p.HostPort))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// checkAsked: what is published was asked for, by Docker or by an operator (I9).
func checkAsked(e store.Endpoint, l store.LivePorts) error {
	asked := append(slices.Clone(e.Requested), l.Added...)
	for _, p := range e.Published {
		if !slices.ContainsFunc(asked, func(r store.PortBinding) bool {
			return r.Proto == p.Proto && r.Port == p.Port && (r.HostPort == p.HostPort || r.HostPort == 0 || !p.HostIP.IsValid())
		}) {
			return fmt.Errorf("I9: %s publishes what nobody requested: %v", e.ID, p)
		}
	}
	return nil
}
