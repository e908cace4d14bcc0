// Package proxy carries to containers what the kernel can't translate: what
// comes to [::1], since IPv6 has no route_localnet, from link-local addresses,
// and by IPv6 to a container that has only IPv4. It serves on sockets that hold
// published ports (nat.Ports); what the kernel translates never gets to those, and
// IPv4 is none of its business.
//
// The container sees an address of the host's on its network as client.
package proxy
