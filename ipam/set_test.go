package ipam

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestHostOf(t *testing.T) {
	for _, tt := range []struct {
		subnet, ip string
		want       host
	}{
		{"10.1.2.0/24", "10.1.2.7", host{0, 7}},
		{"10.0.0.0/8", "10.255.255.255", host{0, 1<<24 - 1}},
		{"192.0.2.4/32", "192.0.2.4", host{0, 0}},
		{"128.0.0.0/1", "255.255.255.255", host{0, 1<<31 - 1}},
		{"2001:db8::/64", "2001:db8::1:2", host{0, 0x10002}},
		{"2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", host{0, ^uint64(0)}},
		{"2001:db8::/48", "2001:db8:0:9::5", host{9, 5}},
		{"2001:db8::7/128", "2001:db8::7", host{0, 0}},
		{"::/1", "7fff::1", host{0x7fff << 48, 1}},
	} {
		subnet, ip := netip.MustParsePrefix(tt.subnet), netip.MustParseAddr(tt.ip)
		got := hostOf(subnet, ip)
		if got != tt.want {
			t.Errorf("hostOf(%s, %s) = %x, want %x", subnet, ip, got, tt.want)
		}
		if back := got.addr(subnet); back != ip {
			t.Errorf("host %x of %s is %s, want %s", got, subnet, back, ip)
		}
	}
}

// TestSetAgainstMap compares a set with a map and a walk along it.
func TestSetAgainstMap(t *testing.T) {
	// Hosts close to where a word, a node, a level, a window and a half end.
	edges := []host{
		{}, {0, 64}, {0, 4096}, {0, 1 << 18}, {0, 1 << 24}, {0, 5 << 24},
		{0, ^uint64(0)}, {1, 0}, {1, 1 << 24}, {^uint64(0), ^uint64(0)},
	}
	near := rapid.Custom(func(t *rapid.T) host {
		h := rapid.SampledFrom(edges).Draw(t, "edge")
		h.lo += uint64(rapid.Int64Range(-140, 140).Draw(t, "off"))
		return h
	})
	rapid.Check(t, func(t *rapid.T) {
		var s set
		model := map[host]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if len(model) == 0 && (s.near != nil || len(s.far) != 0) {
					t.Fatal("an empty set keeps memory")
				}
			},
			"add": func(t *rapid.T) {
				h := near.Draw(t, "host")
				s.add(h)
				model[h] = true
			},
			"add many": func(t *rapid.T) {
				h := near.Draw(t, "host")
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					s.add(h)
					model[h] = true
					h.lo++
				}
			},
			"remove": func(t *rapid.T) {
				h := near.Draw(t, "host")
				s.remove(h)
				delete(model, h)
			},
			"has": func(t *rapid.T) {
				h := near.Draw(t, "host")
				if s.has(h) != model[h] {
					t.Fatalf("has(%x) = %t", h, s.has(h))
				}
			},
			"next": func(t *rapid.T) {
				from := near.Draw(t, "from")
				to := from
				to.lo += uint64(rapid.IntRange(0, 300).Draw(t, "length"))
				want, ok := from, false
				for want.lo <= to.lo {
					if !model[want] {
						ok = true
						break
					}
					if want.lo++; want.lo == 0 {
						break
					}
				}
				got, gotOK := s.next(from, to)
				if gotOK != ok || ok && got != want {
					t.Fatalf("next(%x, %x) = %x, %t; want %x, %t", from, to, got, gotOK, want, ok)
				}
			},
		})
	})
}

// has reports whether h is in the set. The allocator itself knows by its entries.
func (s *set) has(h host) bool {
	n, level := s.tree(h)
	for ; n != nil && level > 0; level-- {
		k, _ := place(level, uint32(h.lo))
		n = n.kids[k]
	}
	if n == nil {
		return false
	}
	k, bit := place(0, uint32(h.lo))
	return n.words[k]&(1<<bit) != 0
}

// TestSetFull fills all that one window holds, so that the search has to go on
// in the next.
func TestSetFull(t *testing.T) {
	var s set
	for i := range uint64(1 << windowBits) {
		got, ok := s.next(host{}, host{0, ^uint64(0)})
		if !ok || got.lo != i {
			t.Fatalf("next in a set of the first %d = %d, %t", i, got.lo, ok)
		}
		s.add(got)
	}
	if _, ok := s.next(host{}, host{0, 1<<windowBits - 1}); ok {
		t.Error("a full range has room")
	}
	if got, ok := s.next(host{}, host{0, ^uint64(0)}); !ok || got.lo != 1<<windowBits {
		t.Errorf("next behind a full window = %d, %t", got.lo, ok)
	}
	s.remove(host{0, 70_001})
	if got, ok := s.next(host{}, host{0, ^uint64(0)}); !ok || got.lo != 70_001 {
		t.Errorf("next = %d, %t; want the one hole", got.lo, ok)
	}
}
