package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// filled returns the directory of a closed store whose file has branch pages,
// pages that go on over others, inline buckets and a free list. The file is cut
// to the pages that were used.
func filled(t testing.TB) (dir string, file []byte) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var changes []Change
	for n := range 60 {
		changes = append(changes, sample(n)[:2]...)
	}
	large := Network{ID: "large", Options: map[string]string{"routes": strings.Repeat("x", 9000)}}
	for _, c := range [][]Change{changes, {PutNetwork(large), DeleteEndpoint("none")}, {DeleteNetwork(changes[0].key)}, sample(99)[2:]} {
		if err := s.Commit(t.Context(), c...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newestMeta(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return dir, b[:m.pages*uint64(m.pageSize)]
}

// onMetas changes both meta pages and makes their checksums right again.
func onMetas(file []byte, change func(meta []byte)) {
	for page := 0; page < 2; page++ {
		m := file[page*os.Getpagesize()+pageHeaderSize:][:metaSize]
		change(m)
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		native.PutUint64(m[metaSize-8:], sum.Sum64())
	}
}

// edit changes a store by bbolt.
func edit(t *testing.T, path string, change func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	src, good := filled(t)
	page := os.Getpagesize()
	rootOf := func(file []byte) []byte { // the page of the root bucket
		m, err := newestMeta(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		return file[m.root*uint64(page):]
	}
	branch := func(file []byte) []byte { // a branch page that is in use
		r := bytes.NewReader(file)
		m, err := newestMeta(r, r.Size())
		v := verifier{r: r, meta: m, used: map[uint64]bool{}}
		if err != nil || v.subtree(m.root, 0, keyRange{}) != nil {
			t.Fatal("the file to damage is damaged")
		}
		for id := range v.used {
			if p := file[id*uint64(page):]; native.Uint16(p[8:]) == branchPage {
				return p
			}
		}
		t.Fatal("no branch page")
		return nil
	}
	random := rand.NewChaCha8([32]byte{})
	noise := make([]byte, 3*page)
	random.Read(noise)

	for _, c := range []struct {
		name   string
		damage func(file []byte) []byte // of the file's bytes, or
		edit   func(tx *bolt.Tx) error  // by bbolt
		want   error
		says   string
	}{
		{name: "empty", damage: func([]byte) []byte { return nil }, want: ErrDamaged},
		{name: "one byte", damage: func(b []byte) []byte { return b[:1] }, want: ErrDamaged},
		{name: "text", damage: func([]byte) []byte { return []byte("networks: []\n") }, want: ErrDamaged},
		{name: "zeros", damage: func(b []byte) []byte { return make([]byte, len(b)) }, want: ErrDamaged},
		{name: "noise", damage: func([]byte) []byte { return noise }, want: ErrDamaged},
		{name: "only metas", damage: func(b []byte) []byte { return b[:2*page] }, want: ErrDamaged, says: "of"},
		{name: "cut in half", damage: func(b []byte) []byte { return b[:len(b)/2] }, want: ErrDamaged, says: "it has"},
		{name: "last byte missing", damage: func(b []byte) []byte { return b[:len(b)-1] }, want: ErrDamaged},
		{name: "both metas torn", damage: func(b []byte) []byte { b[page-4050]++; b[2*page-4050]++; return b }, want: ErrDamaged},
		{name: "root page zeroed", damage: func(b []byte) []byte { clear(rootOf(b)[:page]); return b }, want: ErrDamaged},
		{name: "all data pages zeroed", damage: func(b []byte) []byte { clear(b[2*page:]); return b }, want: ErrDamaged},
		{name: "root beyond the end", damage: func(b []byte) []byte {
			onMetas(b, func(m []byte) { native.PutUint64(m[16:], 1<<40) })
			return b
		}, want: ErrDamaged},
		{name: "root is a meta page", damage: func(b []byte) []byte {
			onMetas(b, func(m []byte) { native.PutUint64(m[16:], 0) })
			return b
		}, want: ErrDamaged},
		{name: "free list is the root", damage: func(b []byte) []byte {
			onMetas(b, func(m []byte) { native.PutUint64(m[32:], native.Uint64(m[16:])) })
			return b
		}, want: ErrDamaged, says: "twice"},
		{name: "a page is its own child", damage: func(b []byte) []byte {
			root := rootOf(b)
			id := native.Uint64(root)
			native.PutUint16(root[8:], branchPage)
			native.PutUint16(root[10:], 1)
			native.PutUint32(root[16:], 16)
			native.PutUint32(root[20:], 1)
			native.PutUint64(root[24:], id)
			return b
		}, want: ErrDamaged, says: "twice"},
		{name: "key longer than the page", damage: func(b []byte) []byte {
			native.PutUint32(rootOf(b)[pageHeaderSize+8:], 1<<31)
			return b
		}, want: ErrDamaged, says: "outside"},
		{name: "page counts 65535 elements", damage: func(b []byte) []byte { native.PutUint16(rootOf(b)[10:], 0xFFFF); return b }, want: ErrDamaged},
		{name: "overflow past the end", damage: func(b []byte) []byte { native.PutUint32(rootOf(b)[12:], 1<<30); return b }, want: ErrDamaged},
		{name: "a leaf without keys", damage: func(b []byte) []byte {
			child := native.Uint64(branch(b)[pageHeaderSize+elementSize+8:]) // the second
			native.PutUint16(b[child*uint64(page)+10:], 0)
			return b
		}, want: ErrDamaged, says: "empty"},
		{name: "a branch's key not its child's", damage: func(b []byte) []byte {
			e := branch(b)[pageHeaderSize+elementSize:]
			last := native.Uint32(e) + native.Uint32(e[4:]) - 1
			e[last]--
			return b
		}, want: ErrDamaged, says: "out of order"},
		{name: "newer database format", damage: func(b []byte) []byte {
			onMetas(b, func(m []byte) { native.PutUint32(m[4:], 3) })
			return b
		}, want: ErrNewer, says: "format 3"},
		{name: "every byte of data turned over", damage: func(b []byte) []byte {
			for i := range b[2*page:] {
				b[2*page+i] ^= 0xFF
			}
			return b
		}, want: ErrDamaged},
		{name: "a bit of a value", damage: func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"fairway-local"`), []byte(`"fairway-lokal"`))
		}, want: ErrDamaged, says: "wrong checksum"},

		{name: "another program's", edit: func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(kindMeta)) }, want: ErrDamaged, says: "not a fairway store"},
		{name: "no instance", edit: func(tx *bolt.Tx) error { return tx.Bucket([]byte(kindMeta)).Delete([]byte(metaInstance)) }, want: ErrDamaged, says: "instance"},
		{name: "a kind missing", edit: func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(kindPool)) }, want: ErrDamaged, says: "pools"},
		{name: "a value under another's key", edit: func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(kindNetwork))
			return b.Put([]byte("other"), bytes.Clone(b.Get([]byte("large"))))
		}, want: ErrDamaged, says: `networks "other"`},
		{name: "a value of zeros", edit: func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(kindPool)).Put([]byte("x"), make([]byte, 100))
		}, want: ErrDamaged},
		{name: "an empty value", edit: func(tx *bolt.Tx) error { return tx.Bucket([]byte(kindPool)).Put([]byte("x"), nil) }, want: ErrDamaged},
		{name: "a bucket among records", edit: func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte(kindPool)).CreateBucket([]byte("x"))
			return err
		}, want: ErrDamaged},
		{name: "an unknown kind", edit: func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("policies")); return err }, want: ErrNewer, says: "policies"},
		{name: "a newer schema", edit: func(tx *bolt.Tx) error { return putMeta(tx, metaSchema, currentSchema().version()+1) }, want: ErrNewer, says: "schema 5"},
		{name: "a newer layout of a value", edit: func(tx *bolt.Tx) error {
			v := []byte{codecVersion + 1, 0, 0, 0, 0, '{', '}'}
			binary.LittleEndian.PutUint32(v[1:], checksum(kindPool, "x", v))
			return tx.Bucket([]byte(kindPool)).Put([]byte("x"), v)
		}, want: ErrNewer, says: `pools "x"`},
		{name: "an unknown field", edit: func(tx *bolt.Tx) error {
			v, err := encode(kindPool, "x", map[string]int{"Weight": 1})
			if err != nil {
				return err
			}
			return tx.Bucket([]byte(kindPool)).Put([]byte("x"), v)
		}, want: ErrNewer, says: "Weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			file := bytes.Clone(good)
			if c.damage != nil {
				file = c.damage(file)
			}
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				edit(t, path, c.edit)
			}
			refused(t, dir, c.want, c.says, "no backup")

			backups := filepath.Join(dir, backupDir)
			if err := os.Mkdir(backups, 0o700); err != nil {
				t.Fatal(err)
			}
			newest := filepath.Join(backups, "fairway-20260102T000000.000Z.db")
			copyFile(t, filepath.Join(src, fileName), filepath.Join(backups, "fairway-20260101T000000.000Z.db"))
			copyFile(t, filepath.Join(src, fileName), newest)
			copyFile(t, "/dev/null", filepath.Join(backups, "fairway-20260103T000000.000Z.db"))
			refused(t, dir, c.want, c.says, "newest: "+newest)
		})
	}
}

// refused opens a store that must be refused, in one line that names the file
// and says what is wrong and what to do, and must stay as it is.
func refused(t *testing.T, dir string, want error, says, advice string) {
	t.Helper()
	path := filepath.Join(dir, fileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err == nil {
		s.Close()
		t.Fatal("opened")
	}
	if want == ErrNewer && advice == "no backup" {
		advice = "install the newer fairway"
	}
	for _, part := range []string{"store: " + path + ": ", says, "left as it is", advice} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't say %q", err, part)
		}
	}
	if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v, want %v in one line", err, want)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused file has changed (%v)", err)
	}
}

// A meta page that is not whole is what a crash within a commit leaves: the
// commit before holds.
func TestOpenAfterTornCommit(t *testing.T) {
	_, good := filled(t)
	for page := range 2 {
		dir := t.TempDir()
		file := bytes.Clone(good)
		clear(file[page*os.Getpagesize():][:512])
		if err := os.WriteFile(filepath.Join(dir, fileName), file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		if n := len(mustRecords(t, s).Endpoints); n != 60 {
			t.Errorf("meta %d torn: %d endpoints, want 60", page, n)
		}
		if err := s.Commit(t.Context(), sample(1000)...); err != nil {
			t.Error(err)
		}
	}
}

// The file of a running daemon may be cut short by somebody else: the fault in
// the mapping becomes an error.
func TestFileCutWhileOpen(t *testing.T) {
	dir, _ := filled(t)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Records(); err != nil { // as they were when it was opened
		t.Fatal(err)
	}
	if err := os.Truncate(s.path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Records(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Records: %v, want ErrDamaged", err)
	}
	if err := s.Commit(t.Context(), sample(1)...); !errors.Is(err, ErrDamaged) {
		t.Errorf("Commit: %v, want ErrDamaged", err)
	}
	if _, err := s.Backup(t.Context()); err == nil {
		t.Error("Backup: no error")
	}
}

// Whatever bbolt writes is found whole: a check that is too strict would keep
// a daemon from its records.
func TestVerifyTakesWhatBboltWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, pageSize := range []int{1024, 4096} {
		path := filepath.Join(t.TempDir(), "x.db")
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, PageSize: pageSize, FreelistType: bolt.FreelistMapType})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for i := range 1500 {
			err := db.Update(func(tx *bolt.Tx) error { return scramble(tx, random, i) })
			if err != nil {
				t.Fatal(err)
			}
			if i%10 != 0 {
				continue
			}
			if err := verify(path); err != nil {
				t.Fatalf("pages of %d bytes, transaction %d: %v", pageSize, i, err)
			}
		}
	}
}

// scramble puts and deletes keys of three buckets; these grow and shrink in
// turns, and one is emptied now and then.
func scramble(tx *bolt.Tx, random *rand.Rand, i int) error {
	for range 1 + random.IntN(30) {
		b, err := tx.CreateBucketIfNotExists([]byte{'a' + byte(random.IntN(3))})
		if err != nil {
			return err
		}
		key := []byte(strconv.Itoa(random.IntN(1000)))
		if random.IntN(100) < 40+i/300%2*20 {
			err = b.Put(key, make([]byte, random.IntN(900)*random.IntN(3)))
		} else {
			err = b.Delete(key)
		}
		if err != nil {
			return err
		}
	}
	if b := tx.Bucket([]byte("a")); b != nil && random.IntN(200) == 0 {
		c := b.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.First() {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
	}
	return nil
}
