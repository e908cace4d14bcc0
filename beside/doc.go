// Package beside is what the modes that put containers on the LAN of a link of the
// host have in common: the host's own link among them (host_access), and ports
// that are published on the containers' own addresses. Its functions are pure.
package beside
