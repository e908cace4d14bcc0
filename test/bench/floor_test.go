//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A floor is what an attach's parts cost without fairway: durability on this
// disk, and a pair of links in this kernel.
type floor struct {
	f      *os.File
	db     *bolt.DB
	n      int
	key    []byte
	links  *netlink.Handle
	bridge int
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
	fl.openLinks(b)
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

// openLinks makes a bridge in a network namespace of its own.
func (f *floor) openLinks(b *testing.B) {
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the namespace
		var err error
		if f.links, err = newNamespace(); err == nil {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "bridge"
			err = f.links.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
		}
		if err == nil {
			var l netlink.Link
			if l, err = f.links.LinkByName("bridge"); err == nil {
				f.bridge, err = l.Attrs().Index, f.links.LinkSetUp(l)
			}
		}
		made <- err
	}()
	if err := <-made; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(f.links.Close)
}

// link makes a veth pair of one queue with an end on the bridge, as the netlink
// library does it (make, look up, put on the bridge), and removes it.
func (f *floor) link(b *testing.B) time.Duration {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.NumTxQueues, attrs.NumRxQueues = "outer", f.bridge, 1, 1
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "inner", PeerNumTxQueues: 1, PeerNumRxQueues: 1}
	start := time.Now()
	err := f.links.LinkAdd(veth)
	took := time.Since(start)
	if err == nil {
		err = f.links.LinkDel(veth)
	}
	if err != nil {
		b.Fatal(err)
	}
	return took
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
