package dhcp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"fairway/store"
)

// identify decides what servers know the client by. With a container's name it
// is that, with a mark of this host and the network, so that the container gets
// its address again whatever MAC address it has then; else the MAC address.
func (c *Client) identify(l *store.Lease) error {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("mac-address %q: want a unicast MAC address", l.MAC)
	}
	l.Hostname = hostname(l.Name)
	if l.Subnet.Addr().Is6() {
		l.ClientID = c.duid(*l, mac)
		return nil
	}
	const opaque, ethernet = 0, 1 // RFC 2132 section 9.14
	if l.Name == "" {
		l.ClientID = append([]byte{ethernet}, mac...)
		return nil
	}
	l.ClientID = append([]byte{opaque}, "fairway:"+c.mark(*l)+":"+l.Name...)
	if len(l.ClientID) > longestID {
		l.ClientID = l.ClientID[:longestID]
	}
	return nil
}

// longestID is the length of a client's identifier at most, in bytes.
const longestID = 200

// mark is 8 hex digits of this host and the network that a lease is for.
func (c *Client) mark(l store.Lease) string {
	sum := sha256.Sum256([]byte(c.instance + "\x00" + l.Engine + "\x00" + l.Parent + "\x00" + l.Space + "\x00" + l.Subnet.String()))
	return hex.EncodeToString(sum[:4])
}

// duid returns a DUID-UUID (RFC 8415 section 11.5) that is made of the container's
// name, else a DUID-LL of the MAC address (section 11.4).
func (c *Client) duid(l store.Lease, mac net.HardwareAddr) []byte {
	if l.Name == "" {
		return append([]byte{0, 3, 0, 1}, mac...)
	}
	sum := sha256.Sum256([]byte(c.mark(l) + "\x00" + l.Name))
	return append([]byte{0, 4}, sum[:16]...)
}

// hostname makes a label of the DNS (RFC 1123 section 2.1) of a container's
// name; "" if nothing is left.
func hostname(name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
	const longest = 63
	return strings.Trim(s[:min(len(s), longest)], "-")
}
