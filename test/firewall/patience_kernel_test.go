//go:build kernel && !vm

package firewall

import "time"

// patience is how long to wait for an answer.
const patience = 400 * time.Millisecond
