//go:build e2e && !vm

package e2e

import "time"

// patience is how long a question is repeated until it is answered.
const patience = 4 * time.Second
