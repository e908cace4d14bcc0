//go:build vm

package lab

import "time"

// startTime bounds how long a daemon may take to answer, and to stop: longer in
// the virtual machine, whose processor is emulated.
const startTime = 4 * time.Minute

// starts is how often an engine is started before that is a failure. An engine
// gives containerd 15 seconds.
const starts = 5

// settleTime is how long a host may take to come back to its former state:
// part 2 of the test plan says 5 s.
const settleTime = 2 * time.Minute

// warmTime is how long a host may take to come to rest after its first networks:
// longer, since what their drivers set up for good falls into it. A look at the
// host alone takes many seconds here.
const warmTime = 5 * time.Minute
