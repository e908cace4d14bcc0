// Package macvlan is the network mode that puts containers on the LAN of a link
// of the host, each with a MAC address of its own: what the kernel must hold for
// each endpoint. The firewall has no part in it.
package macvlan
