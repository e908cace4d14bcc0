package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Autoconf is what the kernel makes of router advertisements on an interface in a
// sandbox (stateless address autoconfiguration, RFC 4862).
type Autoconf string

// What it may be.
const (
	AutoconfNone      Autoconf = ""
	AutoconfAddresses Autoconf = "addresses"
	AutoconfRoutes    Autoconf = "addresses and a default route"
)

// sysctls returns what turns it on for a link, IPv6 itself last
// (Documentation/networking/ip-sysctl.rst). Advertisements count also where the
// container forwards packets: accept_ra=2.
func (a Autoconf) sysctls() []inet6Setting {
	if a == AutoconfNone {
		return nil
	}
	route := "0"
	if a == AutoconfRoutes {
		route = "1"
	}
	return []inet6Setting{
		{"accept_ra", "2"}, {"accept_ra_pinfo", "1"}, {"accept_ra_defrtr", route}, {"autoconf", "1"}, {"disable_ipv6", "0"},
	}
}

// An inet6Setting is a sysctl of a link for IPv6.
type inet6Setting struct{ name, value string }

// Autoconfigure turns on what endpoints' links in their sandboxes are to have,
// once Docker is done with them: it switches IPv6 off where it gives out no
// address of it, before it sets the link up. It reports whether it was.
func (c *Conn) Autoconfigure(_ context.Context, attached Set) (done bool, err error) {
	done = true
	for _, o := range attached {
		box, ok := autoconfigured(o)
		if !ok {
			continue
		}
		err := c.inBox(box, o, func(s *space, l linkState) error {
			if !l.up {
				done = false
				return nil
			}
			return c.setAutoconf(s, l.name, box.Inside.Autoconf)
		})
		if errors.Is(err, unix.ENODEV) {
			done = false
		} else if err != nil {
			return false, err
		}
	}
	return done, nil
}

// Autoconfigured returns the IPv6 addresses that the links of endpoints have in
// their sandboxes, but for link-local ones, and those that aren't known yet to be
// nobody else's.
func (c *Conn) Autoconfigured(_ context.Context, attached Set) (out []netip.Prefix, err error) {
	for _, o := range attached {
		box, ok := autoconfigured(o)
		if !ok {
			continue
		}
		err := c.inBox(box, o, func(s *space, l linkState) error {
			all, err := s.addresses()
			for a, flags := range all {
				ip := a.prefix.Addr()
				if a.link == l.index && ip.Is6() && !ip.IsLinkLocalUnicast() && flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
					out = append(out, a.prefix)
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return nil, err
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// A box is where an object's link is inside, and how.
type box struct {
	Sandbox string
	Inside  Inside
}

// autoconfigured returns where an object's link configures itself; ok is false if
// it doesn't.
func autoconfigured(o Object) (b box, ok bool) {
	switch o := o.(type) {
	case Macvlan:
		b = box{o.Sandbox, o.Inside}
	case Veth:
		b = box{o.Sandbox, o.Inside}
	}
	return b, b.Sandbox != "" && b.Inside.Autoconf != AutoconfNone
}

// inBox calls do with the link of an object in its sandbox; unix.ENODEV if it
// isn't there.
func (c *Conn) inBox(b box, o Object, do func(*space, linkState) error) error {
	s, done, err := c.in(b.Sandbox)
	if errors.Is(err, unix.ENOENT) {
		return unix.ENODEV
	}
	if err != nil {
		return fmt.Errorf("link: sandbox: %w", err)
	}
	defer done()
	links, err := s.links()
	if err == nil {
		err = unix.ENODEV
		for _, l := range links {
			if c.isEnd(o, l) {
				err = do(s, l)
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("link: sandbox %s: %w", b.Sandbox, err)
	}
	return nil
}

// isEnd reports whether a link in a sandbox is an object's.
func (m marks) isEnd(o Object, l linkState) bool {
	switch o := o.(type) {
	case Macvlan:
		return m.isInside(o, l)
	case Veth:
		if Marked(l.alias, m.instance) {
			return owner(l.alias) == owner(o.Alias)
		}
		return l.kind == "veth" && bytes.Equal(l.mac, o.PeerMAC)
	}
	return false
}

// setAutoconf turns a on for a link; what is so already isn't written again.
func (c *Conn) setAutoconf(s *space, link string, a Autoconf) error {
	for _, set := range a.sysctls() {
		now, err := c.readSysctl(s, conf6Dir+link+"/"+set.name)
		if errors.Is(err, unix.ENOENT) || err == nil && now == set.value {
			continue // no IPv6 here, or nothing to do
		}
		if err == nil {
			err = c.setInet6(s, link, set.name, set.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
