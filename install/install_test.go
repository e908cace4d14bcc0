package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairway/packaging"
)

func testFiles(t *testing.T, l Layout) []File {
	t.Helper()
	files, err := l.Files(packaging.Files, Parts{Man: map[string][]byte{"fairway.8": []byte("x")}, Bash: []byte("b"), Zsh: []byte("z"), Fish: []byte("f")}, true)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What is written again is nothing; settings that were changed stay; what is
// removed is all but settings, and those with a purge.
func TestWriteAndRemove(t *testing.T) {
	root, l := t.TempDir(), ByHand()
	changed, err := Write(root, testFiles(t, l))
	if err != nil || len(changed) != len(testFiles(t, l)) {
		t.Fatalf("wrote %d of %d, %v", len(changed), len(testFiles(t, l)), err)
	}
	if again, err := Write(root, testFiles(t, l)); err != nil || len(again) > 0 {
		t.Errorf("wrote again: %v, %v", again, err)
	}
	unit, settings := l.Units+"/fairway.service", l.Settings+"/fairway.yaml"
	for _, path := range []string{unit, settings} {
		if err := os.WriteFile(filepath.Join(root, path), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := Write(root, testFiles(t, l)); err != nil || !slices.Equal(again, []string{unit}) {
		t.Errorf("wrote %v, %v: want the unit alone", again, err)
	}
	text, err := os.ReadFile(filepath.Join(root, unit))
	if err != nil || !strings.Contains(string(text), "ExecStart="+l.Program+" daemon") {
		t.Errorf("%v, the unit is\n%s", err, text)
	}
	if text, err = os.ReadFile(filepath.Join(root, settings)); err != nil || string(text) != "mine" {
		t.Errorf("%v, settings %q", err, text)
	}
	program := filepath.Join(root, l.Program)
	if changed, err := Copy(root, l.Program, os.Args[0]); !changed || err != nil {
		t.Errorf("copied %v, %v", changed, err)
	}
	if changed, err := Copy(root, l.Program, os.Args[0]); changed || err != nil {
		t.Errorf("copied again %v, %v", changed, err)
	}
	if info, err := os.Stat(program); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("program: %v, %v", info, err)
	}
	all := append(testFiles(t, l), File{Path: l.Program})
	if _, err := Remove(root, all, false); err != nil {
		t.Fatal(err)
	}
	if got := left(t, root); !slices.Equal(got, []string{"/etc/default/fairway", settings}) {
		t.Errorf("left after a removal: %v", got)
	}
	if _, err := Remove(root, all, true); err != nil {
		t.Fatal(err)
	}
	if got := left(t, root); len(got) > 0 {
		t.Errorf("left after a purge: %v", got)
	}
	for _, dir := range []string{l.Settings, "/etc/NetworkManager", "/usr/local/share/zsh", l.Share} {
		if _, err := os.Stat(filepath.Join(root, dir)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, l.Units)); err != nil {
		t.Error(err)
	}
}

// left lists the files below root.
func left(t *testing.T, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The two layouts have no file in common but settings, so that neither takes the
// other's.
func TestLayoutsApart(t *testing.T) {
	packaged := map[string]bool{}
	for _, f := range testFiles(t, Packaged()) {
		packaged[f.Path] = true
	}
	for _, f := range testFiles(t, ByHand()) {
		if packaged[f.Path] && !f.Settings {
			t.Errorf("%s is in both", f.Path)
		}
	}
}

// A file that can't be written is named, and nothing of it is left.
func TestWriteFails(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "etc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Write(root, []File{{Path: "/etc/a", Mode: 0o644}})
	if err == nil || !strings.HasPrefix(err.Error(), "install: write mkdir ") {
		t.Errorf("%v", err)
	}
}
