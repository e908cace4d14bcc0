package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// tcpPort is where questions by TCP to a gateway are answered: rules translate port
// 53 to it, which is left to others who may want it on all addresses of the host.
const tcpPort = 4053

// connections bounds those that are open to one gateway.
const connections = 256

// serve makes the servers for TCP those of the gateways. What can't be had is left
// out. The caller has r.repairing.
func (r *Resolver) serve(gateways []netip.Addr) (err error) {
	wanted := map[netip.Addr]bool{}
	for _, g := range gateways {
		wanted[g] = true
		if r.tcp[g] == nil {
			s, e := r.listen(g)
			if e != nil {
				err = errors.Join(err, fmt.Errorf("resolver: answer by TCP: %w", e))
				continue
			}
			r.tcp[g] = s
		}
	}
	for g, s := range r.tcp {
		if !wanted[g] {
			stop(s)
			delete(r.tcp, g)
		}
	}
	return err
}

// listen starts a server, whether the host has the address yet or not.
func (r *Resolver) listen(gateway netip.Addr) (*dns.Server, error) {
	level, option := unix.SOL_IP, unix.IP_FREEBIND
	if gateway.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var refused error
		err := c.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), level, option, 1) })
		return errors.Join(err, refused)
	}}
	l, err := config.Listen(context.Background(), "tcp", netip.AddrPortFrom(gateway, tcpPort).String())
	if err != nil {
		return nil, err
	}
	started := make(chan struct{})
	s := &dns.Server{
		Listener: netutil.LimitListener(l, connections), Handler: dns.HandlerFunc(r.serveTCP), NotifyStartedFunc: func() { close(started) },
	}
	r.tasks.Go(func() {
		if err := s.ActivateAndServe(); err != nil {
			r.opts.Log.Debugf("resolver: %v", err)
		}
	})
	<-started
	return s, nil
}

// stop ends a server. Connections that take longer end with the process.
func stop(s *dns.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = s.ShutdownContext(ctx)
}

// serveTCP answers a question that came to a gateway.
func (r *Resolver) serveTCP(w dns.ResponseWriter, q *dns.Msg) {
	a := refuse(q, dns.RcodeRefused)
	if len(q.Question) == 1 {
		if s := r.byGateway(ipOf(w.LocalAddr())); s != nil && s.has(ipOf(w.RemoteAddr())) {
			if own, ours := s.zone.answer(q, dns.MaxMsgSize); ours {
				a = own
			} else if !s.Internal {
				a = r.forward(q, "tcp")
			}
		}
	}
	if err := w.WriteMsg(a); err != nil {
		r.opts.Log.Debugf("resolver: %v", err)
	}
}

func ipOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
