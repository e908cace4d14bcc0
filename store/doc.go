// Package store keeps fairway's records durable on this host. They are always
// the truth for what runs here: everything that fairway puts into the kernel
// can be rebuilt from them.
package store
