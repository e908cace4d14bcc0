// Package plugin speaks Docker's plugin protocol: HTTP and JSON in, typed
// calls out, for the network driver and the IPAM driver on one socket.
package plugin
