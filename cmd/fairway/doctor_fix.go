package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"fairway/doctor"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// errPartly says by the exit code that not all was repaired.
var errPartly = errors.New("not all is repaired") //nolint:gochecknoglobals // an error value

// repair runs the commands of those findings that may be, each printed before,
// and looks again.
func (d *doctorCommand) repair(cmd *cobra.Command, found diagnosis) error {
	fixes := slices.DeleteFunc(slices.Clone(found.Findings), func(f doctor.Finding) bool { return !f.Automatic })
	if len(fixes) == 0 {
		if len(found.Findings) > 0 {
			return errors.New("nothing here is repaired by itself: the findings say what to do")
		}
		return nil
	}
	if !d.yes && !isTerminal(os.Stdin) {
		return usagef("flag --fix: want --yes where nobody can be asked")
	}
	out, done := cmd.OutOrStdout(), 0
	answers := bufio.NewReader(os.Stdin)
	for _, f := range fixes {
		fmt.Fprintf(out, "%s %s\n", f.Code, printable(f.Text))
		for _, line := range f.Fix {
			fmt.Fprintf(out, "  %s\n", printable(line))
		}
		if !d.yes {
			fmt.Fprint(out, "  run it? [y/N] ")
			answer, _ := answers.ReadString('\n')
			if !strings.EqualFold(strings.TrimSpace(answer), "y") {
				continue
			}
		}
		if err := doctor.Run(cmd.Context(), f, out); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "fairway: "+printable(err.Error()))
			continue
		}
		done++
	}
	if done == 0 {
		return errors.New("nothing was repaired")
	}
	after, err := d.settled(cmd)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, after.sum())
	if len(after.Findings) > 0 {
		return errPartly
	}
	return nil
}

// settling bounds how long a repair may take to show: a daemon restores its
// networks first.
const settling = 10 * time.Second

// settled looks until nothing is found any more, for a while.
func (d *doctorCommand) settled(cmd *cobra.Command) (found diagnosis, err error) {
	for end := time.Now().Add(settling); ; time.Sleep(again) {
		if found, err = d.diagnose(cmd); err != nil || len(found.Findings) == 0 || time.Now().After(end) {
			return found, err
		}
		if !slices.ContainsFunc(found.Findings, func(f doctor.Finding) bool { return f.Automatic }) {
			return found, nil
		}
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// follow looks again and again until the context ends, and prints what is new
// and what is gone.
func (d *doctorCommand) follow(cmd *cobra.Command) error {
	out, before := cmd.OutOrStdout(), map[string]bool{}
	for first := true; ; first = false {
		found, err := d.diagnose(cmd)
		if err != nil {
			return err
		}
		now := map[string]bool{}
		stamp := time.Now().Format(time.TimeOnly)
		for _, f := range found.Findings {
			line := fmt.Sprintf("%s %s %s: %s", word(f.Severity), f.Code, f.Name, printable(f.Text))
			if now[line] = true; !before[line] {
				fmt.Fprintf(out, "%s + %s\n", stamp, line)
			}
		}
		for line := range before {
			if !now[line] {
				fmt.Fprintf(out, "%s - %s\n", stamp, line)
			}
		}
		if first {
			fmt.Fprintf(out, "%s   %s\n", stamp, found.sum())
		}
		before = now
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(d.watch):
		}
	}
}
