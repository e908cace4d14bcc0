// Package overlay is the network mode whose networks span hosts: a VXLAN device
// (RFC 7348) per segment as a port of an ordinary network's bridge, and a Plane
// that keeps the forwarding and neighbour entries of what is on other hosts equal
// to the records that it is given. It knows nothing of where these come from.
package overlay
