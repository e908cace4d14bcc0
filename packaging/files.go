// Package packaging holds the files that a host gets beside the program: units,
// settings, and what keeps other programs off fairway's links.
package packaging

import "embed"

// Files are those files, by their paths in this directory.
//
//go:embed fairway.yaml host systemd monitoring
var Files embed.FS
