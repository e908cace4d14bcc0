package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
)

// Ask runs a program that prints what it found, as fairway doctor --json does,
// and returns that. Exit code 1 says that there is something.
func Ask(ctx context.Context, program string, args ...string) ([]Finding, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	var found struct{ Findings []Finding }
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &found)
	}
	if err != nil {
		return nil, fmt.Errorf("doctor: run %s: %w: %s", program, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return found.Findings, nil
}
