package store

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// LivePorts is the durable record of what an operator has published and
// unpublished while a container ran, on one of its networks. It is of the
// container, by its ID, so that each endpoint that the container has there
// after a restart gets the same ports.
type LivePorts struct {
	Network     string // ID
	Engine      string // the engine of the container: see package engine; "" unknown
	ContainerID string
	Container   string // its name when the record was last written
	Created     time.Time

	// Added are published besides what Docker requests: HostPort is settled,
	// HostPortEnd and IP are not set, HostIP is as given (invalid: the
	// network's default).
	Added PortBindings
	// Removed are requests of Docker's, as it gives them, that aren't carried out.
	Removed PortBindings
}

// Empty reports whether the record says nothing.
func (l LivePorts) Empty() bool { return len(l.Added)+len(l.Removed) == 0 }

// PutLivePorts records l under its network and container.
func PutLivePorts(l LivePorts) Change {
	return Change{kindLivePorts, livePortsKey(l.Network, l.ContainerID), l}
}

// DeleteLivePorts forgets the live ports of a container on a network; it
// succeeds if there are none.
func DeleteLivePorts(network, containerID string) Change {
	return Change{kindLivePorts, livePortsKey(network, containerID), nil}
}

func livePortsKey(network, containerID string) string { return network + " " + containerID }

// addLivePorts makes v2 of v1: a kind of record more.
func addLivePorts(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists([]byte(kindLivePorts))
	return err
}
