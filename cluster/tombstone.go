package cluster

import "time"

// tombstones are the revisions at which keys were deleted, for a while: etcd's
// events, the replies to this host's own transactions and its readings of all there
// is overtake one another, and none that is older may bring a key back.
type tombstones struct {
	keep   time.Duration // at least
	fresh  map[string]int64
	old    map[string]int64
	turned time.Time // when fresh was empty
}

func (t *tombstones) add(key string, revision int64) {
	if now := time.Now(); t.fresh == nil || now.Sub(t.turned) > t.keep {
		t.fresh, t.old, t.turned = map[string]int64{}, t.fresh, now
	}
	t.fresh[key] = max(revision, t.at(key))
}

// at returns the revision at which a key was deleted; 0: it wasn't.
func (t *tombstones) at(key string) int64 { return max(t.fresh[key], t.old[key]) }

func (t *tombstones) clear() { t.fresh, t.old = nil, nil }

func (t *tombstones) remove(key string) {
	delete(t.fresh, key)
	delete(t.old, key)
}
