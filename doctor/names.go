package doctor

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// nameChecks are of names across hosts.
func nameChecks() []Check {
	return []Check{{
		Code: "FW090", Name: "names", Title: "containers' questions for names of other hosts' containers don't reach fairway", Severity: Warning,
		Cause:  "Docker asks the servers of the host's resolv.conf from the host, and not from the container: engines of late (28.5, not 26.1) all of them, others those on the host itself (127.0.0.0/8, ::1). Such a question doesn't pass the network's bridge, where names of the segment are answered.",
		Loss:   "On networks of mode overlay containers of other hosts aren't found by name, but by containers that were started with --dns.",
		Remedy: "Start containers with `--dns` and the network's gateway (compose: `dns:`), where the daemon answers, and asks the servers of resolv.conf for all else. Or, for all containers, write a server that isn't on the host, such as the one in resolv.conf, as `\"dns\"` into /etc/docker/daemon.json and restart Docker: that one is asked from the container. `-o dns=off` if names aren't wanted.",
		look:   lookNames,
	}}
}

// firstFromHost is the major version of engines that ask the servers of resolv.conf
// from the host, wherever these are: at the latest. 26.1 doesn't, 28.5 does.
const firstFromHost = 27

// AsksFromHost reports whether an engine, of a version or "" if that isn't known,
// asks from the host for what containers ask, unless they were started with --dns.
func AsksFromHost(version string) bool {
	if text, err := os.ReadFile("/etc/docker/daemon.json"); err == nil {
		var config struct {
			DNS []string `json:"dns"`
		}
		if json.Unmarshal(text, &config) == nil && len(config.DNS) > 0 {
			return false
		}
	}
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major)
	return n >= firstFromHost || onlyLoopback()
}

// onlyLoopback reports whether Docker finds only servers on the host itself: in
// place of systemd-resolved's stub it takes those behind it.
func onlyLoopback() bool {
	const stub, behind = "127.0.0.53", "/run/systemd/resolve/resolv.conf"
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err == nil && len(conf.Servers) == 1 && conf.Servers[0] == stub {
		if resolved, err := dns.ClientConfigFromFile(behind); err == nil {
			conf = resolved
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
	version := ""
	if p.Engine != nil {
		version = p.Engine.Version
	}
	if !AsksFromHost(version) {
		return nil, nil
	}
	for _, n := range p.networks() {
		if n.Overlay.Segment == "" || n.Options["dns"] == "off" {
			continue
		}
		for _, s := range n.Subnets {
			if s.Gateway.IsValid() {
				out = append(out, by(nil, "network %s: Docker asks the servers of /etc/resolv.conf from the host: containers need --dns %s", title(n), s.Gateway))
				break
			}
		}
	}
	return out, nil
}
