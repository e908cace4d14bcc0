package nat

import (
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
		h.close()
	}
	return h.err
}

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
