//go:build e2e && vm

package e2e

import "time"

// patience is longer in the virtual machine, whose processor is emulated.
const patience = 60 * time.Second
