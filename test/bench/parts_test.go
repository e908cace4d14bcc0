//go:build bench

package bench

import (
	"fmt"
	"strconv"
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
// is sent one way. The daemon is stopped meanwhile: it would repair.
func BenchmarkParts(b *testing.B) {
	paths := []*path{trackedPath(b), fairwayPath(b, unix.IPPROTO_UDP, crowd)}
	for i, part := range parts() {
		d := startDaemon(b, b.Name()+"-without-"+strconv.Itoa(i), "--firewall", "nftables")
		p := newPath(b, &path{name: "without " + part.name, proto: unix.IPPROTO_UDP, ports: crowd, published: true, fw: d})
		if err := d.cmd.Process.Signal(unix.SIGSTOP); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = d.cmd.Process.Signal(unix.SIGCONT) }) // before it is told to end
		command(b, p.host, "", "sh", "-c", part.without)
		paths = append(paths, p)
	}
	rates := interleave(b, paths, (*rate).datagrams)
	var rows [][]string
	for _, r := range rates {
		rows = append(rows, []string{r.path.name, fmt.Sprintf("%.2f", 1e6/r.median()), fmt.Sprintf("%.2f", r.median()/rates[0].median())})
	}
	table([]string{"UDP, one way, 1,000 ports", "us of a processor", "rate to tracked"}, rows)
	b.ReportMetric(0, "ns/op")
}
