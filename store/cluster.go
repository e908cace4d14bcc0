package store

import bolt "go.etcd.io/bbolt"

// A ClusterEntry is this host's copy of one key of the cluster's etcd, so that
// what the other hosts had is known when etcd can't be reached. It is a view,
// never the truth; but for the parts of pools that this host may hand out from:
// those it goes by, whatever becomes of etcd.
type ClusterEntry struct {
	Key      string // without the cluster's prefix
	Value    []byte // as it stands there
	Created  int64  // etcd's revision at which the key was made
	Revision int64  // and at which it was last changed; 0: it is yet to be written
}

// PutCluster records e under its key.
func PutCluster(e ClusterEntry) Change { return Change{kindCluster, e.Key, e} }

// DeleteCluster forgets an entry; it succeeds if there is none.
func DeleteCluster(key string) Change { return Change{kindCluster, key, nil} }

// addCluster makes v4 of v3: a kind of record more.
func addCluster(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists([]byte(kindCluster))
	return err
}
