package driver

import (
	"crypto/sha256"
	"fmt"
)

// The prefixes of the names of links that are fairway's to choose.
const (
	prefixBridge = "fwb"
	prefixInside = "fwi" // the end for the sandbox
	prefixHost   = "fws" // the host's own on a LAN
)

// linkName returns a name for a link of id: the prefix with ten hexadecimal
// digits, another ten where they are taken by somebody else. The caller holds
// d.mu.
func (d *Driver) linkName(prefix, id string) string {
	for i := 0; ; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, i))
		name := fmt.Sprintf("%s%x", prefix, sum[:5])
		if owner, taken := d.names[name]; !taken || owner == id {
			return name
		}
	}
}
