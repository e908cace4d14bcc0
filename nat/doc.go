// Package nat decides which packets pass between networks, the host and the
// outside, and with which addresses. Its backends put that into the kernel.
package nat
