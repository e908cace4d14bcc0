package option

import (
	"errors"
	"net/netip"
	"strings"
)

// A route is a static route by a next hop.
type route = struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// Routes sets dst from "10.0.0.0/8 via 172.20.0.9, fd00:8::/64 via fd00::9". A
// default route is none: it is the gateway's business.
func Routes[R ~route](dst *[]R) func(string) error {
	return func(s string) error {
		all, err := parseRoutes(s)
		if err != nil {
			return err
		}
		*dst = nil
		for _, r := range all {
			*dst = append(*dst, R(r))
		}
		return nil
	}
}

func parseRoutes(s string) (out []route, err error) {
	for part := range strings.SplitSeq(s, ",") {
		word := strings.Fields(part)
		if len(word) != 3 || word[1] != "via" {
			return nil, errors.New("no route")
		}
		to, err := netip.ParsePrefix(word[0])
		if err != nil || to.Bits() == 0 || to != to.Masked() {
			return nil, errors.New("no prefix")
		}
		via, err := netip.ParseAddr(word[2])
		if err != nil || via.Zone() != "" || via.Is4() != to.Addr().Is4() {
			return nil, errors.New("no next hop")
		}
		out = append(out, route{Destination: to, NextHop: via})
	}
	return out, nil
}

// RoutesText writes routes as Routes reads them.
func RoutesText[R ~route](all []R) string {
	words := make([]string, len(all))
	for i, r := range all {
		words[i] = route(r).Destination.String() + " via " + route(r).NextHop.String()
	}
	return strings.Join(words, ", ")
}

// LinkPrefix sets dst from how a link's name may begin that a number follows.
func LinkPrefix(dst *string) func(string) error {
	const longest = 12 // leaves room for a number
	return func(s string) error {
		if len(s) > longest || strings.Contains(s, "@") {
			return errors.New("too long")
		}
		return LinkName(dst)(s)
	}
}
