package admin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"fairway/store"
)

// How ports are named, for messages.
const (
	AddForm    = "[HOSTIP:]HOST[-END]:PORT[-END][/PROTO]"
	RemoveForm = "[HOSTIP:]HOST[-END][:PORT[-END]][/PROTO]"
)

// ParseAdd reads a port that is to be published, written as docker run -p takes
// it: one of the host's, a range of which one is taken, or a range to a range of
// the same length, which are as many. PROTO is tcp if it isn't given.
func ParseAdd(text string) ([]store.PortBinding, error) {
	return parsePorts(text, AddForm, true)
}

// ParseRemove reads ports that are to be unpublished. Port is 0 where the
// container's isn't given.
func ParseRemove(text string) ([]store.PortBinding, error) {
	return parsePorts(text, RemoveForm, false)
}

func parsePorts(text, form string, both bool) ([]store.PortBinding, error) {
	refuse := func(why error) error { return fmt.Errorf("port %q: %w; want %s", text, why, form) }
	rest, proto, named := strings.Cut(text, "/")
	p := store.PortBinding{Proto: 6}
	if named {
		switch proto {
		case "tcp":
		case "udp":
			p.Proto = 17
		case "sctp":
			p.Proto = 132
		default:
			return nil, refuse(errors.New("protocol is not tcp, udp or sctp"))
		}
	}
	var err error
	if p.HostIP, rest, err = cutHostIP(rest); err != nil {
		return nil, refuse(err)
	}
	host, container, pair := strings.Cut(rest, ":")
	if both && !pair {
		return nil, refuse(errors.New("no port of the container"))
	}
	first, last, err := parseRange(host)
	if err != nil {
		return nil, refuse(err)
	}
	to, toLast := uint16(0), uint16(0)
	if pair {
		if to, toLast, err = parseRange(container); err != nil {
			return nil, refuse(err)
		}
	}
	if to == toLast {
		p.HostPort, p.Port = first, to
		if last != first {
			p.HostPortEnd = last
		}
		return []store.PortBinding{p}, nil
	}
	if last-first != toLast-to {
		return nil, refuse(errors.New("ranges of different lengths"))
	}
	var out []store.PortBinding
	for i := range int(last-first) + 1 {
		p.HostPort, p.Port = first+uint16(i), to+uint16(i)
		out = append(out, p)
	}
	return out, nil
}

// cutHostIP takes an address of the host from the beginning: an IPv6 one stands
// in brackets.
func cutHostIP(text string) (ip netip.Addr, rest string, err error) {
	if after, ok := strings.CutPrefix(text, "["); ok {
		text, rest, ok = strings.Cut(after, "]:")
		if !ok {
			return ip, "", errors.New("no ]: behind the address")
		}
		if ip, err = netip.ParseAddr(text); err != nil || !ip.Is6() || ip.Is4In6() || ip.Zone() != "" {
			return ip, "", fmt.Errorf("%q is not an IPv6 address", text)
		}
		return ip, rest, nil
	}
	before, after, ok := strings.Cut(text, ":")
	if !ok || !strings.Contains(before, ".") {
		return ip, text, nil
	}
	if ip, err = netip.ParseAddr(before); err != nil || !ip.Is4() {
		return ip, "", fmt.Errorf("%q is not an IPv4 address", before)
	}
	return ip, after, nil
}

// parseRange reads PORT or PORT-END.
func parseRange(text string) (first, last uint16, err error) {
	from, to, ok := strings.Cut(text, "-")
	if first, err = parsePort(from); err != nil {
		return 0, 0, err
	}
	if !ok {
		return first, first, nil
	}
	if last, err = parsePort(to); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("%q ends before it begins", text)
	}
	return first, last, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '+' {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(n), nil
}
