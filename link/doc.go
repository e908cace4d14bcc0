// Package link makes the kernel's links, addresses, neighbours and sysctls
// equal to what is wanted.
package link
