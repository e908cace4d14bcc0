package link

import (
	"crypto/rand"
	"net"
)

// RandomMAC returns a unicast address of the locally administered kind (IEEE
// 802, section 8.2). It is never derived from an IP address: an address that
// wanders to another container must not bring its neighbours' caches along.
func RandomMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	rand.Read(mac) // never fails: crypto/rand
	mac[0] = mac[0]&^1 | 2
	return mac
}
