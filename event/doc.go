// Package event names what happens to networks, keeps the last of it for
// operators, and explains it for the journal.
package event
