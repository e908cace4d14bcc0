//go:build kernel

package nat

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// enter puts the test into a network namespace of its own that routes.
func enter(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	for _, a := range []string{"192.0.2.1/32", "2001:db8::1/128"} {
		if err == nil {
			addr, _ := netlink.ParseAddr(a)
			err = netlink.AddrAdd(lo, addr)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A flow is a tracked connection: from and to as seen by who began it, and
// where it was translated to.
type flow struct {
	proto                uint8
	from, to, translated string
}

func (f flow) add(t *testing.T) {
	t.Helper()
	if err := f.create(); err != nil {
		t.Fatalf("track %v: %v", f, err)
	}
}

func (f flow) create() error {
	from, to := netip.MustParseAddrPort(f.from), netip.MustParseAddrPort(f.to)
	back := to
	if f.translated != "" {
		back = netip.MustParseAddrPort(f.translated)
	}
	tuple := func(a, b netip.AddrPort) netlink.IPTuple {
		return netlink.IPTuple{
			Protocol: f.proto, SrcIP: net.IP(a.Addr().AsSlice()), DstIP: net.IP(b.Addr().AsSlice()),
			SrcPort: a.Port(), DstPort: b.Port(),
		}
	}
	family := netlink.InetFamily(unix.AF_INET)
	if from.Addr().Is6() {
		family = unix.AF_INET6
	}
	cf := &netlink.ConntrackFlow{FamilyType: uint8(family), Forward: tuple(from, to), Reverse: tuple(back, from), TimeOut: 100}
	if f.proto == unix.IPPROTO_TCP {
		cf.ProtoInfo = &netlink.ProtoInfoTCP{State: nlTCPEstablished}
	}
	return netlink.ConntrackCreate(netlink.ConntrackTable, family, cf)
}

const nlTCPEstablished = 3

// tracked lists the connections as "from to".
func tracked(t *testing.T) (out []string) {
	t.Helper()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			out = append(out, fmt.Sprintf("%s %s", f.Forward.SrcIP, f.Forward.DstIP))
		}
	}
	slices.Sort(out)
	return out
}

func TestForget(t *testing.T) {
	udp8080 := Port{Proto: 17, HostPort: 8080, Target: netip.MustParseAddr("172.30.1.2"), TargetPort: 80}
	tcp8080 := Port{Proto: 6, HostPort: 8080, Target: netip.MustParseAddr("172.30.1.2"), TargetPort: 80}
	flows := []flow{
		{6, "172.30.1.2:1001", "198.51.100.1:443", ""},                // began by the endpoint
		{6, "198.51.100.2:1002", "192.0.2.1:8080", "172.30.1.2:80"},   // published
		{17, "198.51.100.3:1003", "192.0.2.1:8080", ""},               // before it was published
		{17, "198.51.100.4:1004", "192.0.2.1:8080", "172.30.9.9:80"},  // translated to one that is gone
		{17, "172.30.7.7:1005", "198.51.100.5:8080", ""},              // another machine's port
		{6, "198.51.100.6:1006", "192.0.2.1:9090", "172.30.1.3:80"},   // a sibling's
		{6, "198.51.100.7:1007", "172.30.1.2:80", ""},                 // routed to the endpoint
		{6, "[2001:db8:a::2]:1008", "[2001:db8:9::1]:443", ""},        // IPv6
		{17, "[2001:db8:9::2]:1009", "[2001:db8::1]:8080", ""},        // IPv6, the port is IPv4's
		{17, "198.51.100.10:1010", "192.0.2.1:8080", "172.30.1.2:80"}, // just published
	}
	gone4 := Endpoint{IPv4: netip.MustParseAddr("172.30.1.2")}
	many := []Endpoint{gone4, {IPv4: netip.MustParseAddr("172.30.1.3")}, {IPv4: netip.MustParseAddr("172.30.9.9")}}
	for i := range few(0) {
		many = append(many, Endpoint{IPv4: netip.AddrFrom4([4]byte{172, 30, 3, byte(i)})})
	}
	for _, c := range []struct {
		name string
		all  []Endpoint
		gone []int // flows
	}{
		{"nothing", nil, nil},
		{"an endpoint of nothing", []Endpoint{{}}, nil},
		{"addresses", []Endpoint{{IPv4: gone4.IPv4, IPv6: netip.MustParseAddr("2001:db8:a::2")}}, []int{0, 1, 6, 7, 9}},
		{"addresses and ports", []Endpoint{{IPv4: gone4.IPv4, Ports: []Port{udp8080, tcp8080}}}, []int{0, 1, 6, 9}},
		{"just published", []Endpoint{{Ports: []Port{udp8080, tcp8080}}}, []int{2, 3}},
		{"gone, and another just published", []Endpoint{{IPv4: netip.MustParseAddr("172.30.1.3")}, {Ports: []Port{udp8080}}}, []int{2, 3, 5}},
		{"more than a few", many, []int{0, 1, 3, 5, 6, 9}},
		{"a port on another address", []Endpoint{{Ports: []Port{{
			Proto: 17, HostIP: netip.MustParseAddr("192.0.2.5"), HostPort: 8080, Target: netip.MustParseAddr("172.30.1.2"), TargetPort: 80,
		}}}}, nil},
		{"an unknown address", []Endpoint{{IPv4: netip.MustParseAddr("172.30.1.99")}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			enter(t)
			var want []string
			for i, f := range flows {
				f.add(t)
				if !slices.Contains(c.gone, i) {
					want = append(want, netip.MustParseAddrPort(f.from).Addr().String()+" "+netip.MustParseAddrPort(f.to).Addr().String())
				}
			}
			slices.Sort(want)
			for range 2 {
				if err := (Connections{}).Forget(t.Context(), c.all...); err != nil {
					t.Fatal(err)
				}
			}
			if got := tracked(t); !slices.Equal(got, want) {
				t.Errorf("left:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestForgetByReading: the way for kernels before 6.8.
func TestForgetByReading(t *testing.T) {
	enter(t)
	flow{6, "172.30.1.2:1001", "198.51.100.1:443", ""}.add(t)
	flow{6, "172.30.1.3:1001", "198.51.100.1:443", ""}.add(t)
	s := newStale([]Endpoint{{IPv4: netip.MustParseAddr("172.30.1.2")}}, false)
	if err := deleteMatching(t.Context(), unix.AF_INET, 0, s.match); err != nil {
		t.Fatal(err)
	}
	if got := tracked(t); len(got) != 1 || got[0] != "172.30.1.3 198.51.100.1" {
		t.Errorf("left: %v", got)
	}
}

// BenchmarkForget measures what it takes to find the connections of endpoints
// that are gone among all others: by the kernel's look at one IPv4 address, which
// it takes two of for each, by reading, and as package netlink reads.
func BenchmarkForget(b *testing.B) {
	gone := netip.MustParseAddr("172.30.1.2")
	gone6 := netip.MustParseAddr("2001:db8:a::2")
	for _, present := range []int{1000, 50000, 200000} {
		do := inNamespace(b)
		err := do(func() error {
			for i := range present {
				f := flow{6, fmt.Sprintf("10.%d.%d.%d:1000", i>>16, i>>8&255, i&255), "198.51.100.1:443", ""}
				if err := f.create(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		var hundred []Endpoint
		for i := range 100 {
			hundred = append(hundred, Endpoint{IPv4: netip.AddrFrom4([4]byte{172, 30, 1, byte(i)})})
		}
		for _, way := range []struct {
			name string
			do   func() error
		}{
			{"kernel", func() error { return newStale([]Endpoint{{IPv4: gone}}, false).forget(b.Context(), unix.AF_INET, 0) }},
			{"mark", deleteByMark}, // not what we do: docs/decisions/009
			{"reading", func() error {
				return deleteMatching(b.Context(), unix.AF_INET, 0, newStale([]Endpoint{{IPv4: gone}}, false).match)
			}},
			{"library", func() error {
				_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFilter{})
				return err
			}},
			{"IPv6", func() error { return newStale([]Endpoint{{IPv6: gone6}}, true).forget(b.Context(), unix.AF_INET6, 0) }},
			{"100 endpoints", func() error { return Connections{}.Forget(b.Context(), hundred...) }},
			{"a udp port", func() error {
				return Connections{}.Forget(b.Context(), Endpoint{Ports: []Port{{Proto: 17, HostPort: 8080, Target: gone, TargetPort: 80}}})
			}},
		} {
			b.Run(fmt.Sprintf("%s/present=%d", way.name, present), func(b *testing.B) {
				for b.Loop() {
					if err := do(way.do); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// deleteByMark has the kernel look once for a mark that no connection has.
func deleteByMark() error {
	req := conntrackRequest(nl.IPCTNL_MSG_CT_DELETE, unix.AF_UNSPEC, unix.NLM_F_ACK)
	req.AddData(nl.NewRtAttr(nl.CTA_MARK, []byte{0, 0, 0, 7}))
	req.AddData(nl.NewRtAttr(21 /* CTA_MARK_MASK */, []byte{0, 0, 15, 255}))
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

// inNamespace returns what does something in a namespace of its own; each part
// of a benchmark has a thread of its own.
func inNamespace(b *testing.B) func(func() error) error {
	b.Helper()
	work, done := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_, err := netns.New()
		done <- err
		for f := range work {
			done <- f()
		}
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { close(work) })
	return func(f func() error) error {
		work <- f
		return <-done
	}
}
