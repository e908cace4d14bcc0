// Package ipam hands out pools and addresses, durably and never twice.
package ipam
