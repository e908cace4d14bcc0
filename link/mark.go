package link

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// Mark returns the alias that says whose a link is: the instance of fairway
// (store.Store.Instance) that made it, the network or endpoint it is for, and,
// once known, the container's name.
func Mark(instance, id, container string) string {
	m := "fairway:" + instance + ":" + id
	if container != "" {
		m += ":" + container
	}
	return m
}

// Marked reports whether alias is a mark of this instance.
func Marked(alias, instance string) bool {
	return strings.HasPrefix(alias, "fairway:"+instance+":")
}

// owner returns the part of a mark that doesn't change: all but the container's
// name.
func owner(alias string) string {
	if f := strings.SplitN(alias, ":", 4); len(f) == 4 {
		return strings.Join(f[:3], ":")
	}
	return alias
}

// marks are how an instance knows its links.
type marks struct {
	instance string
	// group is given to a link when it is made, since an alias can only be
	// given afterwards: a link that was left without one in a crash is known by
	// it. It is a number that nobody would choose by hand.
	group uint32
}

func newMarks(instance string) marks {
	sum := sha256.Sum256([]byte("fairway:" + instance))
	// Groups are signed in the kernel. An even number: see Conn.graveGroup.
	return marks{instance, binary.BigEndian.Uint32(sum[:])&0x3ffffffe | 0x40000000}
}

// Group returns the group that an instance's links are made with: a moment later
// they have its mark, too.
func Group(instance string) uint32 { return newMarks(instance).group }

// ours reports whether a link belongs to the instance: it has its mark or, its
// alias being lost or changed, its group.
func (m marks) ours(l linkState) bool {
	return Marked(l.alias, m.instance) || l.group&^1 == m.group && !strings.HasPrefix(l.alias, "fairway:")
}

// isFor reports whether a link of ours is for what a mark says. One that has
// lost its mark is for whatever wants it.
func (m marks) isFor(l linkState, mark string) bool {
	return !Marked(l.alias, m.instance) || owner(l.alias) == owner(mark)
}
