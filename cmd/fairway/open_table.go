//go:build kernel || stephook

package main

import "os"

// openTable reports whether a test wants to change the firewall's table behind
// the daemon's back, as anybody can before Linux 6.9.
func openTable() bool { return os.Getenv("TEST_OPEN_TABLE") != "" }
