package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
)

// codecVersion is the first byte of each value: the layout below.
const codecVersion = 1

// valueHeader is the length of what stands before the JSON: the version and the
// checksum.
const valueHeader = 1 + 4

// encode returns the value to keep under key of bucket k: codecVersion, a
// CRC-32C in little endian, and record in JSON.
func encode(k kind, key string, record any) ([]byte, error) {
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	value := make([]byte, valueHeader, valueHeader+len(text))
	value[0] = codecVersion
	value = append(value, text...)
	binary.LittleEndian.PutUint32(value[1:], checksum(k, key, value))
	return value, nil
}

// decode puts into record what encode made of one.
func decode(k kind, key string, value []byte, record any) error {
	switch {
	case len(value) < valueHeader:
		return damaged("record %s %q: %d bytes", k, key, len(value))
	case binary.LittleEndian.Uint32(value[1:]) != checksum(k, key, value):
		return damaged("record %s %q: wrong checksum", k, key)
	case value[0] > codecVersion:
		return newer("record %s %q: layout %d", k, key, value[0])
	case value[0] < codecVersion:
		return damaged("record %s %q: layout %d", k, key, value[0])
	}
	dec := json.NewDecoder(bytes.NewReader(value[valueHeader:]))
	dec.DisallowUnknownFields()
	// The checksum is right, so a fairway has written this: one that knows more.
	if err := dec.Decode(record); err != nil {
		return newer("record %s %q: %w", k, key, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return newer("record %s %q: more than one value", k, key)
	}
	return nil
}

// checksum covers a value but for the checksum in it, and where it stands, so
// that a value under another's key is found.
func checksum(k kind, key string, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, fmt.Appendf(nil, "%s\x00%s\x00", k, key))
	sum = crc32.Update(sum, table, value[:1])
	return crc32.Update(sum, table, value[valueHeader:])
}

// add decodes a value and puts it under its key.
func (r Records) add(k kind, key string, value []byte) error {
	switch k {
	case kindNetwork:
		return add(r.Networks, k, key, value)
	case kindEndpoint:
		return add(r.Endpoints, k, key, value)
	case kindPool:
		return add(r.Pools, k, key, value)
	case kindAddress:
		return add(r.Addresses, k, key, value)
	case kindLivePorts:
		return add(r.LivePorts, k, key, value)
	case kindLease:
		return add(r.Leases, k, key, value)
	case kindCluster:
		return add(r.Cluster, k, key, value)
	}
	return newer("records of kind %q", k)
}

func add[T any](records map[string]T, k kind, key string, value []byte) error {
	var record T
	if err := decode(k, key, value, &record); err != nil {
		return err
	}
	records[key] = record
	return nil
}
