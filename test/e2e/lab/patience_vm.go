//go:build vm

package lab

import "time"

// startTime bounds how long a daemon may take to answer, and to stop: longer in
// the virtual machine, whose processor is emulated.
const startTime = 4 * time.Minute

// starts is how often an engine is started before that is a failure. An engine
// gives containerd 15 seconds.
const starts = 5
