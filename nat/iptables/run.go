package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// A runner runs a program of iptables with an input, and returns its output.
type runner interface {
	run(ctx context.Context, input, program string, args ...string) ([]byte, error)
}

// programs runs the host's. An error holds what the program said.
type programs struct{}

// lockWait bounds how long a legacy program waits for /run/xtables.lock.
const lockWait = "20"

func (programs) run(ctx context.Context, input, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("iptables: %s: %w", program, ctx.Err())
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("iptables: %w", err)
		}
		return nil, fmt.Errorf("iptables: %s: %w: %s", program, err, firstLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// firstLine returns the first line of what a program said that is no warning.
func firstLine(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "no reason given"
}
