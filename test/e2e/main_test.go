//go:build e2e

// Package e2e proves fairway on real engines: what a user would type, and what
// a neighbour on the network would see. Package lab makes the hosts.
//
// A test named TestX/ENGINE runs on one of the few hosts of that engine which
// all such tests share, one at a time; tests that restart, kill or upgrade have hosts
// of their own. Where a test runs the same assertion on Docker's built-in
// bridge, the driver's name is the next level: TestX/ENGINE/bridge.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// Names of the engines, as test/engines has them.
const (
	oldest = "20.10"
	middle = "26.1"
	newest = "sid"
)

// world is what all tests of this binary share.
var world struct {
	tools  *lab.Tools
	driver string // under test

	mu    sync.Mutex
	hosts map[string]*pool
}

func TestMain(m *testing.M) {
	flag.StringVar(&world.driver, "driver", "fairway",
		"network driver under test; with bridge the tests show what Docker's own does, and no daemon is started")
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// tools returns what the hosts are made of. In the virtual machine of test/vm it
// is there already, in the directory FAIRWAY_TEST_LAB.
func tools(ctx context.Context) (*lab.Tools, error) {
	if dir := os.Getenv("FAIRWAY_TEST_LAB"); dir != "" {
		return lab.Open(dir, oldest)
	}
	return lab.Prepare(ctx, oldest, middle, newest)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if world.tools, err = tools(ctx); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.tools.Close()) }()
	done := make(chan struct{})
	go func() { // an interrupt ends the hosts, and with them the tests
		select {
		case <-ctx.Done():
			time.Sleep(time.Second)
			_ = errors.Join(closeShared(), world.tools.Close())
			os.Exit(130)
		case <-done:
		}
	}()
	code = m.Run()
	close(done)
	return code, closeShared()
}
