// Package doctor finds what is wrong with fairway on a host, and says of each
// finding what it is, what is lost by it and what repairs it.
//
// It compares three things, what the engine knows, what the store has recorded
// and what the kernel holds, and looks at what on the host harms them. It works
// with the daemon down, and changes nothing: [Run] carries out a finding's
// commands if somebody says so.
//
// [Checks] is the one table: the command, the pages of docs/doctor.md and the
// tests are made from it. A code is never given a second meaning.
package doctor
