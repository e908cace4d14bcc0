package resolver

import (
	"bytes"
	"net/netip"
	"testing"
)

func datagrams() []datagram {
	p := netip.MustParseAddrPort
	return []datagram{
		{p("192.0.2.53:53"), p("10.1.0.2:40000"), []byte("hello")},
		{p("[2001:db8::53]:53"), p("[fd00::2]:65535"), []byte("even")},
		{p("10.1.0.1:53"), p("10.1.0.2:1"), nil},
	}
}

// What is written is read again, its sums are right, and parts of it are nothing.
func TestDatagram(t *testing.T) {
	for _, d := range datagrams() {
		wire := d.packet()
		back, ok := readDatagram(append(wire, "padding"...))
		if !ok || back.from != d.from || back.to != d.to || !bytes.Equal(back.data, d.data) {
			t.Errorf("%v: read as %v, %v", d, back, ok)
		}
		for n := range wire {
			if _, ok := readDatagram(wire[:n]); ok {
				t.Errorf("%v: %d of %d bytes are a datagram", d, n, len(wire))
			}
		}
		sum, at := uint32(17+8+len(d.data)), 8 // a sum over all of it, itself included, is 0
		if d.from.Addr().Is4() {
			if at = 12; fold(add(0, wire[:20])) != 0 {
				t.Errorf("%v: wrong sum of the header", d)
			}
		}
		if fold(add(sum, wire[at:])) != 0 {
			t.Errorf("%v: wrong sum", d)
		}
	}
}

func TestNoDatagram(t *testing.T) {
	v4, v6 := datagrams()[0].packet(), datagrams()[1].packet()
	for name, change := range map[string]func() []byte{
		"TCP":            func() []byte { b := bytes.Clone(v4); b[9] = 6; return b },
		"first fragment": func() []byte { b := bytes.Clone(v4); b[6] = 0x20; return b },
		"last fragment":  func() []byte { b := bytes.Clone(v4); b[7] = 3; return b },
		"short header":   func() []byte { b := bytes.Clone(v4); b[0] = 0x44; return b },
		"long datagram":  func() []byte { b := bytes.Clone(v4); b[25] = 99; return b },
		"short datagram": func() []byte { b := bytes.Clone(v4); b[25] = 7; return b },
		"version":        func() []byte { b := bytes.Clone(v4); b[0] = 0x55; return b },
		"next header":    func() []byte { b := bytes.Clone(v6); b[6] = 0; return b },
		"long payload":   func() []byte { b := bytes.Clone(v6); b[5] = 99; return b },
	} {
		if d, ok := readDatagram(change()); ok {
			t.Errorf("%s: %v", name, d)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, d := range datagrams() {
		f.Add(d.packet())
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		d, ok := readDatagram(wire)
		if !ok {
			return
		}
		back, ok := readDatagram(d.packet())
		if !ok || back.from != d.from || back.to != d.to || !bytes.Equal(back.data, d.data) {
			t.Errorf("%v is %v", d, back)
		}
	})
}
