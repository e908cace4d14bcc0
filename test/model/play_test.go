package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A line is one thing that happens. See doc.go.
type line string

// A words is a line taken apart.
type words struct {
	verb string
	args []string
	trouble
	fault fault
	again fault // in the recovery from fault
}

func (l line) parse() (out words, err error) {
	var rest []string
	fields := strings.Fields(string(l))
	for i := 0; i < len(fields); i++ {
		name, isTrouble := strings.CutPrefix(fields[i], "!")
		if !isTrouble {
			rest = append(rest, fields[i])
			continue
		}
		if name == "dup" {
			out.dup = true
			continue
		}
		i++
		if i == len(fields) {
			return out, fmt.Errorf("line %q: %s of what?", l, name)
		}
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return out, fmt.Errorf("line %q: %w", l, err)
		}
		switch name {
		case "lose":
			out.lose = n
		case "cut":
			out.cut = n
		case "again":
			out.again = fault{dieBefore, n}
		case string(dieBefore), string(dieAfter), string(failOnce), string(failDisk):
			out.fault = fault{faultKind(name), n}
		default:
			return out, fmt.Errorf("line %q: no such trouble: %s", l, name)
		}
	}
	if len(rest) == 0 {
		return out, fmt.Errorf("line %q: says nothing", l)
	}
	out.verb, out.args = rest[0], rest[1:]
	return out, nil
}

// slots reads c0 and n1 among the arguments; -1 where there is none.
func (w words) slots() (container, network int) {
	container, network = -1, -1
	for _, a := range w.args {
		var i int
		if _, err := fmt.Sscanf(a, "c%d", &i); err == nil {
			container = i
		} else if _, err := fmt.Sscanf(a, "n%d", &i); err == nil {
			network = i
		}
	}
	return container, network
}

// Which engine's the slots are.
const (
	networkSlots   = 3 // the last is the old engine's
	containerSlots = 5 // the last two are
)

func (w *world) engineOf(container, network int) *docker {
	if network == networkSlots-1 || container >= containerSlots-2 {
		return w.dockers[engineOld]
	}
	return w.dockers[engineNew]
}

// step plays one line and looks whether all is well.
func (w *world) step(l line) error {
	parts := strings.Split(string(l), "||")
	var all []words
	for _, p := range parts {
		one, err := line(p).parse()
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	first := mishapOf(all)
	faulty := first.fault.kind == failOnce || first.fault.kind == failDisk
	w.model.excused = faulty || len(all) > 1
	w.model.loose = len(all) > 1
	w.calls, w.trouble, w.again = 0, first.trouble, first.again
	w.g.arm(first.fault)
	var wg sync.WaitGroup
	for i, one := range all {
		if i == len(all)-1 {
			w.act(one)
			break
		}
		wg.Go(func() {
			// Side effects take whole microseconds, so that no two of the calls
			// are ever at the same moment: the order is the same in each run.
			time.Sleep(time.Duration(i+1) * 7 * time.Nanosecond)
			w.act(one)
		})
	}
	wg.Wait()
	w.trouble = trouble{}
	w.took = w.g.taken()
	mishap := brokenBy(all)
	for _, d := range w.dockers {
		if d.gone {
			d.gone, mishap = false, true
			d.crash()
		}
	}
	died := first.fault.kind == dieBefore || first.fault.kind == dieAfter
	// A disk that is full breaks nothing in the kernel.
	broken := w.model.excused && (len(all) > 1 || first.fault.kind != failDisk)
	return w.settle(broken || died || mishap)
}

// mishapOf returns the trouble of lines that are played at the same time: that
// of any.
func mishapOf(all []words) (out words) {
	for _, one := range all {
		if one.fault.kind != noFault {
			out.fault, out.again = one.fault, one.again
		}
		if one.trouble != (trouble{}) {
			out.trouble = one.trouble
		}
	}
	return out
}

// brokenBy reports whether something was changed that only Run mends.
func brokenBy(all []words) bool {
	for _, one := range all {
		switch one.verb {
		case "tamper", "kill", "dockerdies", "reboot", "raw", "repeat":
			return true
		}
	}
	return false
}

// act does what a line says.
func (w *world) act(l words) {
	c, n := l.slots()
	d := w.engineOf(c, n)
	switch l.verb {
	case "network":
		s, ok := shapeOf(l.args[1], n)
		if !ok {
			w.fail(fmt.Errorf("no such shape: %s", l.args[1]))
			return
		}
		if !w.g.hasVLANs() && (strings.HasPrefix(s.options["parent"], lanLink+".") || s.options["host_access"] != "") {
			s, _ = shapeOf("lan", n)
		}
		d.createNetwork(n, s)
	case "rmnet":
		d.removeNetwork(n)
	case "run":
		ports, host := l.options()
		d.run(c, n, ports, host)
	case "disconnect":
		d.disconnect(c, n)
	case "add", "remove":
		ports, _ := l.options()
		w.changeLive(l.verb, d, c, n, ports)
	case "rm":
		d.stop(c, false)
		w.removeContainer(d, c)
	case "stop", "kill":
		d.stop(c, l.verb == "kill")
	case "dockerdies":
		w.dockers[l.args[0]].crash()
	case "observe":
		w.mayBeStale()
		w.revive()
		w.g.tell(w)
	case "collect":
		w.collect()
	case "sleep":
		seconds, _ := strconv.Atoi(l.args[0])
		w.mayBeStale()
		time.Sleep(time.Duration(seconds) * time.Second)
	case "crash":
		w.g.kill()
	case "reboot":
		w.reboot()
	case "repair":
		_ = w.g.repair()
	case "tamper":
		w.tamper(l.args[0], c, n)
	case "repeat":
		w.repeat(l.args[0])
	case "raw":
		ports, _ := l.options()
		w.raw(l.args[0], d, c, n, ports)
	default:
		w.fail(fmt.Errorf("no such verb: %s", l.verb))
	}
}

// options reads ports and ip=N among the arguments.
func (w words) options() (ports string, host int) {
	var all []string
	for _, a := range w.args {
		if v, ok := strings.CutPrefix(a, "ip="); ok {
			host, _ = strconv.Atoi(v)
		} else if strings.Contains(a, "/") {
			all = append(all, a)
		}
	}
	return strings.Join(all, " "), host
}

// collect lets time pass until what no engine knows must be gone.
func (w *world) collect() {
	w.mayBeStale()
	lives := w.lives
	for range 3 {
		w.revive()
		w.g.tell(w)
		time.Sleep(grace + time.Second)
	}
	w.revive()
	w.g.tell(w)
	w.revive()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lives == lives && !w.model.excused { // else it may begin anew, or fail
		w.model.reclaim(w.dockers)
	}
}

// reboot is a new kernel with the same disk.
func (w *world) reboot() {
	w.g.kill()
	w.g.reboot()
	for _, d := range w.dockers {
		d.crash()
	}
}

// tamper changes the kernel behind the daemon's back.
func (w *world) tamper(what string, c, n int) {
	s, err := w.g.records()
	if err != nil {
		return // the daemon is busy with it
	}
	bridge, port := "", ""
	if r, ok := s.Networks[w.netID(n)]; ok && !r.Adopted {
		bridge = r.Link
	}
	for _, e := range s.Endpoints {
		if c >= 0 && strings.HasPrefix(e.ID, fmt.Sprintf("%se%dx", w.engineOf(c, -1).name, c)) {
			port = e.HostLink
			if what == "mtu" && s.Networks[e.Network].Mode == "transparent" {
				return // the MTU of a port on others' bridge is nobody's to repair: theirs goes by it
			}
		}
	}
	w.g.tamper(what, bridge, port)
}

func (w *world) netID(slot int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.dockers {
		if n := d.networks[slot]; n != nil {
			return n.id
		}
	}
	return ""
}

// repeat sends an old request again, counted from the newest.
func (w *world) repeat(which string) {
	back, _ := strconv.Atoi(which)
	w.mu.Lock()
	i := len(w.history) - 1 - back
	if i < 0 {
		w.mu.Unlock()
		return
	}
	r := w.history[i]
	w.mu.Unlock()
	w.send(r, false)
}

// raw sends one call that dockerd would not send now.
func (w *world) raw(verb string, d *docker, c, n int, ports string) {
	net := d.network(n)
	if net == nil {
		return
	}
	e := &dep{id: "nosuchendpoint", net: net}
	sandbox := "/nosuch"
	if con := d.container(c); con != nil {
		sandbox = con.sandbox
		for _, x := range con.eps {
			if x.net == net {
				e = x
			}
		}
	}
	r := request{engine: d.name, network: net.id, endpoint: e.id, sandbox: sandbox, ports: ports, v4: e.v4, v6: e.v6, mac: e.mac}
	switch verb {
	case "leave":
		r.method = "Leave"
	case "join":
		r.method = "Join"
	case "elsewhere":
		r.method, r.sandbox = "Join", "/var/run/docker/netns/elsewhere"
	case "delete":
		r.method = "DeleteEndpoint"
	case "create":
		r.method = "CreateEndpoint"
	case "publish":
		r.method = "ProgramExternalConnectivity"
	case "revoke":
		r.method = "RevokeExternalConnectivity"
	case "rmnet":
		r.method = "DeleteNetwork"
	case "steal":
		if e.v6.IsValid() && !e.v4.IsValid() {
			return // a living endpoint may lose its IPv6 address: driver's tests have that
		}
		r.method, r.endpoint, r.mac = "CreateEndpoint", "thief", ""
	case "wrongnet":
		r.method, r.network = "DeleteEndpoint", "nosuchnetwork"
	default:
		w.fail(fmt.Errorf("no such call: %s", verb))
		return
	}
	w.send(r, false)
	if verb == "leave" && net.shape.options["mode"] == "macvlan" {
		w.g.moveOut(sandbox, e) // nothing on the host tells any more where that link is
	}
}

// finish removes everything and looks whether anything is left.
func (w *world) finish() error {
	w.model.excused, w.model.loose = false, false
	for slot := range containerSlots {
		w.engineOf(slot, -1).stop(slot, false)
	}
	for slot := range networkSlots {
		w.engineOf(-1, slot).removeNetwork(slot)
	}
	w.collect()
	if err := w.settle(true); err != nil {
		return err
	}
	r, err := w.g.records()
	if err != nil {
		return err
	}
	// Addresses without a pool mean nothing and go along with later commits.
	if len(r.Networks)+len(r.Endpoints)+len(r.Pools)+len(r.LivePorts) > 0 {
		return fmt.Errorf("left behind on record: %+v", r)
	}
	left, _ := w.g.lines()
	left = slices.DeleteFunc(left, func(line string) bool { return w.g.litter() && onOthers(line) })
	if len(left) > 0 {
		return fmt.Errorf("left behind in the kernel: %s", strings.Join(left, "; "))
	}
	return nil
}
