//go:build !vm

package lab

import "time"

// startTime bounds how long a daemon may take to answer, and to stop.
const startTime = 40 * time.Second
