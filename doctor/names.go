package doctor

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// nameChecks are of names across hosts.
func nameChecks() []Check {
	return []Check{{
		Code: "FW090", Name: "names", Title: "containers' questions for names of other hosts' containers don't reach fairway", Severity: Warning,
		Cause:  "The host's resolv.conf names only servers on the host itself (127.0.0.0/8, ::1). Docker asks these from the host, and not from the container, so that the question doesn't pass the network's bridge, where names of the segment are answered.",
		Loss:   "On networks of mode overlay containers of other hosts aren't found by name, but for containers that were started with --dns.",
		Remedy: "Start containers with `--dns` and the network's gateway (compose: `dns:`), or write the gateway as `\"dns\"` into /etc/docker/daemon.json and restart Docker; the resolver there asks the host's own servers for all else. Or name a server in resolv.conf that isn't on the host, or `-o dns=off` if names aren't wanted.",
		look:   lookNames,
	}}
}

// OnlyLoopback reports whether Docker gives containers only servers on the host
// itself: as it does, in place of those of systemd-resolved's stub those behind it
// are taken.
func OnlyLoopback() bool {
	const stub, behind = "127.0.0.53", "/run/systemd/resolve/resolv.conf"
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err == nil && len(conf.Servers) == 1 && conf.Servers[0] == stub {
		if real, err := dns.ClientConfigFromFile(behind); err == nil {
			conf = real
		}
	}
	if err != nil || len(conf.Servers) == 0 {
		return false
	}
	for _, s := range conf.Servers {
		if ip, err := netip.ParseAddr(s); err != nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}

func lookNames(_ context.Context, p *Patient) (out []Finding, err error) {
	if !OnlyLoopback() {
		return nil, nil
	}
	for _, n := range p.networks() {
		if n.Overlay.Segment == "" || n.Options["dns"] == "off" {
			continue
		}
		for _, s := range n.Subnets {
			if s.Gateway.IsValid() {
				out = append(out, by(nil, "network %s: /etc/resolv.conf names only servers on this host: its containers need --dns %s", title(n), s.Gateway))
				break
			}
		}
	}
	return out, nil
}
