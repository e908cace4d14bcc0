//go:build e2e && !vm

package e2e

import "time"

// patience is how long something is waited for that comes by itself: an answer,
// a row of a list. Within a second, but on a machine with much else to do.
const patience = 30 * time.Second
