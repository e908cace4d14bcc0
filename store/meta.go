package store

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
)

// meta is what the two meta pages of a bbolt file say.
type meta struct {
	pageSize int64  // bytes
	root     uint64 // page of the root bucket
	freelist uint64 // page of the free list, or noFreelist
	pages    uint64 // all pages from here on were never used
	txid     uint64
}

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	metaSize    = 64 // without the page's header
)

var native = binary.NativeEndian

// newestMeta returns the meta page that bbolt would go by: the newer one of
// those that are whole. One that isn't is what a crash in a commit leaves, which
// nobody was told of.
func newestMeta(f io.ReaderAt, size int64) (meta, error) {
	first, err := readMeta(f, 0)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return meta{}, err
	}
	if err == nil {
		second, err := readMeta(f, first.pageSize)
		switch {
		case err != nil && !errors.Is(err, ErrDamaged):
			return meta{}, err
		case err == nil && second.pageSize == first.pageSize && second.txid > first.txid:
			return second, nil
		}
		return first, nil
	}
	// The page size isn't known: bbolt tries the same ones.
	for pageSize := int64(1 << 10); pageSize <= 1<<24 && pageSize < size; pageSize <<= 1 {
		m, err := readMeta(f, pageSize)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return meta{}, err
		}
		if err == nil && m.pageSize == pageSize {
			return m, nil
		}
	}
	return meta{}, damaged("no page at its beginning is a database's")
}

func readMeta(f io.ReaderAt, at int64) (meta, error) {
	var b [pageHeaderSize + metaSize]byte
	if _, err := f.ReadAt(b[:], at); err == io.EOF {
		return meta{}, damaged("it ends before byte %d", at+int64(len(b)))
	} else if err != nil {
		return meta{}, err
	}
	body := b[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(body[:metaSize-8])
	if native.Uint32(body) != boltMagic || native.Uint64(body[metaSize-8:]) != sum.Sum64() {
		return meta{}, damaged("the page at byte %d is not a database's first", at)
	}
	if v := native.Uint32(body[4:]); v != boltVersion {
		return meta{}, newer("database format %d", v)
	}
	m := meta{
		pageSize: int64(native.Uint32(body[8:])),
		root:     native.Uint64(body[16:]),
		freelist: native.Uint64(body[32:]),
		pages:    native.Uint64(body[40:]),
		txid:     native.Uint64(body[48:]),
	}
	if m.pageSize < 1<<10 || m.pageSize > 1<<24 || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, damaged("pages of %d bytes", m.pageSize)
	}
	return m, nil
}
