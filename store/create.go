package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// initialSize is the size of a new file in bytes: room for about 2,000
// endpoints. It is written with zeros, because a commit into blocks that the
// file system has yet to allocate takes longer (here, ext4: p95 by 15 %).
const initialSize = 4 << 20

// create makes an empty store at path, whole or not at all.
func create(path string, want *schema) error {
	partial := path + ".new"
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := contain(func() error { return fill(partial, want) })
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		os.Remove(partial)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func fill(path string, want *schema) error {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := extend(path, initialSize); err != nil { // before bbolt does, which leaves holes
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, k := range append(kinds(), kindMeta) {
			if _, err := tx.CreateBucket([]byte(k)); err != nil {
				return err
			}
		}
		if err := putMeta(tx, metaSchema, want.version()); err != nil {
			return err
		}
		id := make([]byte, 4)
		rand.Read(id)
		return putMeta(tx, metaInstance, hex.EncodeToString(id))
	})
	if err != nil {
		return err
	}
	return db.Close()
}

// extend writes zeros behind the end of the file until it has size bytes.
func extend(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		_, err = f.WriteAt(make([]byte, size-info.Size()), info.Size())
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}
