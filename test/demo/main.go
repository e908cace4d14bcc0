// Command demo shows fairway at work on hosts that it makes of namespaces: it
// starts a Docker Engine and the daemon there, makes a network, runs
// containers, and shows each command with what it printed. The outside is a
// namespace of its own too. At the end all of it is gone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"fairway/test/e2e/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	title("Preparing: a Docker Engine from this distribution's packages, fairway, an image of busybox")
	tools, err := lab.Prepare(ctx, "own")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tools.Close()) }()
	lan, err := lab.NewLAN(tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lan.Close()) }()
	host, err := lan.NewHost(lab.Config{Name: "demo", Engine: tools.Any()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	fmt.Printf("The host is %s and %s on a LAN; %s is its neighbour and router, %s lies outside.\n",
		host.IP, host.IP6, lab.Neighbour, lab.Outside)
	if err := host.PowerUp(); err != nil {
		return err
	}
	s := show{ctx: ctx, host: host}
	s.all()
	return s.err
}

// A show runs commands and prints them; after an error it does nothing more.
type show struct {
	ctx  context.Context
	host *lab.Host
	err  error
}

func (s *show) all() {
	const serve = `mkdir -p /www; echo "Hello from $(hostname), a container on a fairway network." >/www/index.html; exec busybox httpd -f -p 80 -h /www`
	title("A network, and two containers on it")
	s.docker("network", "create", "-d", "fairway", "--ipam-driver", "fairway", "--ipv6",
		"--subnet", "10.99.0.0/24", "--subnet", "fd99::/64", "web")
	s.docker("run", "-d", "--name", "server", "--hostname", "server", "--network", "web", "-p", "8080:80", lab.Image, "sh", "-c", serve)
	s.docker("run", "-d", "--name", "client", "--network", "web", lab.Image, "probe", "sleep")

	title("They find each other by name")
	s.docker("exec", "client", "nslookup", "server", "127.0.0.11")
	s.docker("exec", "client", "ping", "-c", "2", "server")

	title("They reach the outside, which answers with its name and the client that it saw: the host, " + s.host.IP)
	s.docker("exec", "client", "ip", "-4", "addr", "show", "dev", "eth0")
	s.docker("exec", "client", "probe", "ask", "tcp", lab.Outside+":7")

	title("The neighbour on the LAN, and the host itself, reach the published port")
	s.curl("the neighbour", s.host.LAN.Neighbour, "http://"+s.host.IP+":8080/")
	s.curl("the neighbour", s.host.LAN.Neighbour, "http://["+s.host.IP6+"]:8080/")
	s.curl("the host", s.host.Machine, "http://127.0.0.1:8080/")

	title("What an operator sees")
	s.fairway("networks")
	s.fairway("endpoints")
	s.fairway("ports")

	title("The daemon is killed: packets flow on; it comes back and knows everything")
	if s.err == nil {
		s.err = s.host.CrashFairway()
	}
	s.curl("the neighbour", s.host.LAN.Neighbour, "http://"+s.host.IP+":8080/")
	if s.err == nil {
		s.err = s.host.ReviveFairway()
	}
	s.fairway("ports")

	title("Cleaning up")
	s.docker("rm", "-f", "server", "client")
	s.docker("network", "rm", "web")
	s.fairway("networks")
}

func title(text string) { fmt.Printf("\n== %s\n", text) }

func (s *show) docker(args ...string) {
	s.print("docker", args, func() (string, error) { return s.host.TryDocker(args...) })
}

func (s *show) fairway(what string) {
	args := []string{what}
	s.print("fairway", args, func() (string, error) {
		return s.host.Try("fairway", what, "--admin-socket", "/run/fairway/admin.sock")
	})
}

// curl runs this machine's curl in another's network.
func (s *show) curl(who string, m *lab.Machine, url string) {
	args := []string{"--silent", "--show-error", "--fail", "--max-time", "5", "--globoff", url}
	s.print("("+who+") curl", []string{url}, func() (string, error) {
		nsenter := append([]string{"--target", strconv.Itoa(m.PID()), "--net", "--", "curl", "--noproxy", "*"}, args...)
		out, err := exec.CommandContext(s.ctx, "nsenter", nsenter...).CombinedOutput()
		return strings.TrimRight(string(out), "\n"), err
	})
}

func (s *show) print(program string, args []string, run func() (string, error)) {
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err != nil {
		return
	}
	fmt.Printf("$ %s %s\n", program, quoted(args))
	out, err := run()
	if err != nil {
		s.err = err
		return
	}
	fmt.Println("    " + strings.ReplaceAll(out, "\n", "\n    "))
}

// quoted joins arguments as a shell would need them.
func quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = a
		if strings.ContainsAny(a, " \"$;>") {
			q[i] = "'" + a + "'"
		}
	}
	return strings.Join(q, " ")
}
