// Package proxy carries to containers what the kernel can't translate: what
// comes to [::1], since IPv6 has no route_localnet, from link-local addresses,
// and by IPv6 to a container that has only IPv4. It serves on sockets that hold
// published ports (nat.Ports); what the kernel translates never gets to those. The
// container sees an address of the host's on its network as client.
//
// It also carries all of those ports that the host's own rules decide about
// (publish=host-firewall): they aren't translated, so that packets to them go
// through INPUT as to any service of the host. There the container sees the
// client's own address: the socket that leads to the container has it for its own
// (transparent sockets, Documentation/networking/tproxy.rst of the kernel), and
// the firewall brings the answers there.
package proxy
