//go:build vm

package vm

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A cpioWriter writes an archive as the kernel unpacks it into its first file
// system: format "newc", Documentation/driver-api/early-userspace/buffer-format.rst.
type cpioWriter struct {
	w     *bufio.Writer
	inode int
	err   error
}

func newCpioWriter(w io.Writer) *cpioWriter { return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20)} }

// entry adds a file of a type and permissions (st_mode of inode(7)).
func (c *cpioWriter) entry(name string, mode uint32, content []byte) {
	c.device(name, mode, 0, 0, content)
}

func (c *cpioWriter) device(name string, mode uint32, major, minor int, content []byte) {
	if c.err != nil {
		return
	}
	c.inode++
	_, c.err = fmt.Fprintf(c.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	c.pad(110 + len(name) + 1)
	if c.err == nil {
		_, c.err = c.w.Write(content)
	}
	c.pad(len(content))
}

// pad fills up to four bytes.
func (c *cpioWriter) pad(n int) {
	for ; c.err == nil && n%4 != 0; n++ {
		c.err = c.w.WriteByte(0)
	}
}

// tree adds the directory dir and what is in it as name, "" for the root, but for
// what is left.
func (c *cpioWriter) tree(dir, name string, left ...string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(left, rel) {
			return fs.SkipDir
		}
		rel = filepath.Join(name, rel)
		if rel == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := uint32(info.Mode().Perm())
		var content []byte
		switch info.Mode().Type() {
		case fs.ModeDir:
			mode |= 0o040000
		case fs.ModeSymlink:
			mode |= 0o120000
			var to string
			to, err = os.Readlink(path)
			content = []byte(to)
		case 0:
			mode |= 0o100000
			content, err = os.ReadFile(path)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		c.entry(rel, mode, content)
		return c.err
	})
}

func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, nil)
	if c.err != nil {
		return c.err
	}
	return c.w.Flush()
}
