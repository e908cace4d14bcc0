//go:build !vm

package lab

import "time"

// startTime bounds how long a daemon may take to answer, and to stop.
const startTime = 40 * time.Second

// starts is how often an engine is started before that is a failure.
const starts = 1

// settleTime is how long a host may take to come back to its former state, with
// much else to do on the machine.
const settleTime = 30 * time.Second

// warmTime is how long a host may take to come to rest after its first networks:
// longer, since what their drivers set up for good falls into it.
const warmTime = 30 * time.Second
