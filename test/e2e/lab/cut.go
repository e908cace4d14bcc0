package lab

import (
	"fmt"
	"testing"
)

// Cut takes a host off the LAN: nothing passes, and nobody is told. What is
// returned puts it back; so does the end of the test.
func (l *LAN) Cut(t testing.TB, h *Host) (heal func()) {
	t.Helper()
	port := fmt.Sprintf("port%d", h.number)
	return l.drop(t, fmt.Sprintf("cut%d", h.number), fmt.Sprintf(`table bridge cut%d {
		chain forward { type filter hook forward priority 0; iifname %[2]s drop; oifname %[2]s drop; }
		chain input { type filter hook input priority 0; iifname %[2]s drop; }
		chain output { type filter hook output priority 0; oifname %[2]s drop; }
	}`, h.number, port), "bridge")
}

// Cut drops, without a word, what this etcd and a host send each other, and
// nothing else. What is returned ends it; so does the end of the test.
func (e *Etcd) Cut(t testing.TB, h *Host) (heal func()) {
	t.Helper()
	return e.lan.drop(t, fmt.Sprintf("etcd%d", h.number), fmt.Sprintf(`table inet etcd%d {
		chain input { type filter hook input priority 0; ip saddr %[2]s tcp dport 2379 drop; }
		chain output { type filter hook output priority 0; ip daddr %[2]s tcp sport 2379 drop; }
	}`, h.number, h.IP), "inet")
}

// drop has the neighbour, whose bridge the LAN is, filter by a table.
func (l *LAN) drop(t testing.TB, table, rules, family string) (heal func()) {
	t.Helper()
	l.Neighbour.Exec(t, "nft", rules)
	healed := false
	heal = func() {
		if !healed && l.Neighbour.init != nil {
			l.Neighbour.Exec(t, "nft", "delete", "table", family, table)
		}
		healed = true
	}
	t.Cleanup(heal)
	return heal
}
