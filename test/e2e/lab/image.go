package lab

import (
	"archive/tar"
	"os"
	"path/filepath"
)

// Image is the name of the image that every engine has: busybox, linked under
// the names that tests use, and the probe. ExposingImage is the same and
// exposes 80/tcp and 53/udp.
const (
	Image         = "lab"
	ExposingImage = "lab-exposing"
)

// makeImage writes the image's file tree. docker import takes it as it is, so
// no registry is asked.
func (t *Tools) makeImage(e Engine) (err error) {
	f, err := os.Create(filepath.Join(t.bin(), "image.tar"))
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for name, source := range map[string]string{
		"bin/busybox": filepath.Join(e.Root, "usr/bin/busybox"),
		"bin/probe":   filepath.Join(t.bin(), "probe"),
	} {
		if err = addFile(w, name, source); err != nil {
			return err
		}
	}
	for _, link := range []string{"sh", "ip", "ping", "ping6", "nslookup", "cat", "sleep", "arping", "hostname", "ls"} {
		if err = w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeSymlink, Name: "bin/" + link, Linkname: "busybox", Mode: 0o777,
		}); err != nil {
			return err
		}
	}
	if err = w.Close(); err != nil {
		return err
	}
	return f.Close()
}

func addFile(w *tar.Writer, name, source string) error {
	b, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
