package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Bad     Severity = "bad"     // something doesn't work, or isn't kept apart
	Warning Severity = "warning" // something will not, or not for everybody
)

// A Check is one thing that can be wrong.
type Check struct {
	Code     string // "FW" and three digits
	Name     string // a word or two for lists
	Title    string // what is wrong, in one line
	Severity Severity
	// What the page says: how it comes about, what doesn't work, what repairs it.
	Cause, Loss, Remedy string

	look func(context.Context, *Patient) ([]Finding, error)
}

// A Finding is one thing that is wrong.
type Finding struct {
	Code     string   `json:"code"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"` // what was found, with the names
	// Fix are shell commands that repair it, in order. They are for root.
	Fix []string `json:"fix"`
	// Automatic: what the commands do can be taken back, so that they may be run
	// without knowing more.
	Automatic bool `json:"automatic"`
}

// skipped is why a check can't be made.
type skipped struct{ why string }

func (s skipped) Error() string { return s.why }

func skip(format string, args ...any) error { return skipped{fmt.Sprintf(format, args...)} }

// A Result is what came of one check.
type Result struct {
	Check
	Findings []Finding
	Skipped  string // why it wasn't made; "" if it was
}

// Checks returns the table, in the order of codes.
func Checks() []Check {
	all := slices.Concat(storeChecks(), daemonChecks(), limitChecks(), forwardingChecks(), firewallChecks(), addressChecks(), engineChecks(),
		portChecks(), managerChecks(), linkChecks(), nameChecks())
	slices.SortFunc(all, func(a, b Check) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// Chosen returns those of the checks whose code begins with one of the
// prefixes; all for none. A prefix that no code has is an error.
func Chosen(prefixes []string) ([]Check, error) {
	if len(prefixes) == 0 {
		return Checks(), nil
	}
	var out []Check
	for _, p := range prefixes {
		n := len(out)
		for _, c := range Checks() {
			if strings.HasPrefix(c.Code, strings.ToUpper(p)) {
				out = append(out, c)
			}
		}
		if len(out) == n {
			return nil, fmt.Errorf("code %q: unknown (fairway doctor explain lists them)", p)
		}
	}
	slices.SortFunc(out, func(a, b Check) int { return strings.Compare(a.Code, b.Code) })
	return slices.CompactFunc(out, func(a, b Check) bool { return a.Code == b.Code }), nil
}

// atOnce is how many checks are made at a time: most wait for the kernel, or for
// a program.
const atOnce = 8

// Examine makes checks, several at a time. One that fails is skipped with the
// reason: the others say what they can.
func Examine(ctx context.Context, p *Patient, checks []Check) []Result {
	out := make([]Result, len(checks))
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, c := range checks {
		all.Go(func() error {
			out[i] = c.examine(ctx, p)
			return nil
		})
	}
	_ = all.Wait()
	return out
}

func (c Check) examine(ctx context.Context, p *Patient) Result {
	found, err := c.look(ctx, p)
	r := Result{Check: c, Findings: found}
	var s skipped
	if errors.As(err, &s) {
		r.Skipped = s.why
	} else if err != nil {
		r.Skipped = err.Error()
	}
	for i := range r.Findings {
		r.Findings[i].Code, r.Findings[i].Name, r.Findings[i].Severity = c.Code, c.Name, c.Severity
		if r.Findings[i].Fix == nil {
			r.Findings[i].Fix = []string{}
		}
	}
	return r
}

// by returns a finding that commands of an operator's repair; none: the page
// says how.
func by(fix []string, format string, args ...any) Finding {
	return Finding{Text: fmt.Sprintf(format, args...), Fix: fix}
}

// auto returns a finding that --fix may repair.
func auto(fix, format string, args ...any) Finding {
	return Finding{Text: fmt.Sprintf(format, args...), Fix: []string{fix}, Automatic: true}
}

// quote makes one word of text for a shell.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
