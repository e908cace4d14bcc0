//go:build vm

package lab

import "time"

// startTime bounds how long a daemon may take to answer, and to stop: longer in
// the virtual machine, whose processor is emulated.
const startTime = 4 * time.Minute
