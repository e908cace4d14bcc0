package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// verify reads a bbolt file page by page and returns an ErrDamaged if bbolt
// could stumble over it. It has to come before bbolt opens the file, and bbolt's
// own Check can't take its place: that runs in a goroutine of its own, where
// neither a panic over a page beyond the end (a fault in the mapping) nor the
// endless recursion over a page that is its own child can be caught.
//
// Pages that are neither used nor free are passed over: they cost their space,
// nothing else. The layout is that of bbolt's internal/common: meta.go, page.go,
// inode.go, bucket.go; numbers are in the machine's byte order.
func verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	meta, err := newestMeta(f, info.Size())
	if err != nil {
		return err
	}
	if need := int64(meta.pages) * meta.pageSize; meta.pages > uint64(info.Size()/meta.pageSize) {
		return damaged("it has %d of %d bytes", info.Size(), need)
	}
	v := verifier{r: f, meta: meta, used: map[uint64]bool{0: true, 1: true}}
	if err := v.subtree(meta.root, 0, keyRange{}); err != nil {
		return err
	}
	return v.freelist()
}

const (
	noFreelist = ^uint64(0)

	pageHeaderSize = 16
	elementSize    = 16
	maxDepth       = 64 // branch pages on the way down; a tree of 4 KiB pages has 5 at 10^9 keys
)

// Flags of a page and of an element of a leaf.
const (
	branchPage    = 0x01
	leafPage      = 0x02
	freelistPage  = 0x10
	bucketElement = 0x01
)

// A verifier walks the pages of one file.
type verifier struct {
	r    io.ReaderAt
	meta meta
	used map[uint64]bool // pages that were met
}

// A keyRange is where the keys of a subtree lie: its first is from, and all are
// before to. Both are nil at the page that a bucket begins with.
type keyRange struct {
	from, to []byte
}

// has reports whether key may be the i-th of the subtree, where that before it
// was last. A first key other than the parent's would pass bbolt's own check,
// but bbolt looks the parent's entry up by it.
func (r keyRange) has(i int, key, last []byte) bool {
	switch {
	case len(key) == 0 || r.to != nil && bytes.Compare(key, r.to) >= 0:
		return false
	case i == 0:
		return r.from == nil || bytes.Equal(key, r.from)
	}
	return bytes.Compare(key, last) > 0
}

// subtree checks the page and all below it.
func (v *verifier) subtree(id uint64, depth int, within keyRange) error {
	if depth > maxDepth {
		return damaged("page %d: more than %d pages deep", id, maxDepth)
	}
	page, err := v.page(id)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) == branchPage {
		return v.branch(id, page, depth, within)
	}
	return v.leaf(fmt.Sprintf("page %d", id), page, depth, within)
}

// page reads a page with those that continue it and marks them as used.
func (v *verifier) page(id uint64) ([]byte, error) {
	if id < 2 || id >= v.meta.pages {
		return nil, damaged("page %d of %d", id, v.meta.pages)
	}
	var header [pageHeaderSize]byte
	if _, err := v.r.ReadAt(header[:], int64(id)*v.meta.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	n := uint64(native.Uint32(header[12:])) + 1
	if native.Uint64(header[:]) != id || n > v.meta.pages-id {
		return nil, damaged("page %d: not a page", id)
	}
	for i := range n {
		if v.used[id+i] {
			return nil, damaged("page %d: used twice", id+i)
		}
		v.used[id+i] = true
	}
	page := make([]byte, int64(n)*v.meta.pageSize)
	if _, err := v.r.ReadAt(page, int64(id)*v.meta.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

func (v *verifier) branch(id uint64, page []byte, depth int, within keyRange) error {
	elements, err := elementsOf(page)
	if err != nil || len(elements) == 0 {
		return damaged("page %d: no elements", id)
	}
	keys := make([][]byte, len(elements)+1)
	keys[len(elements)] = within.to
	for i, e := range elements {
		if keys[i], err = e.bytes(native.Uint32(e.head), 0, native.Uint32(e.head[4:])); err != nil {
			return damaged("page %d: element %d: %w", id, i, err)
		}
		if !within.has(i, keys[i], keys[max(0, i-1)]) {
			return damaged("page %d: key %d out of order", id, i)
		}
	}
	for i, e := range elements {
		if err := v.subtree(native.Uint64(e.head[8:]), depth+1, keyRange{keys[i], keys[i+1]}); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a page of keys and values, which may be one inside of a value.
func (v *verifier) leaf(name string, page []byte, depth int, within keyRange) error {
	elements, err := elementsOf(page)
	if err != nil || native.Uint16(page[8:]) != leafPage {
		return damaged("%s: not a leaf", name)
	}
	if len(elements) == 0 && within.from != nil { // a bucket may be empty, its further pages not
		return damaged("%s: empty", name)
	}
	var last []byte
	for i, e := range elements {
		flags, pos := native.Uint32(e.head), native.Uint32(e.head[4:])
		keyLen, valueLen := native.Uint32(e.head[8:]), native.Uint32(e.head[12:])
		key, err := e.bytes(pos, 0, keyLen)
		if err != nil {
			return damaged("%s: element %d: %w", name, i, err)
		}
		value, err := e.bytes(pos, keyLen, valueLen)
		if err != nil {
			return damaged("%s: element %d: %w", name, i, err)
		}
		if !within.has(i, key, last) {
			return damaged("%s: key %d out of order", name, i)
		}
		last = key
		if flags&bucketElement == 0 {
			continue
		}
		if err := v.bucket(fmt.Sprintf("%s: bucket %q", name, key), value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the value that stands for a bucket: its root page and sequence,
// and the page itself if there is room for it (the root is then 0).
func (v *verifier) bucket(name string, value []byte, depth int) error {
	const header = 16
	if len(value) < header || depth > maxDepth {
		return damaged("%s: not a bucket", name)
	}
	if root := native.Uint64(value); root != 0 {
		return v.subtree(root, depth, keyRange{})
	}
	if len(value) < header+pageHeaderSize {
		return damaged("%s: not a bucket", name)
	}
	return v.leaf(name, value[header:], depth, keyRange{})
}

// An element is one key of a page.
type element struct {
	head []byte // elementSize bytes
	rest []byte // the page from the element on: what its position counts from
}

func elementsOf(page []byte) ([]element, error) {
	n := int(native.Uint16(page[10:]))
	if pageHeaderSize+n*elementSize > len(page) {
		return nil, damaged("%d elements", n)
	}
	elements := make([]element, n)
	for i := range elements {
		rest := page[pageHeaderSize+i*elementSize:]
		elements[i] = element{rest[:elementSize], rest}
	}
	return elements, nil
}

// bytes returns the n bytes at pos+skip, if the page holds them.
func (e element) bytes(pos, skip, n uint32) ([]byte, error) {
	from := uint64(pos) + uint64(skip)
	if pos < elementSize || from+uint64(n) > uint64(len(e.rest)) {
		return nil, damaged("outside of the page")
	}
	return e.rest[from : from+uint64(n)], nil
}

// freelist checks the list of pages that may be written: one that is in use
// would be written over by the next commits.
func (v *verifier) freelist() error {
	if v.meta.freelist == noFreelist {
		return nil
	}
	page, err := v.page(v.meta.freelist)
	if err != nil {
		return err
	}
	count, ids := uint64(native.Uint16(page[10:])), page[pageHeaderSize:]
	if count == 0xFFFF { // more than the field holds: the first entry is the number
		count, ids = native.Uint64(ids), ids[8:]
	}
	if native.Uint16(page[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return damaged("page %d: not a free list", v.meta.freelist)
	}
	for i := range count {
		id := native.Uint64(ids[i*8:])
		if id < 2 || id >= v.meta.pages || v.used[id] {
			return damaged("page %d: free list entry %d: page %d is used or not there", v.meta.freelist, i, id)
		}
		v.used[id] = true
	}
	return nil
}
