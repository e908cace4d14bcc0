package bugreport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Host says which kernel and which distribution this is.
func Host(context.Context) ([]byte, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("bugreport: uname: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "kernel %s %s %s\n", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
	text, err := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, "="); slices.Contains([]string{"ID", "VERSION_ID", "PRETTY_NAME"}, name) {
			b.WriteString(line)
		}
	}
	return b.Bytes(), err
}

// sysctls are those that networks depend on, as patterns below /proc/sys/net.
func sysctls(links []string) []string {
	out := []string{
		"ipv4/ip_forward", "ipv4/neigh/default/gc_thresh*", "ipv6/neigh/default/gc_thresh*", "bridge/bridge-nf-call-*",
		"netfilter/nf_conntrack_max", "netfilter/nf_conntrack_count", "netfilter/nf_conntrack_acct",
	}
	for _, link := range append([]string{"all", "default"}, links...) {
		if strings.ContainsAny(link, `*?[\/`) {
			continue // it would be a pattern
		}
		for _, name := range []string{"forwarding", "rp_filter", "route_localnet", "src_valid_mark"} {
			out = append(out, "ipv4/conf/"+link+"/"+name)
		}
		for _, name := range []string{"forwarding", "disable_ipv6", "accept_ra"} {
			out = append(out, "ipv6/conf/"+link+"/"+name)
		}
	}
	return out
}

// Sysctls lists them with their values: of the host, and of these links.
func Sysctls(links []string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return listSysctls(links) }
}

func listSysctls(links []string) ([]byte, error) {
	var b bytes.Buffer
	for _, pattern := range sysctls(links) {
		paths, err := filepath.Glob("/proc/sys/net/" + pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			value, err := os.ReadFile(path)
			if err != nil {
				continue // a link that is gone
			}
			fmt.Fprintf(&b, "%s = %s\n", strings.TrimPrefix(path, "/proc/sys/"), strings.TrimSpace(string(value)))
		}
	}
	return b.Bytes(), nil
}

// Tables lists fairway's own tables of nftables. A comment that isn't of the
// instance is somebody else's, and is left out.
func Tables(instance string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		var b bytes.Buffer
		var errs []error
		for _, family := range []string{"inet", "bridge"} {
			out, err := output(ctx, "nft", "-a", "list", "table", family, "fairway")
			b.Write(ownComments(out, instance))
			errs = append(errs, err)
		}
		return b.Bytes(), errors.Join(errs...)
	}
}

var comment = regexp.MustCompile(`--comment [^" ][^ ]*|comment "[^"]*"`) //nolint:gochecknoglobals // a constant

func ownComments(text []byte, instance string) []byte {
	return comment.ReplaceAllFunc(text, func(c []byte) []byte {
		if instance != "" && bytes.Contains(c, []byte(instance)) {
			return c
		}
		if bytes.HasPrefix(c, []byte("--")) {
			return []byte(`--comment "…"`)
		}
		return []byte(`comment "…"`)
	})
}

// Chains lists fairway's own chains of iptables, and what leads to them, with
// comments as Tables.
func Chains(instance string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		var b bytes.Buffer
		var errs []error
		for _, program := range []string{"iptables-save", "ip6tables-save"} {
			out, err := output(ctx, program)
			fmt.Fprintf(&b, "# %s\n", program)
			b.Write(ownComments(ownChains(out), instance))
			errs = append(errs, err)
		}
		return b.Bytes(), errors.Join(errs...)
	}
}

// ofOwnChain matches a chain of ours, a rule in one, and a rule that leads to one.
var ofOwnChain = regexp.MustCompile(`^(:|-A )FAIRWAY-[A-Z0-9-]+ |^-A .* -[jg] FAIRWAY-[A-Z0-9-]+$`) //nolint:gochecknoglobals // a constant

func ownChains(saved []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(saved) {
		if text := bytes.TrimRight(line, "\n"); bytes.HasPrefix(text, []byte("*")) || ofOwnChain.Match(text) {
			b.Write(line)
		}
	}
	return b.Bytes()
}

// Journal is what the daemon has logged lately.
func Journal(ctx context.Context) ([]byte, error) {
	return output(ctx, "journalctl", "--unit=fairway.service", "--lines=2000", "--output=short-iso", "--no-hostname", "--no-pager", "--quiet")
}

// output runs a program and returns what it prints; nothing if there is none.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("bugreport: %s: not installed", name)
	}
	if err != nil {
		err = fmt.Errorf("bugreport: %s: %w: %s", name, err, strings.Join(strings.Fields(complaint.String()), " "))
	}
	return out, err
}
