// Package dhcp gets addresses for containers from the DHCP servers of a LAN and
// keeps them, as RFC 2131 has it for IPv4 and RFC 8415 for IPv6.
//
// The container has no part in it. Each link of the host that a LAN is behind (a
// parent) has one packet socket, and one goroutine does what is due for all
// leases:
//
//	Acquire
//	   │
//	selecting ──offer──► requesting ──ack──► bound
//	   ▲                                   T1 │   ▲
//	   │ nak, expired: lost                   ▼   │ ack
//	   ├───────────────────────────────── renewing│
//	   │                                   T2 ▼   │
//	   └──────────────────────────────── rebinding┘
//
// A lease that was kept over a restart is asked for by its address (INIT-REBOOT,
// the state verifying) and counts until its own end if nobody answers. One that
// is lost is asked for again for as long as its endpoint has the address: that
// can't change under a running container.
package dhcp
