// Package lab makes the hosts that the end-to-end tests run on: a real Docker
// Engine and the fairway daemon in namespaces of their own (network, mount,
// PID, IPC, UTS), on a LAN of their own with a neighbour that is the router to
// an outside. Nothing of it touches the machine's engine, links or rules, and
// all of it is gone when the test process ends, however it ends: the kernel
// ends a PID namespace's processes with its first, and that one ends with the
// pipe to the test process.
//
// The LAN is 203.0.113.0/24 and 2001:db8:1::/64 (RFC 5737, RFC 3849), the
// neighbour has the first address of both, and what lies outside is
// 198.51.100.1 and 2001:db8:ffff::1.
package lab
