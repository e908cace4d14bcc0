// Package store keeps fairway's records durable on this host. They are always
// the truth for what runs here: everything that fairway puts into the kernel
// can be rebuilt from them.
//
// The state directory holds
//
//	fairway.db   the records, one bbolt file
//	lock         held by the daemon that uses the directory; its pid
//	backup/      copies of fairway.db, see [Store.Backup]
//
// In the file, each kind of record is a bucket, and the bucket "meta" holds the
// version of the schema and the instance's ID. A value is the codec's version,
// a checksum over bucket, key and value, and JSON: bbolt checks neither keys
// nor values.
//
// A change to the fields of a record is a new version of the schema, with a
// migration if old records don't decode into the new form: decoding is strict,
// so that a version that doesn't know a field refuses the file instead of
// dropping the field at its next write.
package store
