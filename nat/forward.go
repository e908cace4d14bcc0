package nat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A ForwardGuard says in which families a firewall has made DROP the policy of the
// host's FORWARD, since the host forwards for fairway's sake.
type ForwardGuard struct{ V4, V6 bool }

// ReadForwardGuard reads what SaveForwardGuard wrote into a file since the machine started,
// in this network namespace. Before that it means nothing: whoever turned
// forwarding on has to guard it, too.
func ReadForwardGuard(path string) (g ForwardGuard, err error) {
	if path == "" {
		return g, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("nat: %w", err)
	}
	here, err := thisBoot()
	if err != nil {
		return g, err
	}
	rest, ok := strings.CutPrefix(string(text), here)
	if !ok {
		return g, nil
	}
	for word := range strings.FieldsSeq(rest) {
		g.V4 = g.V4 || word == "ipv4"
		g.V6 = g.V6 || word == "ipv6"
	}
	return g, nil
}

// SaveForwardGuard makes g durable.
func SaveForwardGuard(path string, g ForwardGuard) error {
	if path == "" {
		return nil
	}
	text, err := thisBoot()
	if err != nil {
		return err
	}
	if g.V4 {
		text += " ipv4"
	}
	if g.V6 {
		text += " ipv6"
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("nat: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("nat: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// thisBoot names the machine's run and the network namespace.
func thisBoot() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("nat: %w", err)
	}
	space, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("nat: %w", err)
	}
	return strings.TrimSpace(string(boot)) + " " + space, nil
}
