package link

import (
	"encoding/binary"
	"maps"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParseVLANs reads what setVLANs asks for: the kernel lists VLANs in the
// same form.
func TestParseVLANs(t *testing.T) {
	for _, v := range []PortVLANs{
		{Access: 40},
		{Tagged: []VLANRange{{10, 20}, {30, 30}}},
		{Access: 1, Tagged: []VLANRange{{2, 4094}}},
	} {
		req := setVLANs(7, v)[1]
		msg := req.Serialize()[unix.SizeofNlMsghdr:]
		index, got, err := parseVLANs(msg)
		if err != nil || index != 7 || !maps.Equal(got, v.byID()) {
			t.Errorf("%s: port %d, %s, %v", v, index, got, err)
		}
	}
	if s := (PortVLANs{Access: 40, Tagged: []VLANRange{{10, 12}, {30, 30}}}).String(); s != "10, 11, 12, 30, 40 untagged" {
		t.Errorf("VLANs are written %q", s)
	}
}

// FuzzParseVLANs: whatever the kernel may say, it is VLANs or an error.
func FuzzParseVLANs(f *testing.F) {
	f.Add(setVLANs(7, PortVLANs{Access: 40, Tagged: []VLANRange{{10, 20}}})[1].Serialize()[unix.SizeofNlMsghdr:])
	end := make([]byte, 28)
	binary.NativeEndian.PutUint16(end[16:], 12) // a range that ends at 65535 and never began
	binary.NativeEndian.PutUint16(end[18:], unix.IFLA_AF_SPEC)
	f.Add(end)
	f.Fuzz(func(t *testing.T, msg []byte) {
		_, got, err := parseVLANs(msg)
		for id := range got {
			if err == nil && id > lastPortVLAN {
				t.Errorf("VLAN %d", id)
			}
		}
	})
}
