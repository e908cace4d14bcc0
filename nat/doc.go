// Package nat says what the firewall must hold, for networks to be kept apart
// but for published ports. Its backends put that into the kernel.
package nat
