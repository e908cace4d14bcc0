// Package install puts fairway on a host, and takes it off again.
package install
