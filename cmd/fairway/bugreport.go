package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"fairway/admin"
	"fairway/bugreport"
	"fairway/doctor"
	"fairway/event"
	"fairway/inspect"

	"github.com/spf13/cobra"
)

func newBugreportCommand() *cobra.Command {
	var v view
	var file, to string
	var anonymous bool
	cmd := &cobra.Command{
		Use:   "bugreport",
		Short: "Pack what helps to find an error",
		Long: `Pack what helps to find an error into an archive (tar.gz) that only root can read,
and list before what is in it. It works with the daemon down.

There is what is allowed and nothing else: versions, settings, fairway's networks,
endpoints, ports and leases, what the doctor found, the daemon's log, events and
metrics, its own links and rules, and sysctls of networks. There are no environments,
labels, command lines, files, nor rules of others. Names of containers and networks,
and addresses, are in it; --anonymous puts a hash in place of each name.`,
		Example: `  sudo fairway bugreport
  sudo fairway bugreport --anonymous -o report.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := newGround(cmd, &v, file)
			if err != nil {
				return err
			}
			return packReport(cmd, g, to, anonymous)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&to, "output", "o", "", "`file` to write, which must not be there; - for the standard output (default fairway-bugreport-TIME.tar.gz)")
	f.BoolVar(&anonymous, "anonymous", false, "a hash in place of names of containers, networks and the host")
	groundFlags(cmd, &v, &file)
	return cmd
}

func packReport(cmd *cobra.Command, g *ground, to string, anonymous bool) (err error) {
	now := time.Now().UTC()
	dir := "fairway-bugreport-" + now.Format("20060102T150405Z")
	to = cmp.Or(to, dir+".tar.gz")
	parts, clean := g.reportParts(), bugreport.As
	if anonymous {
		clean = bugreport.Anonymous(g.namesToHide(cmd.Context()), g.instance)
	}
	remarks := cmd.ErrOrStderr()
	for _, p := range parts {
		fmt.Fprintf(remarks, "%-24s %s\n", p.Name, p.What)
	}
	if to == "-" {
		return bugreport.Pack(cmd.Context(), cmd.OutOrStdout(), dir, now, parts, clean)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = bugreport.Pack(cmd.Context(), f, dir, now, parts, clean)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(to) // half a report is none
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(to))
	return err
}

// reportParts is what a report may hold: to add a part is to allow it.
func (g *ground) reportParts() []bugreport.Part {
	part := func(name, what string, f func(context.Context) ([]byte, error)) bugreport.Part {
		return bugreport.Part{Name: name, What: what, Make: f}
	}
	asked := func(name, what string, ask func(context.Context) (any, error)) bugreport.Part {
		return part(name, what, func(ctx context.Context) ([]byte, error) {
			reply, err := ask(ctx)
			if err != nil {
				return nil, err
			}
			var b bytes.Buffer
			err = printJSON(&b, reply)
			return b.Bytes(), err
		})
	}
	return []bugreport.Part{
		part("host.txt", "kernel, distribution", bugreport.Host),
		asked("version.json", "of this program", func(context.Context) (any, error) { return programView{admin.Version, buildInfo()}, nil }),
		asked("status.json", "fairway status", func(context.Context) (any, error) { return g.status, g.statusErr }),
		asked("settings.json", "fairway config show --running", func(ctx context.Context) (any, error) { return g.client.Settings(ctx) }),
		asked("networks.json", "fairway networks", func(ctx context.Context) (any, error) { k, err := g.known(ctx); return k.Networks, err }),
		asked("endpoints.json", "fairway endpoints", func(ctx context.Context) (any, error) { k, err := g.known(ctx); return k.Endpoints, err }),
		asked("ports.json", "fairway ports", func(ctx context.Context) (any, error) { k, err := g.known(ctx); return k.Ports, err }),
		asked("leases.json", "fairway leases", func(ctx context.Context) (any, error) { k, err := g.known(ctx); return k.Leases, err }),
		asked("traffic.json", "counters of fairway top", func(ctx context.Context) (any, error) { return g.client.Traffic(ctx) }),
		asked("doctor.json", "fairway doctor", g.reportFindings),
		part("events.txt", "fairway events --kept", g.reportEvents),
		part("metrics.txt", "the daemon's metrics", func(ctx context.Context) ([]byte, error) { return g.client.Metrics(ctx) }),
		part("log.txt", "the daemon's last 2000 lines in the journal", bugreport.Journal),
		asked("kernel/links.json", "fairway's links", g.reportLinks),
		part("kernel/sysctls.txt", "sysctls that networks depend on", bugreport.Sysctls(g.linkNames())),
		part("kernel/nftables.txt", "fairway's tables", bugreport.Tables(g.instance)),
		part("kernel/iptables.txt", "fairway's chains", bugreport.Chains(g.instance)),
	}
}

// A reported finding is one of the doctor's.
type reported struct {
	Code     string          `json:"code"`
	Severity doctor.Severity `json:"severity"`
	Name     string          `json:"name"`
	Text     string          `json:"text,omitempty"`
}

// reportFindings makes all checks. Texts that may quote other people's rules,
// files or processes are left out.
func (g *ground) reportFindings(ctx context.Context) (any, error) {
	p, err := g.patient(ctx)
	if err != nil {
		return nil, err
	}
	out := []reported{}
	for _, r := range doctor.Examine(ctx, p, doctor.Checks()) {
		for _, f := range r.Findings {
			one := reported{f.Code, f.Severity, f.Name, f.Text}
			if quotesOthers(f.Code) {
				one.Text = ""
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// quotesOthers reports whether a finding may quote what isn't fairway's.
func quotesOthers(code string) bool {
	for _, ours := range []string{"FW00", "FW010", "FW011", "FW013", "FW014", "FW015", "FW02", "FW04", "FW062", "FW063", "FW064", "FW08"} {
		if strings.HasPrefix(code, ours) {
			return false
		}
	}
	return true
}

func (g *ground) reportEvents(ctx context.Context) ([]byte, error) {
	var b bytes.Buffer
	err := g.client.Events(ctx, time.Time{}, false, func(e event.Event) error { return printHappened(&b, e, false) })
	return b.Bytes(), err
}

// linkNames are those of the host's links that records name, sorted.
func (g *ground) linkNames() []string {
	names := map[string]bool{}
	for _, n := range g.records.Networks {
		names[n.Link], names[n.HostLink] = true, true
		for _, v := range n.VLANs {
			names[v.Link] = true
		}
	}
	for _, e := range g.records.Endpoints {
		names[e.HostLink] = true
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// reportLinks describes the links that records name, and no other.
func (g *ground) reportLinks(context.Context) (any, error) {
	out := []inspect.Link{}
	for _, name := range g.linkNames() {
		l, err := inspect.LookAtLink(name)
		if err != nil {
			return nil, err
		}
		if l != nil {
			out = append(out, *l)
		}
	}
	return out, nil
}

// namesToHide are what containers, networks and the host are called.
func (g *ground) namesToHide(ctx context.Context) (names []string) {
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	k, _ := g.known(ctx) // without the daemon, what is recorded
	for _, n := range k.Networks {
		names = append(names, n.Name)
	}
	for _, e := range k.Endpoints {
		names = append(names, e.Container)
	}
	for _, n := range g.records.Networks {
		names = append(names, n.Name)
	}
	for _, e := range g.records.Endpoints {
		names = append(names, e.Container)
	}
	for _, l := range g.records.Leases {
		names = append(names, l.Name, l.Hostname, l.FQDN, l.Domain)
	}
	return names
}
