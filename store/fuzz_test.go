package store

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzOpen opens files with some bytes changed and cut somewhere. A file that is
// refused must stay as it is; one that is taken must serve: everything in it can
// be read and written.
func FuzzOpen(f *testing.F) {
	_, good := filled(f)
	page := uint32(os.Getpagesize())
	f.Add(uint32(0), []byte{}, uint32(len(good)), false)
	f.Add(uint32(0), []byte{}, uint32(len(good)/2), false)
	for at := uint32(0); at < uint32(len(good)); at += page {
		f.Add(at, []byte{0xFF}, uint32(len(good)), true)
		f.Add(at+8, []byte{1, 0, 3, 0}, uint32(len(good)), true)
		f.Add(at+16, []byte{0, 0, 0, 0, 9}, uint32(len(good)), true)
		f.Add(at+32, bytes.Repeat([]byte{7, 0}, 40), uint32(len(good)), true)
	}
	f.Fuzz(func(t *testing.T, at uint32, change []byte, size uint32, rightSums bool) {
		file := bytes.Clone(good)
		copy(file[min(at, uint32(len(file))):], change)
		if rightSums {
			onMetas(file, func([]byte) {})
		}
		file = file[:min(size, uint32(len(file)))]
		dir := t.TempDir()
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{})
		if err != nil {
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(file, after) {
				t.Fatalf("the refused file has changed (%v)", err)
			}
			return
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := verify(path); err != nil {
				t.Errorf("after use: %v", err)
			}
		}()
		want := mustRecords(t, s)
		var del []Change
		for id := range want.Endpoints {
			del = append(del, DeleteEndpoint(id))
		}
		for _, changes := range [][]Change{sample(1), sample(2000), del} {
			want.Apply(changes...)
			if err := s.Commit(t.Context(), changes...); err != nil {
				t.Fatal(err)
			}
		}
		if d := diff(want, mustRecords(t, s)); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// FuzzDecode decodes any bytes with a right checksum: what is taken must encode
// to a value that decodes to the same record.
func FuzzDecode(f *testing.F) {
	for _, c := range sample(1) {
		v, err := encode(c.kind, c.key, c.record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(c.kind), v)
	}
	f.Add("networks", []byte{1, 0, 0, 0, 0, '{', '}', '{', '}'})
	f.Add("pools", []byte{1})
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		k, key := kind(name), "key"
		if len(value) >= valueHeader {
			if NewRecords().add(k, key, value) == nil && binary.LittleEndian.Uint32(value[1:]) != checksum(k, key, value) {
				t.Fatal("a value with a wrong checksum is taken")
			}
			binary.LittleEndian.PutUint32(value[1:], checksum(k, key, value))
		}
		first, second := NewRecords(), NewRecords()
		if first.add(k, key, value) != nil {
			return
		}
		var record any
		for _, m := range []any{first.Networks, first.Endpoints, first.Pools, first.Addresses} {
			if v := reflect.ValueOf(m).MapIndex(reflect.ValueOf(key)); v.IsValid() {
				record = v.Interface()
			}
		}
		again, err := encode(k, key, record)
		if err != nil {
			t.Fatalf("%+v was taken but not encoded: %v", record, err)
		}
		if err := second.add(k, key, again); err != nil {
			t.Fatalf("%+v: %v", record, err)
		}
		if d := diff(first, second); d != "" {
			t.Errorf("-first +second\n%s", d)
		}
	})
}
