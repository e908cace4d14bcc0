package doctor

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// managerChecks are of programs of the host that configure links, and would take
// fairway's for theirs.
func managerChecks() []Check {
	return []Check{
		{
			Code: "FW070", Name: "NetworkManager", Title: "NetworkManager may take fairway's links for its own", Severity: Warning,
			Cause:  "NetworkManager runs, and no file in its conf.d says that links named fw* are unmanaged.",
			Loss:   "It may ask for DHCP on them, set them down, or remove their addresses.",
			Remedy: "The command writes the file and has NetworkManager read it.",
			look:   lookNetworkManager,
		},
		{
			Code: "FW071", Name: "networkd", Title: "systemd-networkd configures fairway's links", Severity: Warning,
			Cause:  "systemd-networkd runs, and one of its .network files matches links named fw*.",
			Loss:   "It removes their addresses, or asks for DHCP on them.",
			Remedy: "The command writes a file before that one which leaves them alone.",
			look:   lookNetworkd,
		},
		{
			Code: "FW073", Name: "networkd rules", Title: "systemd-networkd removes policy-routing rules when it restarts", Severity: Warning,
			Cause:  "systemd-networkd runs, and ManageForeignRoutingPolicyRules=no isn't set (networkd.conf(5)).",
			Loss:   "Each of its restarts, and each upgrade of systemd, takes fairway's rules away until the daemon has repaired them.",
			Remedy: "The command writes the setting; it counts from the next restart of systemd-networkd on.",
			look:   lookNetworkdRules,
		},
		{
			Code: "FW074", Name: "dhcpcd", Title: "dhcpcd may give fairway's links addresses", Severity: Warning,
			Cause:  "dhcpcd runs for all links, and its configuration doesn't deny those named fw*.",
			Loss:   "It gives bridges and veths link-local addresses and routes (169.254.0.0/16), and the host loses its way.",
			Remedy: "The command denies them; restart dhcpcd then.",
			look:   lookDHCPCD,
		},
	}
}

const managerFile = "/etc/NetworkManager/conf.d/80-fairway.conf"

func lookNetworkManager(context.Context, *Patient) ([]Finding, error) {
	if !runs("NetworkManager") {
		return nil, nil
	}
	for _, dir := range []string{"/etc/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d"} {
		files, _ := filepath.Glob(dir + "/*.conf")
		for _, f := range append(files, "/etc/NetworkManager/NetworkManager.conf") {
			for _, v := range values(f, "unmanaged-devices") {
				if strings.Contains(v, "interface-name:fw*") || strings.Contains(v, "interface-name:fwb*") || v == "*" {
					return nil, nil
				}
			}
		}
	}
	f := auto(`mkdir -p /etc/NetworkManager/conf.d && printf '[keyfile]\nunmanaged-devices+=interface-name:fw*\n' >`+managerFile,
		"NetworkManager runs, and isn't told to leave links named fw* alone")
	f.Fix = append(f.Fix, ifThere("nmcli", "nmcli general reload conf"))
	return []Finding{f}, nil
}

// values returns what a file of lines "key=value" says of a key; "+" at a key's
// end adds to earlier ones.
func values(file, key string) (out []string) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.TrimSuffix(strings.TrimSpace(k), "+") == key {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

// networkdName is what the kernel calls the process: 15 bytes of it.
const networkdName = "systemd-network"

func lookNetworkd(context.Context, *Patient) ([]Finding, error) {
	if !runs(networkdName) {
		return nil, nil
	}
	file := winner("fwb0123456789", "bridge")
	if file == "" {
		return nil, nil
	}
	for _, v := range values(file, "Unmanaged") {
		if v == "yes" || v == "true" || v == "1" {
			return nil, nil
		}
	}
	f := auto(`mkdir -p /etc/systemd/network && printf '[Match]\nName=fw*\n\n[Link]\nUnmanaged=yes\n' >/etc/systemd/network/00-fairway.network`,
		"%s matches links named fw*", file)
	f.Fix = append(f.Fix, ifThere("networkctl", "networkctl reload || true"))
	return []Finding{f}, nil
}

// winner returns the .network file that systemd-networkd takes for a link: of
// all directories the first by name that matches, one in /etc before others of
// the same name (systemd.network(5)). Files that match by what isn't known here,
// such as a driver, are passed over; "" if none is left.
func winner(link, kind string) string {
	byName := map[string]string{}
	for _, dir := range []string{"/usr/lib/systemd/network", "/run/systemd/network", "/etc/systemd/network"} {
		files, _ := filepath.Glob(dir + "/*.network")
		for _, f := range files {
			byName[filepath.Base(f)] = f
		}
	}
	var names []string
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if matches(byName[n], link, kind) {
			return byName[n]
		}
	}
	return ""
}

func matches(file, link, kind string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	in, said := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = line == "[Match]"
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !in || !ok || strings.HasPrefix(line, "#") {
			continue
		}
		is := map[string]string{"Name": link, "Kind": kind, "Type": "bridge"}[strings.TrimSpace(key)]
		if is == "" || !globs(strings.Fields(value), is) {
			return false
		}
		said = true
	}
	return said
}

// globs reports whether one of the patterns matches; a "!" before the first
// turns it round.
func globs(patterns []string, s string) bool {
	not := len(patterns) > 0 && strings.HasPrefix(patterns[0], "!")
	for _, p := range patterns {
		if ok, _ := path.Match(strings.TrimPrefix(p, "!"), s); ok {
			return !not
		}
	}
	return not
}

func lookNetworkdRules(context.Context, *Patient) ([]Finding, error) {
	if !runs(networkdName) {
		return nil, nil
	}
	files := []string{"/etc/systemd/networkd.conf"}
	for _, dir := range []string{"/etc", "/run", "/usr/lib"} {
		more, _ := filepath.Glob(dir + "/systemd/networkd.conf.d/*.conf")
		files = append(files, more...)
	}
	for _, f := range files {
		for _, v := range values(f, "ManageForeignRoutingPolicyRules") {
			if v == "no" || v == "false" || v == "0" {
				return nil, nil
			}
		}
	}
	return []Finding{auto(`mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\nManageForeignRoutingPolicyRules=no\nManageForeignRoutes=no\n' >/etc/systemd/networkd.conf.d/80-fairway.conf`,
		"systemd-networkd runs without ManageForeignRoutingPolicyRules=no")}, nil
}

func lookDHCPCD(context.Context, *Patient) ([]Finding, error) {
	if !runs("dhcpcd") {
		return nil, nil
	}
	const file = "/etc/dhcpcd.conf"
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "allowinterfaces", "interface":
			return nil, nil // just those
		case "denyinterfaces":
			for _, w := range words[1:] {
				if globs(strings.Split(w, ","), "fwb0123456789") {
					return nil, nil
				}
			}
		}
	}
	return []Finding{auto("echo 'denyinterfaces fw*' >>"+file, "dhcpcd runs, and %s doesn't deny links named fw*", file)}, nil
}
