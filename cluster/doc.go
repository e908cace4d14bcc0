// Package cluster agrees with the other hosts on segments, addresses and
// endpoints, by records in etcd.
//
// The store on this host stays the truth for what runs here. Of what the other
// hosts have there is a view, which follows etcd and is saved as read-only
// records, so that it outlasts a restart with etcd down. What this host has to say
// is compared with the view and sent whenever the two differ: what couldn't be
// sent is sent once etcd is back.
//
// Nothing is locked. Each change is a transaction that names what it was decided
// by, so that of two hosts that want the same, one gets it. Who may hand out an
// address is always one host's to say: the owner of the block that it is in, or
// etcd itself where nobody has the block (see [Cluster.Claim]).
package cluster
