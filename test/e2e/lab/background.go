package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Background is a command that runs in a machine beside the test.
type Background struct {
	what    string
	machine *Machine
	cmd     *exec.Cmd
	pidfile string
	first   string
	rest    chan string
	once    sync.Once
}

// start runs a command and waits for the first line that it prints.
func (m *Machine) start(args ...string) (*Background, error) {
	b := &Background{
		what: m.Name + ": " + strings.Join(args, " "), machine: m, rest: make(chan string, 1),
		pidfile: "/run/lab-" + strconv.FormatInt(time.Now().UnixNano(), 36),
	}
	b.cmd = m.command(context.Background(), append([]string{"/fw/probe", "exec", b.pidfile}, args...)...)
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.cmd.Stderr = b.cmd.Stdout
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", b.what, err)
	}
	r := bufio.NewReader(out)
	line := make(chan string, 1)
	go func() {
		l, _ := r.ReadString('\n')
		line <- l
		rest, _ := io.ReadAll(r)
		b.rest <- string(rest)
	}()
	select {
	case b.first = <-line:
		return b, nil
	case <-time.After(startTime):
		b.stop()
		return nil, fmt.Errorf("lab: start %s: printed nothing in %v", b.what, startTime)
	}
}

// Wait waits until the command has ended by itself and returns what it
// printed.
func (b *Background) Wait(t testing.TB) string {
	t.Helper()
	select {
	case rest := <-b.rest:
		err := b.cmd.Wait()
		b.once.Do(func() {})
		if err != nil {
			t.Fatalf("%s: %v: %s%s", b.what, err, b.first, rest)
		}
		return b.first + rest
	case <-time.After(commandTime):
		t.Fatalf("%s: still running after %v", b.what, commandTime)
	}
	return ""
}

// stop ends the command by its process id: nsenter's own end would leave it.
func (b *Background) stop() {
	b.once.Do(func() {
		if b.machine.init != nil {
			_, _ = b.machine.try("sh", "-c", "kill -9 $(cat "+b.pidfile+"); rm "+b.pidfile)
		}
		_ = b.cmd.Wait()
	})
}
