// Package admin is the operators' API: HTTP and JSON on a socket of its own,
// and the client that fairway's commands use. Within /v1 fields are only ever
// added.
package admin
