package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// readTries bounds how often a file is copied anew that a daemon wrote to
// meanwhile.
const readTries = 5

// Read returns what the store in a state directory holds, and its instance, for
// a look from outside: it takes no lock, changes nothing, and a daemon may use
// the directory meanwhile or start to. It reads a copy in memory, so that no
// daemon finds the file in use. The error is an os.ErrNotExist if there is no
// store, an ErrDamaged or an ErrNewer if it isn't good.
func Read(dir string) (r Records, instance string, err error) {
	path := filepath.Join(dir, fileName)
	for range readTries {
		if r, instance, err = readCopy(path); err == nil || !errors.Is(err, ErrDamaged) {
			break
		}
	}
	if err != nil {
		return Records{}, "", fmt.Errorf("store: %s: %w", path, err)
	}
	return r, instance, nil
}

func readCopy(path string) (r Records, instance string, err error) {
	from, err := os.Open(path)
	if err != nil {
		return r, "", err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate(fileName, unix.MFD_CLOEXEC)
	if err != nil {
		return r, "", fmt.Errorf("copy: %w", err)
	}
	to := os.NewFile(uintptr(fd), fileName)
	defer to.Close()
	if _, err = io.Copy(to, from); err != nil {
		return r, "", fmt.Errorf("copy: %w", err)
	}
	copied := "/proc/self/fd/" + strconv.Itoa(fd)
	if err = verify(copied); err != nil {
		return r, "", err
	}
	err = contain(func() error {
		db, err := bolt.Open(copied, 0o600, &bolt.Options{ReadOnly: true, NoStatistics: true})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(tx *bolt.Tx) error {
			var schema int
			if err := getMeta(tx, metaSchema, &schema); err != nil {
				return err
			}
			if known := currentSchema().version(); schema != known {
				return newer("schema %d, and %d is known", schema, known)
			}
			if err := getMeta(tx, metaInstance, &instance); err != nil {
				return err
			}
			r, err = readRecords(tx)
			return err
		})
	})
	return r, instance, err
}

// NewestBackup returns the path of the newest backup in a state directory; "" if
// there is none.
func NewestBackup(dir string) string {
	return (&Store{path: filepath.Join(dir, fileName)}).newestBackup()
}

// File returns the path of the records in a state directory.
func File(dir string) string { return filepath.Join(dir, fileName) }
