package guard

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Drop removes the table, if it is there: nobody uses it any more. A kernel
// without nftables for bridges has none.
func Drop() error {
	conn, err := dial()
	if err != nil {
		return err
	}
	conn.DelTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge})
	err = conn.Flush()
	for _, none := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT} {
		if errors.Is(err, none) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("guard: remove table bridge %s: %w", tableName, err)
	}
	return nil
}
