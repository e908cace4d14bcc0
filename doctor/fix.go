package doctor

import (
	"context"
	"fmt"
	"io"
	"os/exec"
)

// Run carries out the commands of a finding, one after the other, as they are
// printed: by sh(1). What they print goes to out. The first that fails ends it.
func Run(ctx context.Context, f Finding, out io.Writer) error {
	for _, line := range f.Fix {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %s: %w", f.Code, line, err)
		}
	}
	return nil
}
