// Package inspect gathers what is known of a network, a container's endpoint, an
// address or a link: what is recorded, what the kernel holds, what Docker says.
package inspect
