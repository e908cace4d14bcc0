// Package link makes the kernel's links, addresses, neighbours and sysctls
// equal to what is wanted.
//
// [Conn.Apply] makes objects without reading the kernel first: what an endpoint
// needs goes out in two messages, and only where the kernel says that something
// is there already is it read and compared. [Conn.Remove] takes objects away;
// links, whose removal has to wait for the kernel, go in groups by one worker
// behind the reply. [Conn.Reconcile] reads everything once, plans and repairs.
//
// What belongs to an instance of fairway is known by its alias (see [Mark]) or,
// in the moment before it has one, by its group (see ip-link(8)).
package link
