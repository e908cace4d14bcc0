package nftables

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// able returns what of marks the kernel can use: all, or not Carry where it has no
// nft_socket; and an error that says why it can't hold our table.
func able(marks nat.Marks) (nat.Marks, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return marks, fmt.Errorf("nftables: uname: %w", err)
	}
	var major, minor int
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err == nil && (major < 5 || major == 5 && minor < 7) {
		// Before, postrouting doesn't know by which link a packet came in.
		return marks, fmt.Errorf("nftables: Linux %s: want 5.7 or later", release)
	}
	err := try(marks)
	if err == nil {
		return marks, nil
	}
	marks.Carry = 0
	if try(marks) == nil {
		return marks, nil
	}
	return marks, err
}

// try makes a table like ours under another name and deletes it in the same
// transaction.
func try(marks nat.Marks) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	probe := &nftables.Table{Name: tableName + "-probe", Family: nftables.TableFamilyINet}
	conn.AddTable(probe)
	err = sendTable(conn, probe, slices.Concat(chains(marks), need{internal: true, carried: marks.Carry != 0}.chains(marks)), nil, "probe")
	if err == nil {
		conn.DelTable(probe)
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("nftables: the kernel takes no such table: %w", err)
	}
	return nil
}

// Drop removes the table, if it is there, in favour of another firewall. A
// kernel without nftables has none.
func Drop() error {
	s, err := dialLasting()
	if err != nil {
		return err
	}
	defer s.CloseLasting()
	err = s.transact(delTable(inetTable()))
	for _, none := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL, unix.EPROTONOSUPPORT} {
		if errors.Is(err, none) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("nftables: remove table inet %s: %w", tableName, err)
	}
	return nil
}
