package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Flags of a table (linux/netfilter/nf_tables.h). An owned one can be changed
// by just the socket that made it, or adopted it, and others' flush ruleset
// leaves it out. One that persists stays when that socket is closed; then it is
// an orphan: everybody may change it, and the first who says so adopts it.
const (
	flagOwner   = 1 << 1 // Linux 5.12
	flagPersist = 1 << 2 // Linux 6.9
	flagsOurs   = flagOwner | flagPersist
)

// canOwn reports whether the kernel knows tables that are owned and persist: it
// makes one and deletes it in the same transaction.
func (s *socket) canOwn() (bool, error) {
	probe := &nftables.Table{Name: tableName + "-probe", Family: nftables.TableFamilyINet}
	err := s.transact(newTable(probe, flagsOurs), delTable(probe))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("nftables: ask for owned tables: %w", err)
	}
	return true, nil
}

// adopt makes the socket the owner of a table that there is; one that another
// owns stays with it.
func (f *Firewall) adopt(s *socket) error {
	if !f.owned || s.owns {
		return nil
	}
	err := s.transact(newTable(f.table, flagsOurs))
	switch {
	case err == nil:
		s.owns = true
	case errors.Is(err, unix.EPERM):
		f.opts.Log.Warn("nftables: table inet " + tableName + " is owned by another process: is there a second fairway?")
	default:
		return fmt.Errorf("nftables: adopt table inet %s: %w", tableName, err)
	}
	return nil
}

// make makes an empty table that the socket owns. What there is in its place
// was made by an older fairway or kernel, and can't be adopted.
func (f *Firewall) make(s *socket, replace bool) error {
	messages := []netlink.Message{newTable(f.table, flagsOurs)}
	if replace {
		messages = append([]netlink.Message{delTable(f.table)}, messages...)
	}
	if err := s.transact(messages...); err != nil {
		return fmt.Errorf("nftables: make table inet %s: %w", tableName, err)
	}
	s.owns = true
	return nil
}

// sendEmptied takes all out of a table: to delete it would end its ownership.
// What refers to others goes before them.
func sendEmptied(s *socket, table *nftables.Table, have content) {
	s.FlushTable(table)
	for _, name := range slices.Sorted(maps.Keys(have.sets)) {
		s.DelSet(&nftables.Set{Table: table, Name: name})
	}
	for _, name := range slices.Sorted(maps.Keys(have.chains)) {
		s.DelChain(&nftables.Chain{Table: table, Name: name})
	}
}

func newTable(t *nftables.Table, flags uint32) netlink.Message {
	return tableMessage(t, unix.NFT_MSG_NEWTABLE, netlink.Create,
		netlink.Attribute{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, flags)})
}

func delTable(t *nftables.Table) netlink.Message { return tableMessage(t, unix.NFT_MSG_DELTABLE, 0) }

func tableMessage(t *nftables.Table, kind int, flags netlink.HeaderFlags, more ...netlink.Attribute) netlink.Message {
	attrs := append([]netlink.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(t.Name), 0)}}, more...)
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		panic(err) // a name that is longer than 64 KiB
	}
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | netlink.Acknowledge | flags,
		},
		Data: append(nfgenmsg(byte(t.Family), 0), data...),
	}
}
