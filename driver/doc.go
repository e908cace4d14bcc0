// Package driver runs the life of networks and endpoints: it checks what is
// asked, records it, and makes the kernel equal to the records.
package driver
