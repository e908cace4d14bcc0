//go:build kernel && vm

package firewall

import "time"

// patience is longer in the virtual machine, whose processor is emulated.
const patience = 2 * time.Second
