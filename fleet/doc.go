// Package fleet has the host's own engine make and remove the networks that the
// cluster wants here.
//
// What is wanted is a record in etcd; what the engine has is asked for anew each
// time: so a daemon that was killed, or a host that was away, goes on from what
// there is. Only networks with the cluster's label are ever touched.
package fleet
