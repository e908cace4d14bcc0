// Package firewall tests both backends of the firewall with real packets: the
// same tables of connections on each, in network namespaces of their own.
package firewall
