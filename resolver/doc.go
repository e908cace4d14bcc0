// Package resolver answers DNS questions (RFC 1035) of containers for the names of
// their segment, whichever host these are on, and leaves all other questions alone.
//
// Docker's own resolver in the container asks the container's upstream servers for
// what it doesn't know. That question passes the segment's bridge, where a rule
// hands it to this process (nfnetlink_queue). One for a name of the segment is
// answered in the name of the server that was asked, and goes no further; any other
// is let go on as it is. With nobody at the queue the rule does nothing.
//
// Questions to the segment's gateway are answered whatever they are for: what isn't
// of the segment, by asking the host's own servers.
package resolver
