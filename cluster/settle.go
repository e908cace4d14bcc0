package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DefaultPort is the UDP port of VXLAN (RFC 7348).
const DefaultPort = 4789

// firstVNI is the first that is ours to choose: clear of Swarm's.
const firstVNI = 1 << 23

// Settings are what all networks of a segment have in common.
type Settings struct {
	VNI     uint32            // 0: the segment's, or one that is free
	Port    uint16            // 0: the segment's, or DefaultPort
	Options map[string]string // switches: one that isn't there is "false"
}

// Settle agrees with the other hosts on what a network of a segment is like. The
// host must be a member by its pools; where another host has settled other things
// it is refused.
func (c *Cluster) Settle(ctx context.Context, segment string, want Settings) (Segment, error) {
	vni := want.VNI
	for range tries {
		c.mu.Lock()
		s, there := c.view.segments[segment]
		member := c.view.members[segment][c.self.Name]
		same, revision := c.unchanged(segmentKey(segment)), c.view.entries[segmentKey(segment)].Revision
		c.mu.Unlock()
		if !there || !member {
			return Segment{}, fmt.Errorf("option segment=%q: this host has no pool of it: add --ipam-driver fairway --ipam-opt segment=%s", segment, segment)
		}
		if s.VNI != 0 {
			return s, s.agrees(want)
		}
		if want.VNI == 0 {
			vni = nextVNI(segment, vni)
		}
		s.VNI, s.Port, s.Options = vni, want.Port, want.Options
		if s.Port == 0 {
			s.Port = DefaultPort
		}
		ok, err := c.commit(ctx, []clientv3.Cmp{same, c.absent(vniKey(vni))}, []clientv3.Op{
			clientv3.OpPut(c.key(segmentKey(segment)), string(s.encode())),
			clientv3.OpPut(c.key(vniKey(vni)), segment),
		}, clientv3.OpGet(c.key(segmentKey(segment))))
		if err != nil {
			return Segment{}, wrap(err, "settle segment %s", segment)
		}
		if ok {
			return s, nil
		}
		c.mu.Lock()
		stays := c.view.segments[segment].VNI == 0 && c.view.entries[segmentKey(segment)].Revision == revision
		c.mu.Unlock()
		if stays && want.VNI != 0 {
			return Segment{}, fmt.Errorf("option vni=\"%d\": another segment has it; leave it out to get a free one", want.VNI)
		}
	}
	return Segment{}, wrap(errBusy, "settle segment %s", segment)
}

// agrees says what of want isn't as the segment has it.
func (s Segment) agrees(want Settings) error {
	if want.VNI != 0 && want.VNI != s.VNI {
		return fmt.Errorf("option vni=\"%d\": segment %s has %d on all hosts", want.VNI, s.Name, s.VNI)
	}
	if want.Port != 0 && want.Port != s.Port {
		return fmt.Errorf("option port=\"%d\": segment %s has %d on all hosts", want.Port, s.Name, s.Port)
	}
	for _, k := range slices.Sorted(maps.Keys(want.Options)) {
		if has := cmp.Or(s.Options[k], "false"); has != want.Options[k] {
			return fmt.Errorf("option %s=%q: segment %s has %q on all hosts", k, want.Options[k], s.Name, has)
		}
	}
	return nil
}

// nextVNI returns the VNI to try after last; 0: none was tried.
func nextVNI(segment string, last uint32) uint32 {
	if last == 0 {
		sum := sha256.Sum256([]byte("fairway vni\x00" + segment))
		last = binary.BigEndian.Uint32(sum[:])
	}
	return firstVNI | (last+1)%firstVNI
}
