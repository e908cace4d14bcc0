package link

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// EnableForwarding lets the host forward packets of a family, and reports
// whether it didn't before.
//
// A host that forwards IPv6 takes no notice of router advertisements, and drops
// the default routes that it has by them, except on links where accept_ra is 2:
// that is set first on those that have such a route
// (Documentation/networking/ip-sysctl.rst).
func (c *Conn) EnableForwarding(_ context.Context, v6 bool) (flipped bool, err error) {
	paths := []string{"net/ipv4/ip_forward"}
	if v6 {
		paths = []string{conf6Dir + "default/forwarding", conf6Dir + "all/forwarding"}
	}
	if on, err := c.Forwards(v6); err != nil || on {
		return false, err
	}
	if v6 {
		if err := c.keepAdvertisedRoutes(); err != nil {
			return false, fmt.Errorf("link: enable forwarding: %w", err)
		}
	}
	for _, path := range paths {
		c.opts.Step("link.forwarding")
		if err := c.writeSysctl(c.own, path, "1"); err != nil {
			return false, fmt.Errorf("link: enable forwarding: %w", err)
		}
	}
	return true, nil
}

// Forwards reports whether the host forwards packets of a family.
func (c *Conn) Forwards(v6 bool) (bool, error) {
	path := "net/ipv4/ip_forward"
	if v6 {
		path = conf6Dir + "all/forwarding"
	}
	now, err := c.readSysctl(c.own, path)
	if err != nil {
		return false, fmt.Errorf("link: read forwarding: %w", err)
	}
	return now == "1", nil
}

func (c *Conn) keepAdvertisedRoutes() error {
	routes, err := c.own.routes(unix.AF_INET6)
	if err != nil {
		return err
	}
	links, err := c.own.links()
	if err != nil {
		return err
	}
	for _, l := range links {
		for _, r := range routes {
			if r.Protocol != unix.RTPROT_RA || r.LinkIndex != l.index || !isDefault(r) {
				continue
			}
			path := conf6Dir + l.name + "/accept_ra"
			now, err := c.readSysctl(c.own, path)
			if err != nil {
				return err
			}
			if now != "1" {
				break // 0: something else keeps the route
			}
			c.opts.Step("link.forwarding")
			if err := c.writeSysctl(c.own, path, "2"); err != nil {
				return err
			}
			c.log.WithField("link", l.name).Info("link: accept_ra=2, so that the host keeps its IPv6 default route while it forwards")
			break
		}
	}
	return nil
}
