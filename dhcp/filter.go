package dhcp

import "golang.org/x/sys/unix"

// Offsets that the kernel adds to what a classic BPF program may load: see
// Documentation/networking/filter.rst and linux/filter.h.
const (
	ancillary  = -0x1000 // SKF_AD_OFF
	packetType = ancillary + 4
	vlanTagged = ancillary + 48
)

// filter lets a server's messages to clients pass, and nothing else: what comes
// in without a VLAN tag, is not a fragment, and goes to UDP port 68 by IPv4 or
// 546 by IPv6. The kernel runs it on every packet that the link gets.
func filter() []unix.SockFilter {
	negative := func(off int32) uint32 { return uint32(off) }
	const (
		loadHalf   = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadByte   = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		loadWord   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		headerLen  = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH
		loadBehind = unix.BPF_LD | unix.BPF_H | unix.BPF_IND
		equal      = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyOf      = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give       = unix.BPF_RET | unix.BPF_K
	)
	return []unix.SockFilter{
		{Code: loadWord, K: negative(packetType)},
		{Code: equal, K: unix.PACKET_OUTGOING, Jt: 16},
		{Code: loadWord, K: negative(vlanTagged)},
		{Code: equal, K: 0, Jf: 14},
		{Code: loadHalf, K: 12}, // EtherType
		{Code: equal, K: unix.ETH_P_IP, Jf: 7},
		{Code: loadByte, K: 14 + 9}, // protocol
		{Code: equal, K: unix.IPPROTO_UDP, Jf: 10},
		{Code: loadHalf, K: 14 + 6}, // fragment offset
		{Code: anyOf, K: 0x1fff, Jt: 8},
		{Code: headerLen, K: 14},
		{Code: loadBehind, K: 14 + 2}, // destination port
		{Code: equal, K: clientPort, Jt: 6, Jf: 5},
		{Code: equal, K: unix.ETH_P_IPV6, Jf: 4},
		{Code: loadByte, K: 14 + 6}, // next header
		{Code: equal, K: unix.IPPROTO_UDP, Jf: 2},
		{Code: loadHalf, K: 14 + 40 + 2},
		{Code: equal, K: clientPort6, Jt: 1},
		{Code: give, K: 0},
		{Code: give, K: 1 << 16},
	}
}
