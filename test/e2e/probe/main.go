// Command probe is the end-to-end tests' hand inside a network namespace: it
// answers on ports, asks others' ports and says whom it saw, and it is the
// first process of a host that the tests make. It is static, so that it runs
// in a container that holds nothing else.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const usage = `usage: probe COMMAND ...

  serve [tcp|udp]:PORT ...   answer every line with "NAME CLIENT-ADDRESS LINE", print who
                             asks; until told to end
  sleep                      nothing, until told to end
  ask PROTO ADDRESS [FROM]   send one line, print the answer; exit 1 if there is none within
                             1 s; FROM is the address and port to ask from
  talk ADDRESS SECONDS       one TCP connection, a line each 20 ms; print how many answers came
                             and the longest wait for one; exit 1 if the connection broke
  lookup NAME                the name's addresses, as the resolver here has them; exit 1 if there
                             are none
  large ADDRESS BYTES        one datagram of that size; exit 1 unless it comes back whole
  flood ADDRESS SECONDS      a datagram each ms to an UDP port; print how many were sent
  hold PROTO ADDRESS         take a port as a host's process does, print "held", until told to end
  frame LINK HEX             send one frame as it is (Ethernet header first)
  exec PIDFILE COMMAND ...   write the process id down and become COMMAND
  enter DIR COMMAND ...      become COMMAND in a mount namespace whose root is the mount DIR
  init DIR OPTION ...        become a host: see init.go
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	commands := map[string]func([]string) error{
		"serve": serve, "sleep": sleep, "ask": ask, "talk": talk, "lookup": lookup, "large": large, "flood": flood, "hold": hold, "frame": frame, "exec": execute, "enter": enter, "init": initHost,
	}
	run, ok := commands[os.Args[1]]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// untilTold waits for the signal that docker stop sends. As process 1 of a
// container nothing ends it otherwise.
func untilTold() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	<-c
}

func sleep([]string) error {
	untilTold()
	return nil
}

func execute(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("exec: want PIDFILE COMMAND")
	}
	if err := os.WriteFile(args[0], fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return err
	}
	return become(args[1:])
}

func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// enter changes the root of the whole namespace: after a mere chroot a
// container's namespace would begin at the old one, where docker exec ends up.
func enter(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("enter: want DIR COMMAND")
	}
	runtime.LockOSThread() // the namespace is the thread's, which exec makes the process'
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := pivot(args[0]); err != nil {
		return err
	}
	return become(args[1:])
}
