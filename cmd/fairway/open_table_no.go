//go:build !kernel && !stephook

package main

func openTable() bool { return false }
