//go:build bench

package bench

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// A part of what a packet goes through, and how to take it away.
type part struct{ name, without string }

// parts are taken away one by one, and then all.
func parts() []part {
	chain := func(name string) string {
		return fmt.Sprintf("nft flush chain inet fairway %s && nft delete chain inet fairway %s", name, name)
	}
	const rules = "ip rule flush protocol 102" // fairway's
	all := []part{
		{"FAIRWAY-ACCEPT in iptables' FORWARD", "iptables -P FORWARD ACCEPT && nft delete table ip filter"},
		{"the policy-routing rules", rules},
		{"chain raw-prerouting", chain("raw-prerouting")},
		{"chain filter-forward", chain("filter-forward")},
		{"table bridge fairway (antispoof)", "nft delete table bridge fairway"},
		{"chain mark-prerouting, and the rules", chain("mark-prerouting") + " && " + rules},
	}
	rest := part{name: "all of these: only the translation is left"}
	for i, p := range all {
		if i != 1 { // which the last has, too
			rest.without += p.without + " && "
		}
	}
	rest.without += "true"
	return append(all, rest)
}

// BenchmarkParts measures what each part of the firewall costs a UDP packet that
// is sent one way, and a byte that goes there and back. The daemon is killed
// before a part is taken away: it would repair.
func BenchmarkParts(b *testing.B) {
	for _, m := range []struct {
		name  string
		proto int
		one   func(*rate) error
	}{
		{"UDP, one way, 1,000 ports", unix.IPPROTO_UDP, (*rate).datagrams},
		{"TCP, there and back, 1,000 ports", unix.IPPROTO_TCP, (*rate).trips},
	} {
		paths := []*path{trackedPath(b), partPath(b, 0, m.proto, part{name: "fairway", without: "true"})}
		for i, p := range parts() {
			p.name = "without " + p.name
			paths = append(paths, partPath(b, i+1, m.proto, p))
		}
		rates := interleave(b, paths, m.one)
		var rows [][]string
		for _, r := range rates {
			rows = append(rows, []string{r.path.name, fmt.Sprintf("%.2f", 1e6/r.median()), fmt.Sprintf("%.2f", r.median()/rates[0].median())})
		}
		table([]string{m.name, "us of a processor", "rate to tracked"}, rows)
	}
	b.ReportMetric(0, "ns/op")
}

// partPath is fairwayPath, with a part of it taken away.
func partPath(b *testing.B, i, proto int, less part) *path {
	d := startDaemon(b, fmt.Sprintf("%s-%d-%d", b.Name(), proto, i), "--firewall", "nftables")
	p := newPath(b, &path{name: less.name, proto: proto, ports: crowd, published: true, fw: d})
	if err := d.cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	d.done <- <-d.done // it has ended: its tables are nobody's
	command(b, p.host, "", "sh", "-c", less.without)
	return p
}
