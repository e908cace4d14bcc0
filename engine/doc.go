// Package engine tells what a Docker Engine knows of fairway's networks, and
// which engine it is that calls. Nothing correct depends on it: it annotates
// records with names and lets stale ones be found.
//
// It is never used inside of a call of the plugin protocol: the engine holds
// locks while it waits for an answer, and its API waits for these. Only
// [PeerEngine], which asks the kernel alone, may be.
//
// Names come from the users of the engine and are text from outside: what would
// disturb a terminal or a log is taken out, nothing else is promised.
package engine
