// Command fairway is Docker's network and IPAM driver, and the operator's
// commands for it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	start, managed := time.Now(), managedFile()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errFound) {
		fmt.Fprintln(stderr, "fairway: "+printable(err.Error()))
		if h := hint(err); h != "" {
			fmt.Fprintln(stderr, "hint: "+h)
		}
		if managed != nil && time.Since(start) < startTime {
			refuse(ctx, managed, err)
		}
	}
	return exitCode(err)
}
