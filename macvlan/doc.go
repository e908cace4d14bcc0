// Package macvlan is the network modes that put containers on the LAN of a link
// of the host, or of a VLAN there: each with a MAC address of its own (macvlan),
// or all with that of the host's link (ipvlan). It says what the kernel must hold
// for each endpoint. The firewall has no part in it.
package macvlan
