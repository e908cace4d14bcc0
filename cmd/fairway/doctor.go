package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"fairway/doctor"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A doctorCommand is one run of fairway doctor.
type doctorCommand struct {
	view
	file    string
	only    []string
	verbose bool
	fix     bool
	yes     bool
	watch   time.Duration
	checks  []doctor.Check
}

func newDoctorCommand() *cobra.Command {
	var d doctorCommand
	cmd := &cobra.Command{
		Use:   "doctor [CODE...]",
		Short: "Find what is wrong, and repair it",
		Long: `Find what is wrong with the networks on this host: compare what Docker knows,
what is recorded and what the kernel holds, and look at what on the host harms
them. It works with the daemon down, and changes nothing.

CODE, or the beginning of one, chooses checks. With --fix the commands of those
findings are run that can be taken back; each is printed before. Exit code 1:
something is wrong; 5: a part was repaired.`,
		Example: `  sudo fairway doctor
  sudo fairway doctor --fix FW014
  sudo fairway doctor --only FW02 --json | jq -r '.findings[].text'
  fairway doctor explain FW014`,
		Args: func(_ *cobra.Command, args []string) error {
			var err error
			d.checks, err = doctor.Chosen(append(args, d.only...))
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&d.only, "only", nil, "make just the checks whose `code` begins so (repeatable)")
	f.BoolVar(&d.fix, "fix", false, "run the commands that repair what can be taken back")
	f.BoolVarP(&d.yes, "yes", "y", false, "with --fix: don't ask")
	f.DurationVar(&d.watch, "watch", 0, "look again every so `often`, and print what comes and goes")
	f.BoolVarP(&d.verbose, "verbose", "v", false, "print the checks that found nothing, too")
	f.BoolVar(&d.json, "json", false, "print JSON, for scripts")
	groundFlags(cmd, &d.view, &d.file)
	cmd.AddCommand(newExplainCommand())
	return cmd
}

// newExplainCommand prints pages without asking anybody.
func newExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [CODE...]",
		Short: "Print what a code means; without one, list them",
		Example: `  fairway doctor explain
  fairway doctor explain FW014`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			checks, err := doctor.Chosen(args)
			if err != nil {
				return usageError{err.Error()}
			}
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "CODE\tNAME\tSEVERITY\tTITLE")
				for _, c := range checks {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Code, c.Name, c.Severity, c.Title)
				}
				return t.Flush()
			}
			for i, c := range checks {
				if i > 0 {
					fmt.Fprintln(out)
				}
				fmt.Fprint(out, c.Explain())
			}
			return nil
		},
	}
}

// A diagnosis is what one look found.
type diagnosis struct {
	Version  int              `json:"version"`
	Host     diagnosed        `json:"host"`
	Findings []doctor.Finding `json:"findings"`
	Skipped  []notLooked      `json:"skipped"`
	OK       []string         `json:"ok"` // codes
	results  []doctor.Result
}

// A diagnosed host is what was looked at.
type diagnosed struct {
	Kernel string `json:"kernel"`
	Docker string `json:"docker"` // "" if it doesn't answer, or isn't asked
	// Daemon is the version of the one that runs, "" for none, and Fairway that of
	// this program.
	Daemon  string `json:"daemon"`
	Fairway string `json:"fairway"`
	started time.Time
	asked   bool // Docker was
}

type notLooked struct {
	Code string `json:"code"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// errFound says by the exit code alone that there are findings: they are printed.
var errFound = errors.New("") //nolint:gochecknoglobals // an error value

func (d *doctorCommand) run(cmd *cobra.Command) error {
	if d.watch < 0 || d.watch > 0 && (d.fix || d.watch < time.Second) {
		return usagef("flag --watch: want at least 1s, without --fix")
	}
	if d.fix && d.json {
		return usagef("want one of --fix and --json")
	}
	if d.watch > 0 {
		return d.follow(cmd)
	}
	found, err := d.diagnose(cmd)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if d.json {
		err = printJSON(out, found)
	} else {
		err = d.print(out, found)
	}
	if err == nil && d.fix {
		return d.repair(cmd, found)
	}
	if err == nil && len(found.Findings) > 0 {
		err = errFound
	}
	return err
}

// diagnose looks once.
func (d *doctorCommand) diagnose(cmd *cobra.Command) (diagnosis, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	found := diagnosis{Version: 1, Findings: []doctor.Finding{}, Skipped: []notLooked{}, OK: []string{}}
	g, err := newGround(cmd, &d.view, d.file)
	if err != nil {
		return found, err
	}
	p, err := g.patient(ctx)
	if err != nil {
		return found, err
	}
	found.Host = hostOf(p)
	found.results = doctor.Examine(ctx, p, d.checks)
	for _, r := range found.results {
		found.Findings = append(found.Findings, r.Findings...)
		switch {
		case r.Skipped != "":
			found.Skipped = append(found.Skipped, notLooked{r.Code, r.Name, r.Skipped})
		case len(r.Findings) == 0:
			found.OK = append(found.OK, r.Code)
		}
	}
	return found, nil
}

func hostOf(p *doctor.Patient) diagnosed {
	h := diagnosed{Fairway: p.Build.Version}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	h.asked = p.Settings.DockerSocket != ""
	if p.Engine != nil {
		h.Docker = p.Engine.Version
	}
	if p.Daemon != nil {
		h.Daemon, h.started = p.Daemon.Daemon.Version, p.Daemon.Started
	}
	return h
}

// print prints findings, what wasn't looked at, and a sum.
func (d *doctorCommand) print(w io.Writer, found diagnosis) error {
	h := found.Host
	docker, daemon := "docker doesn't answer", "the daemon doesn't answer"
	if !h.asked {
		docker = "docker isn't asked"
	}
	if h.Docker != "" {
		docker = "docker " + h.Docker
	}
	if h.Daemon != "" {
		daemon = "fairway " + h.Daemon + " up " + ago(time.Now(), h.started)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "kernel %s, %s, %s\n", printable(h.Kernel), printable(docker), printable(daemon))
	for _, r := range found.results {
		for _, f := range r.Findings {
			fmt.Fprintf(t, " %s\t%s\t%s\t%s\n", word(f.Severity), f.Code, f.Name, printable(f.Text))
			for _, line := range f.Fix {
				fmt.Fprintf(t, " \t\t\tfix: %s\n", printable(line))
			}
		}
		switch {
		case r.Skipped != "" && d.verbose:
			fmt.Fprintf(t, " skip\t%s\t%s\t%s\n", r.Code, r.Name, printable(r.Skipped))
		case len(r.Findings) == 0 && r.Skipped == "" && d.verbose:
			fmt.Fprintf(t, " ok\t%s\t%s\t\n", r.Code, r.Name)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, found.sum())
	return err
}

func word(s doctor.Severity) string {
	if s == doctor.Warning {
		return "WARN"
	}
	return strings.ToUpper(string(s))
}

// sum is a diagnosis in one line.
func (found diagnosis) sum() string {
	n := map[doctor.Severity]int{}
	for _, f := range found.Findings {
		n[f.Severity]++
	}
	line := fmt.Sprintf("%d bad, %d warnings, %d ok", n[doctor.Bad], n[doctor.Warning], len(found.OK))
	if len(found.Skipped) > 0 {
		line += fmt.Sprintf(", %d skipped (-v)", len(found.Skipped))
	}
	if len(found.Findings) > 0 {
		line += fmt.Sprintf("   (fairway doctor explain %s)", found.Findings[0].Code)
	}
	return line
}
