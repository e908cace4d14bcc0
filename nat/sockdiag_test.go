package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzParseSocket: no answer of sock_diag(7) makes the reader panic, and what it
// accepts is a socket on the port that was asked for, which b names.
func FuzzParseSocket(f *testing.F) {
	reply := make([]byte, diagReply)
	reply[0] = unix.AF_INET
	binary.BigEndian.PutUint16(reply[4:], 8080)
	copy(reply[8:], []byte{192, 0, 2, 1})
	cgroup := binary.NativeEndian.AppendUint16(nil, unix.SizeofNlAttr+8)
	cgroup = binary.NativeEndian.AppendUint16(cgroup, diagCgroup)
	cgroup = binary.NativeEndian.AppendUint64(cgroup, 4711)
	f.Add(reply, uint16(8080), []byte{192, 0, 2, 1})
	f.Add(append(reply, cgroup...), uint16(8080), []byte{0, 0, 0, 0})
	f.Add(append(reply, 3, 0, diagV6Only, 0, 255), uint16(8080), make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte, port uint16, host []byte) {
		addr, ok := netip.AddrFromSlice(host)
		if !ok {
			return
		}
		s, ok := parseSocket(b, &Conflict{Proto: unix.IPPROTO_TCP, HostIP: addr, Port: port})
		if !ok {
			return
		}
		if len(b) < diagReply || binary.BigEndian.Uint16(b[4:]) != port || binary.NativeEndian.Uint32(b[68:]) != s.inode {
			t.Errorf("accepted %x for port %d: %+v", b, port, s)
		}
	})
}
