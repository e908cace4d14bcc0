//go:build kernel

package link

import (
	"net"
	"testing"
)

// TestCounters: what goes over a link is counted in both directions.
func TestCounters(t *testing.T) {
	c := newConn(t)
	to := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
	s, err := net.DialUDP("udp4", nil, &to)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, err := c.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	after, err := c.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 28 bytes are the IP and UDP headers, 14 the loopback link's. The refusal
	// that ICMP answers with makes it more.
	is := func(what string, before, after, least uint64) {
		if after-before < least {
			t.Errorf("%s: %d, then %d: want %d more at least", what, before, after, least)
		}
	}
	was, now := before["lo"], after["lo"]
	is("received packets", was.RxPackets, now.RxPackets, 1)
	is("sent packets", was.TxPackets, now.TxPackets, 1)
	is("received bytes", was.RxBytes, now.RxBytes, 142)
	is("sent bytes", was.TxBytes, now.TxBytes, 142)
	if now.RxDropped != 0 || now.TxDropped != 0 {
		t.Errorf("dropped: %+v", now)
	}
}
