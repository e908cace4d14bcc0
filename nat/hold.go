package nat

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// open binds a hold's port and has the proxy serve on it, if it has a target.
func (p *Ports) open(h *hold, freebind bool) (err error) {
	if h.fd, err = bind(h.key, freebind); err != nil {
		return err
	}
	if err = p.serve(h); err != nil {
		h.close()
	}
	return err
}

// openBoth binds one socket for a port on all addresses of both families, and
// serves as open does. It is an error if either is taken.
func (p *Ports) openBoth(v4, v6 *hold) (err error) {
	if v6.fd, err = bindFamilies(v6.key, false, true); err != nil {
		return err
	}
	v4.twin, v6.twin = v6, v4
	v4.err, v6.err = nil, nil
	if err = p.serve(v6); err != nil {
		v6.close()
		v4.twin, v6.twin = nil, nil
	}
	return err
}

// pairable reports whether two holds may have one socket.
func pairable(v4, v6 *hold) bool {
	return v4.protoPort == v6.protoPort && v4.proto != unix.IPPROTO_SCTP &&
		v4.ip == netip.IPv4Unspecified() && v6.ip == netip.IPv6Unspecified() && !v4.target.IsValid()
}

// bound reports whether a socket holds h's port.
func (h *hold) bound() bool { return h.fd >= 0 || h.twin != nil }

// reopen binds what isn't bound of an owner's holds, and returns what can't be.
func (p *Ports) reopen(holds []*hold) error {
	var errs []error
	for i, h := range holds {
		if h.bound() {
			continue
		}
		mine := map[*hold]bool{h: true}
		if i+1 < len(holds) && pairable(h, holds[i+1]) && !holds[i+1].bound() {
			mine[holds[i+1]] = true
			if p.conflict(h.key, mine) == nil && p.conflict(holds[i+1].key, mine) == nil && p.openBoth(h, holds[i+1]) == nil {
				continue
			}
		}
		if p.conflict(h.key, mine) == nil {
			h.err = p.open(h, true)
		}
	}
	for _, h := range holds {
		if h.err != nil {
			errs = append(errs, h.err)
		}
	}
	return errors.Join(errs...)
}

// serve has the proxy carry what comes to a hold's socket to its target.
func (p *Ports) serve(h *hold) (err error) {
	if h.fd < 0 || !h.target.IsValid() || p.proxy == nil {
		return nil
	}
	if err = receptive(h.fd, h.proto); err == nil {
		h.stop, err = p.proxy.Serve(h.fd, h.proto, h.target)
	}
	if err != nil {
		return bindError(h.key, err)
	}
	return nil
}

// retarget changes the target of a hold, and returns why it has no socket, if it
// has none, now or before.
func (p *Ports) retarget(h *hold, to netip.AddrPort) error {
	h.target = to
	if h.fd < 0 {
		return h.err
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
		if err := deaf(h.fd, h.proto); err != nil {
			h.err = bindError(h.key, err)
		}
	}
	if h.err == nil {
		h.err = p.serve(h)
	}
	if h.err != nil {
		p.drop(h)
	}
	return h.err
}

// drop takes a hold's port off its socket. A twin gets a socket of its own.
func (p *Ports) drop(h *hold) {
	t := h.twin
	h.close()
	if t != nil {
		t.close()
		h.twin, t.twin = nil, nil
		t.err = p.open(t, true)
	}
}

// close closes a hold's own socket, and with it its twin's.
func (h *hold) close() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	if h.fd >= 0 {
		_ = unix.Close(h.fd)
		h.fd = -1
	}
}

func closeAll(holds []*hold) {
	_ = atOnce(holds, nil, func(h *hold) error {
		h.close()
		return nil
	})
}
