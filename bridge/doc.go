// Package bridge is the network mode that joins containers of one host by a
// Linux bridge: what the kernel and the firewall must hold for a network, and
// for each of its endpoints.
package bridge
