//go:build stephook

package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stepHook asks the test that started the daemon before each side effect. It
// writes the step's name to one inherited pipe and reads from another what is
// to become of it: go, delay MILLISECONDS, or die. STEP_HOOK_FDS has the number
// of the one to read from and of the one to write to, as "3,4".
func stepHook() func(string) {
	from, to, ok := strings.Cut(os.Getenv("STEP_HOOK_FDS"), ",")
	if !ok {
		return nil
	}
	answers, names := bufio.NewReader(hookFile(from)), hookFile(to)
	var mu sync.Mutex
	return func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := fmt.Fprintln(names, step); err != nil {
			dieHere()
		}
		answer, err := answers.ReadString('\n')
		if err != nil || answer == "die\n" {
			dieHere()
		}
		var ms int
		if _, err := fmt.Sscanf(answer, "delay %d", &ms); err == nil {
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
	}
}

func hookFile(fd string) *os.File {
	n, err := strconv.Atoi(fd)
	if err != nil {
		panic(fmt.Sprintf("STEP_HOOK_FDS: %v", err))
	}
	unix.CloseOnExec(n) // what the daemon runs has no part in it
	return os.NewFile(uintptr(n), "step hook")
}

// dieHere ends the process as kill -9 does, with nothing done after.
func dieHere() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}
