package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A Dump is all records of a file, as JSON.
type Dump struct {
	Version  int    `json:"version"` // of this form: 1
	Schema   int    `json:"schema"`  // of the records
	Instance string `json:"instance"`
	// Records are by kind and key.
	Records map[string]map[string]json.RawMessage `json:"records"`
}

// dumpVersion is the form of a Dump that this version reads and writes.
const dumpVersion = 1

// Count returns how many records of a kind there are.
func (d Dump) Count(kind string) int { return len(d.Records[kind]) }

// Kinds returns the kinds of records, in a fixed order.
func Kinds() (names []string) {
	for _, k := range kinds() {
		names = append(names, string(k))
	}
	return names
}

// ReadDump reads the file at path, a backup say, without changing it: each page,
// each checksum, and each record of a schema that is the current one. The error
// is an ErrDamaged or an ErrNewer if the file isn't good. A file that a daemon
// has open can't be read.
func ReadDump(path string) (d Dump, err error) {
	if err = verify(path); err == nil {
		err = contain(func() error {
			db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Millisecond, NoStatistics: true})
			if errors.Is(err, bolt.ErrTimeout) {
				return ErrInUse
			}
			if err != nil {
				return err
			}
			defer db.Close()
			return db.View(func(tx *bolt.Tx) error {
				d, err = dump(tx)
				return err
			})
		})
	}
	if err != nil {
		return Dump{}, fmt.Errorf("store: %s: %w", path, err)
	}
	return d, nil
}

func dump(tx *bolt.Tx) (Dump, error) {
	d := Dump{Version: dumpVersion, Records: map[string]map[string]json.RawMessage{}}
	if err := getMeta(tx, metaSchema, &d.Schema); err != nil {
		return d, err
	}
	if err := getMeta(tx, metaInstance, &d.Instance); err != nil {
		return d, err
	}
	switch now := currentSchema().version(); {
	case d.Schema > now:
		return d, newer("schema %d, and %d is known", d.Schema, now)
	case d.Schema == now:
		if _, err := readRecords(tx); err != nil {
			return d, err
		}
	}
	return d, tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		if kind(name) == kindMeta {
			return nil
		}
		records := map[string]json.RawMessage{}
		d.Records[string(name)] = records
		return b.ForEach(func(key, value []byte) error {
			var text json.RawMessage
			if err := decode(kind(name), string(key), value, &text); err != nil {
				return err
			}
			records[string(key)] = text
			return nil
		})
	})
}

// Import makes the file in the state directory dir of what r holds: a Dump in
// JSON, or a copy of a file such as a backup. A file that is there is refused
// unless replace is true; then it goes to the backups. The directory must not be
// in use. The returned path is where the old file went; "" if there was none.
func Import(dir string, r io.Reader, replace bool) (old string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	l, err := lockDir(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	path := filepath.Join(dir, fileName)
	_, err = os.Lstat(path)
	there := err == nil
	if there && !replace {
		return "", fmt.Errorf("store: %s: there are records already", path)
	}
	partial := path + ".import"
	defer os.Remove(partial)
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("store: %w", err)
	}
	if err := importTo(partial, r); err != nil {
		return "", fmt.Errorf("store: import: %w", err)
	}
	if there {
		old = filepath.Join(dir, backupDir, backupPrefix+time.Now().UTC().Format(backupTime)+"-before-import.db")
		if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
			return "", fmt.Errorf("store: %w", err)
		}
		if err := os.Rename(path, old); err != nil {
			return "", fmt.Errorf("store: %w", err)
		}
	}
	if err := os.Rename(partial, path); err != nil {
		return old, fmt.Errorf("store: %w", err)
	}
	return old, syncDir(dir)
}

// importTo makes a whole file of what r holds, and reads it again.
func importTo(path string, r io.Reader) error {
	head := make([]byte, 1)
	if _, err := io.ReadFull(r, head); err != nil {
		return damaged("nothing to read")
	}
	r = io.MultiReader(bytes.NewReader(head), r)
	if head[0] == '{' {
		d, err := parseDump(r)
		if err != nil {
			return err
		}
		if err := fill(path, currentSchema()); err != nil {
			return err
		}
		if err := load(path, d); err != nil {
			return err
		}
	} else if err := writeAll(path, r); err != nil {
		return err
	}
	_, err := ReadDump(path)
	if err != nil { // of a path that nobody knows
		return errors.New(strings.TrimPrefix(err.Error(), "store: "+path+": "))
	}
	return nil
}

func parseDump(r io.Reader) (d Dump, err error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, damaged("%w", err)
	}
	switch now := currentSchema(); {
	case d.Version > dumpVersion || d.Schema > now.version():
		return d, newer("version %d, schema %d", d.Version, d.Schema)
	case d.Version != dumpVersion || d.Schema < now.oldest || len(d.Instance) != 8:
		return d, damaged("version %d, schema %d, instance %q", d.Version, d.Schema, d.Instance)
	}
	return d, nil
}

// load puts a dump into the file at path, which fill has made. It is of an older
// schema then if the dump is: Open brings it up.
func load(path string, d Dump) error {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		for _, k := range kinds() {
			if _, ok := d.Records[string(k)]; !ok {
				if err := tx.DeleteBucket([]byte(k)); err != nil {
					return err
				}
			}
		}
		for name, records := range d.Records {
			if !isKind(kind(name)) {
				return newer("records of kind %q", name)
			}
			for key, text := range records {
				value, err := encode(kind(name), key, text)
				if err != nil {
					return damaged("record %s %q: %w", name, key, err)
				}
				if err := tx.Bucket([]byte(name)).Put([]byte(key), value); err != nil {
					return err
				}
			}
		}
		if err := putMeta(tx, metaInstance, d.Instance); err != nil {
			return err
		}
		return putMeta(tx, metaSchema, d.Schema)
	})
	if err != nil {
		return err
	}
	return db.Close()
}

func writeAll(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return verify(path)
}

// Attached returns how many endpoints are in a sandbox.
func (d Dump) Attached() (n int, err error) {
	for key, text := range d.Records[string(kindEndpoint)] {
		var e struct{ Sandbox string }
		if err := json.Unmarshal(text, &e); err != nil {
			return 0, fmt.Errorf("store: endpoint %q: %w", key, err)
		}
		if e.Sandbox != "" {
			n++
		}
	}
	return n, nil
}

// Remove removes the records in the state directory dir, with their backups. The
// directory must not be in use, and stays.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	l, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer l.release()
	backups := filepath.Join(dir, backupDir)
	names, err := backupsIn(backups)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	for i := range names {
		names[i] = filepath.Join(backups, names[i])
	}
	names = append(names, backups, File(dir)+".new", File(dir), filepath.Join(dir, lockName))
	var errs []error
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("store: %w", err))
		}
	}
	return errors.Join(errs...)
}
