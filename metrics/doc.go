// Package metrics shows what the daemon does and what it runs in the text format
// of Prometheus. How many series there are is bounded by what is configured: no
// label has a value that a container or its clients choose, but with
// Options.Containers, where each container has series of its own.
package metrics
