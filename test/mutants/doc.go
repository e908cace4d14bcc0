// Package mutants tests the model test: each of a list of planted bugs must be
// caught by it.
package mutants
