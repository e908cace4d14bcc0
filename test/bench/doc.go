// Package bench measures fairway where its users meet it: at the plugin socket
// of a real daemon process, and on the command line of real Docker Engines,
// there beside Docker's built-in bridge. It reports; it judges nothing but
// errors. docs/benchmarks.md has what was measured and the aims.
//
//	go test -tags bench -run '^$' -bench . ./test/bench
//
// which needs root and, for BenchmarkEngine, what test/engines needs. Flags:
// -rounds says how often every measurement is taken, -dir where the state
// directories are (not on a tmpfs). Compared variants take turns within one
// run, in changing order, so that a neighbour's noise hits all alike: ratios
// can be trusted where absolute figures can't.
package bench
