package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// firewallChecks are of others' rules.
func firewallChecks() []Check {
	return []Check{
		{
			Code: "FW030", Name: "nftables", Title: "another table of nftables drops the networks' packets", Severity: Bad,
			Cause:  "A base chain of hook forward in somebody's table drops, by a rule or its policy. No other table can let pass what one drops.",
			Loss:   "What the finding names: the way to the outside, or published ports.",
			Remedy: "Accept the bridges in that chain: docs/firewall.md, nftables.service. The commands do it until that table is loaded anew: write them into its file.",
			look:   lookDrops(false),
		},
		{
			Code: "FW031", Name: "iptables", Title: "a rule of iptables drops the networks' packets", Severity: Bad,
			Cause:  "A rule in FORWARD or DOCKER-USER before fairway's drops them: an administrator's, ufw's or a script's.",
			Loss:   "What the finding names: the way to the outside, or published ports.",
			Remedy: "Remove the rule, or put one before it that accepts what is to pass.",
			look:   lookDrops(true),
		},
		{
			Code: "FW032", Name: "flavours", Title: "rules of both flavours of iptables decide", Severity: Warning,
			Cause:  "There are rules of iptables-legacy while the host's iptables is the nft flavour: the alternative was changed, or a program brought its own iptables.",
			Loss:   "Both count, and `iptables -S` shows just one: a DROP there can't be found with it, and a flush leaves half.",
			Remedy: "Look at `iptables-legacy-save`. If nobody needs those rules, remove them: `iptables-legacy -F`, for each table; then reboot or remove the modules.",
			look:   lookFlavours,
		},
		{
			Code: "FW033", Name: "firewalld", Title: "firewalld closes all published ports", Severity: Warning,
			Cause:  "StrictForwardPorts=yes in firewalld.conf: it drops what it doesn't itself translate.",
			Loss:   "Nobody outside reaches a published port.",
			Remedy: "The commands set it to no; or forward the ports with firewalld.",
			look:   lookFirewalld,
		},
		{
			Code: "FW034", Name: "policy rule", Title: "somebody's policy-routing rule comes before fairway's", Severity: Bad,
			Cause:  "It has a priority of 1 to 3, before which no rule of fairway's can be put.",
			Loss:   "What it routes isn't kept out of the networks while the rules of the firewall are gone, and answers to `publish=host-firewall` may go astray.",
			Remedy: "Give it a higher number: delete it, and add it again with a priority behind those that `ip rule` shows with protocol 102.",
			look:   lookPolicy,
		},
		{
			Code: "FW035", Name: "marks", Title: "somebody uses the same bits of marks, or the same tables", Severity: Warning,
			Cause:  "A policy-routing rule of somebody's looks at bits of --mark-mask, or has a priority or table of --rule-priority.",
			Loss:   "Packets take somebody else's way: networks are open that should be closed, or unreachable.",
			Remedy: "Run the daemon with other --mark-mask or --rule-priority, as the finding says, or change the rule.",
			look: func(ctx context.Context, p *Patient) (out []Finding, err error) {
				d, err := p.differences(ctx)
				for _, c := range d.Clashes {
					out = append(out, by(nil, "another's %s", c))
				}
				return out, err
			},
		},
		{
			Code: "FW036", Name: "proxy_arp", Title: "proxy_arp doesn't answer for containers of routed networks", Severity: Warning,
			Cause:  "proxy_arp is 1 on an uplink, and a network has gateway mode routed. The kernel answers for what it would route there, and an ARP request carries no mark (docs/firewall.md).",
			Loss:   "Neighbours in the LAN don't find the containers.",
			Remedy: "Give the neighbours, or their router, a route to the network's subnet by this host; then the command turns proxy_arp off.",
			look:   lookProxyARP,
		},
	}
}

func lookDrops(iptables bool) func(context.Context, *Patient) ([]Finding, error) {
	return func(ctx context.Context, p *Patient) (out []Finding, err error) {
		if p.Drops == nil || p.WantErr != nil {
			return nil, skip("the networks aren't known")
		}
		p.dropping.Do(func() { p.dropped, p.dropErr = p.Drops(ctx) })
		err = p.dropErr
		for _, d := range p.dropped {
			if d.Iptables == iptables {
				out = append(out, by(d.Fix, "%s: dropped by %s: %s", d.What, d.Where, d.Rule))
			}
		}
		return out, err
	}
}

func lookFlavours(ctx context.Context, _ *Patient) (out []Finding, err error) {
	version, err := exec.CommandContext(ctx, "iptables", "-V").Output()
	if err != nil || !strings.Contains(string(version), "nf_tables") {
		return nil, nil // there is just one
	}
	for _, f := range []struct{ program, tables string }{{"iptables-legacy", "/proc/net/ip_tables_names"}, {"ip6tables-legacy", "/proc/net/ip6_tables_names"}} {
		names, err := os.ReadFile(f.tables)
		if err != nil || len(names) == 0 {
			continue // asking would load the modules
		}
		rules, err := exec.CommandContext(ctx, f.program+"-save").Output()
		if err != nil {
			return nil, skip("%s-save: %s", f.program, err)
		}
		n := strings.Count(string(rules), "\n-A ")
		drops := strings.Contains(string(rules), " DROP [")
		if n == 0 && !drops {
			continue
		}
		var fix []string
		for _, t := range strings.Fields(string(names)) {
			fix = append(fix, fmt.Sprintf("%s -t %s -F", f.program, quote(t)))
		}
		if drops {
			fix = append(fix, f.program+" -P FORWARD ACCEPT; "+f.program+" -P INPUT ACCEPT; "+f.program+" -P OUTPUT ACCEPT")
		}
		out = append(out, by(fix, "%s has %d rules beside those of the nft flavour", f.program, n))
	}
	return out, nil
}

const firewalldConf = "/etc/firewalld/firewalld.conf"

func lookFirewalld(context.Context, *Patient) ([]Finding, error) {
	if !runs("firewalld") {
		return nil, nil
	}
	text, err := os.ReadFile(firewalldConf)
	if err != nil {
		return nil, skip("%s", err)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if strings.TrimSpace(key) == "StrictForwardPorts" && strings.EqualFold(strings.TrimSpace(value), "yes") {
			f := auto("sed -i 's/^ *StrictForwardPorts *=.*/StrictForwardPorts=no/' "+firewalldConf, "%s: StrictForwardPorts=yes", firewalldConf)
			f.Fix = append(f.Fix, ifThere("firewall-cmd", "firewall-cmd --reload"))
			return []Finding{f}, nil
		}
	}
	return nil, nil
}

// ifThere is a command that does nothing without its program.
func ifThere(program, command string) string {
	return "! command -v " + program + " >/dev/null || " + command
}

// rulesOurs is the protocol of fairway's own rules: see nat/unroutable.
const rulesOurs = 102

func lookPolicy(_ context.Context, p *Patient) (out []Finding, err error) {
	first := map[int]int{}
	for _, r := range p.Host.Rules {
		if r.Protocol == rulesOurs && (first[r.Family] == 0 || r.Priority < first[r.Family]) {
			first[r.Family] = r.Priority
		}
	}
	for _, r := range p.Host.Rules {
		if r.Protocol == rulesOurs || r.Protocol == unix.RTPROT_KERNEL || r.Priority == 0 || r.Priority >= first[r.Family] {
			continue
		}
		out = append(out, by([]string{fmt.Sprintf("ip %s rule del priority %d", familyFlag(r.Family), r.Priority)},
			"rule %d of %s (%s) comes before fairway's %d", r.Priority, familyFlag(r.Family), ruleText(r), first[r.Family]))
	}
	return out, nil
}

func familyFlag(family int) string {
	if family == unix.AF_INET6 {
		return "-6"
	}
	return "-4"
}

func ruleText(r netlink.Rule) string {
	var words []string
	if r.Src != nil {
		words = append(words, "from "+r.Src.String())
	}
	if r.Dst != nil {
		words = append(words, "to "+r.Dst.String())
	}
	if r.Mark != 0 {
		words = append(words, fmt.Sprintf("fwmark %#x", r.Mark))
	}
	if r.Table != 0 {
		words = append(words, fmt.Sprintf("lookup %d", r.Table))
	}
	return strings.Join(words, " ")
}

func lookProxyARP(_ context.Context, p *Patient) (out []Finding, err error) {
	var subnet netip.Prefix
	for _, n := range p.bridged() {
		for _, f := range n.Families {
			if f.Mode == nat.Routed && !f.Is6() && !n.Internal {
				subnet = f.Subnet
			}
		}
	}
	if !subnet.IsValid() {
		return nil, nil
	}
	for _, name := range p.Host.uplinks(unix.AF_INET) {
		path := "net/ipv4/conf/" + name + "/proxy_arp"
		if sysctl(path) != "1" || slices.ContainsFunc(p.bridged(), func(n nat.Network) bool { return n.Link == name }) {
			continue
		}
		out = append(out, by([]string{set(path, "0")}, "proxy_arp is 1 on %s, and network %s is routed: neighbours need a route", name, subnet))
	}
	return out, nil
}
