package resolver

import (
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// patience is how long one server is waited for.
const patience = 2 * time.Second

// ResolvConf reads the servers that a host asks: resolv.conf(5).
func ResolvConf(path string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	out := make([]string, len(conf.Servers))
	for i, s := range conf.Servers {
		out[i] = net.JoinHostPort(s, conf.Port)
	}
	return out, nil
}

// forward asks the host's servers, one after the other, by "udp" or "tcp".
func (r *Resolver) forward(q *dns.Msg, network string) *dns.Msg {
	servers, err := r.opts.Servers()
	if err != nil {
		r.opts.Log.Debugf("resolver: %v", err)
		return refuse(q, dns.RcodeServerFailure)
	}
	c := dns.Client{Net: network, Timeout: patience}
	for _, server := range servers {
		a, _, err := c.Exchange(q, server)
		if err == nil && a.Rcode != dns.RcodeServerFailure && a.Rcode != dns.RcodeRefused {
			a.Compress = true
			return a
		}
		if err != nil {
			r.opts.Log.Debugf("resolver: ask %s: %v", server, err)
		}
	}
	return refuse(q, dns.RcodeServerFailure)
}
