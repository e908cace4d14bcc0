//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A floor is what durability costs on this disk without fairway.
type floor struct {
	f   *os.File
	db  *bolt.DB
	n   int
	key []byte
}

const (
	recordSize = 600     // bytes: about an endpoint's record
	fileSize   = 1 << 20 // bytes: of the file that is overwritten
)

func newFloor(b *testing.B) *floor {
	dir := filepath.Join(world.dir, "floor")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err == nil {
		_, err = f.Write(make([]byte, fileSize))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(dir, "bolt"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close(); db.Close() })
	fl := &floor{f: f, db: db, key: []byte("endpoint")}
	err = db.Update(func(tx *bolt.Tx) error {
		k, err := tx.CreateBucketIfNotExists(fl.key)
		for i := 0; i < 1000 && err == nil; i++ {
			err = k.Put([]byte(newID()), make([]byte, recordSize))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return fl
}

// sync overwrites a page of a file and waits for the disk.
func (f *floor) sync(b *testing.B) time.Duration {
	f.n++
	page := make([]byte, 4096)
	copy(page, fmt.Sprint(f.n))
	start := time.Now()
	_, err := f.f.WriteAt(page, int64(f.n*len(page)%fileSize))
	if err == nil {
		err = unix.Fdatasync(int(f.f.Fd()))
	}
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// commit puts one record into a bbolt file of a thousand.
func (f *floor) commit(b *testing.B) time.Duration {
	key, value := []byte(newID()), make([]byte, recordSize)
	start := time.Now()
	err := f.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(f.key).Put(key, value) })
	took := time.Since(start)
	if err == nil { // so that the file doesn't grow
		err = f.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(f.key).Delete(key) })
	}
	if err != nil {
		b.Fatal(err)
	}
	return took
}
