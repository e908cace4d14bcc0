// Package service holds the tests of what a release is: its packages on a Debian
// of its own that systemd runs, with a Docker Engine, and what linters say of it.
package service
