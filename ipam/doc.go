// Package ipam hands out pools and addresses, durably and never twice. It is
// what stands behind Docker's IPAM protocol: --ipam-driver fairway, for
// networks of any driver.
//
// A pool that Docker requests is a handle on a subnet of an address space.
// Several handles may lie on one subnet; addresses belong to the subnet, so
// that nothing is handed out twice whatever handle asks. Decisions are made in
// memory under one lock, queued for the store in the same order, and answered
// once they are durable; concurrent callers share the store's commits.
//
// Docker's replies can get lost. What Docker asked for, but wasn't seen to use
// (see [Allocator.Confirm]), is handed out again to the same asker where that
// is safe, and is given back in the end by [Allocator.Reclaim] and
// [Allocator.Collect].
package ipam
