package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Open takes what Prepare made on another machine: the programs in dir/bin, and
// the engines in dir/engines. All of it stays when the tools are closed.
func Open(dir string, engines ...string) (*Tools, error) {
	t := &Tools{dir: dir, engines: map[string]Engine{}, kept: true}
	for _, name := range engines {
		root := filepath.Join(dir, "engines", name)
		says, err := os.ReadFile(filepath.Join(root, ".version"))
		if err != nil {
			return nil, fmt.Errorf("lab: open engine %s: %w", name, err)
		}
		_, version, _ := strings.Cut(string(says), "version ")
		version, _, _ = strings.Cut(version, ",")
		t.engines[name] = Engine{Name: name, Root: root, Version: version}
	}
	return t, nil
}

// Programs is the directory of what Prepare built.
func (t *Tools) Programs() string { return t.bin() }
