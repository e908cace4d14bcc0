package bugreport

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"time"
)

// A Part is a file of a report.
type Part struct {
	Name string // below the report's directory
	What string // one line, for who sends it
	Make func(context.Context) ([]byte, error)
}

// partTime bounds how long one part may take.
const partTime = 20 * time.Second

// Pack writes the parts as a tar archive, compressed by gzip, of one directory.
// Text of every part goes through clean. A part that can't be made is there as an
// empty file, and why is said in a file of its own.
func Pack(ctx context.Context, w io.Writer, dir string, at time.Time, parts []Part, clean func([]byte) []byte) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	add := func(name string, text []byte) error {
		text = clean(text)
		err := archive.WriteHeader(&tar.Header{Name: dir + "/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: at, Format: tar.FormatPAX})
		if err == nil {
			_, err = archive.Write(text)
		}
		return err
	}
	for _, p := range parts {
		text, err := made(ctx, p)
		if err != nil {
			if err := add(p.Name+".error", []byte(err.Error()+"\n")); err != nil {
				return fmt.Errorf("bugreport: write: %w", err)
			}
		}
		if err := add(p.Name, text); err != nil {
			return fmt.Errorf("bugreport: write: %w", err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("bugreport: write: %w", err)
	}
	if err := zipped.Close(); err != nil {
		return fmt.Errorf("bugreport: write: %w", err)
	}
	return nil
}

func made(ctx context.Context, p Part) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	return p.Make(ctx)
}
