package metrics

import (
	"strconv"
	"strings"

	"fairway/store"
)

// label is what a network is called: its ID's beginning until Docker was asked
// for its name.
func label(n store.Network) string { return valid(n.Name, n.ID) }

// valid returns a name as a label may have it, which is UTF-8, or else the
// beginning of an ID.
func valid(name, id string) string {
	if name == "" {
		name = id[:min(len(id), 12)]
	}
	return strings.ToValidUTF8(name, "?")
}

// protocol is the name of a transport protocol's number.
func protocol(n uint8) string {
	switch n {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(n))
}
