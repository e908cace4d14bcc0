package watch

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// attribute returns the value of the first netlink attribute of a kind, nil if
// there is none or data is not well formed up to there. See netlink(7) and
// linux/netlink.h.
func attribute(data []byte, kind uint16) []byte {
	const flags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	for len(data) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(data))
		if size < unix.SizeofNlAttr || size > len(data) {
			return nil
		}
		if binary.NativeEndian.Uint16(data[2:])&^flags == kind {
			return data[unix.SizeofNlAttr:size]
		}
		data = data[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(data)):]
	}
	return nil
}

// text returns an attribute that is a string, with or without its final 0.
func text(data []byte, kind uint16) string {
	return string(bytes.TrimRight(attribute(data, kind), "\x00"))
}
