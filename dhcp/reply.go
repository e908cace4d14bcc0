package dhcp

import (
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"fairway/store"
)

// A kind is what a client's message says.
type kind int

const (
	discover kind = iota // who has an address for me?
	request              // I take that of this server
	verify               // may I go on with this one?
	renew                // to its server: may I keep it?
	rebind               // to all: may I keep it?
	release              // I don't need it any more
	decline              // somebody else has it already
)

// An answer is what a server's message says.
type answer int

const (
	offered answer = iota
	granted
	refused
)

// A reply is a server's message, checked for what each must have. Times count
// from now.
type reply struct {
	answer   answer
	xid      uint32
	mac      net.HardwareAddr // that it is for; nil where the protocol doesn't tell
	from     net.HardwareAddr // that the frame came from
	server   netip.Addr
	serverID []byte
	id       []byte // the client's DUID; nil for IPv4
	text     string // why it was refused

	ip                   netip.Addr
	bits                 int
	renew, rebind, valid time.Duration
	said                 store.Lease // the options besides
}

const forever = time.Duration(1<<32-1) * time.Second

// times fills in what a server left out and mends what makes no sense: RFC 2131
// section 4.4.5.
func (r *reply) times() {
	if r.rebind <= 0 || r.rebind >= r.valid {
		r.rebind = r.valid / 8 * 7
	}
	if r.renew <= 0 || r.renew >= r.rebind {
		r.renew = min(r.valid/2, r.rebind/8*7)
	}
}

// plain makes a server's text fit for one line.
func plain(s string) string {
	const longest = 120
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	return strings.TrimSpace(s)
}
