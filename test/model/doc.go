// Package model tests fairway's state against a model of it: random sequences
// of what Docker and the world do to a daemon, with a crash at every side
// effect, and after each step the question whether store, kernel, firewall and
// ports are what the replies promised. It is all tests.
//
// The real code runs here from the protocol's HTTP handler down to the
// interfaces that driver and ipam declare. Below them stands a machine of
// memory: a disk that tears, a kernel that refuses what the real one refuses,
// and time that passes when everything waits (testing/synctest). Every side
// effect is one numbered step of the machine, at which its power can fail.
//
// What happens is a list of lines such as
//
//	network n1 dual
//	run c0 n1 tcp/8080 !die 4
//	tamper flush
//
// A failure prints the shortest such list that still fails, and each that was
// found is kept in testdata/cases.
package model
