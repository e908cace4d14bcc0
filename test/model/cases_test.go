package model

import (
	"fmt"
	"strings"
	"testing"
)

// A found is a sequence that once failed, shrunk, and what was wrong. A fault
// at step * happens at each of the first steps in turn, since their numbers
// change with the code.
type found struct {
	wrong string
	lines string
}

func cases() []found {
	return []found{
		{
			"on a bridge of the host's a crash before the commit left an address and a sysctl that nothing knew",
			`network n0 adopted !died *`,
		},
		{
			"likewise a neighbour, when the record of its endpoint was removed first",
			`network n0 adopted
			run c0 n0
			stop c0 !die *`,
		},
		{
			"a crash, or a failing iptables, after forwarding was turned on left the host open for good",
			`network n0 dual !die *`,
		},
		{
			"likewise",
			`network n0 plain !fail *`,
		},
		{
			"a container that died gave its address to the next; its late release freed it under the next",
			`network n0 plain
			run c1 n0 tcp/8080
			run c0 n0 ip=2 || kill c1
			run c2 n0 ip=2
			run c2 n0`,
		},
		{
			"an old release, repeated, freed the address of a living endpoint",
			`network n0 plain
			run c0 n0 ip=2
			stop c0
			run c1 n0 ip=2
			repeat 3
			repeat 4
			run c2 n0 ip=2`,
		},
		{
			"a network's auxiliary address, whose own record was to follow with a later commit, was free after a restart",
			`network n0 plain
			network n1 mtu
			run c0 n0 !die *
			run c0 n1 ip=5`,
		},
		{
			"a Join whose kernel work failed was on record",
			`network n0 plain
			run c0 n0
			raw leave c0 n0
			raw elsewhere c0 n0 !fail * || tamper port c0 n0`,
		},
		{
			"a gateway whose use was not durable yet was given out again after a crash",
			`network n0 plain !dup !die *
			repeat 1
			repeat 2
			repeat 3`,
		},
		{
			"a pool whose request failed and was then found on the disk: no promise is broken",
			`network n0 plain
			network n1 plain !full *
			crash`,
		},
		{
			"a network on record twice while its removal was cut short kept its gateway in use",
			`network n0 plain
			network n1 plain !cut 1
			network n1 dual
			rmnet n1 !die *`,
		},
		{
			"two networks that left a bridge of the host's at the same time each took the other for staying",
			`network n0 adopted
			network n2 adopted
			rmnet n0 || run c0 n0 || rmnet n2`,
		},
		{
			"an endpoint that failed kept an address that had been released",
			`network n0 small
			run c0 n0 !fail 3
			repeat 1 !full *
			run c0 n0`,
		},
		{
			"a DeleteNetwork that got lost kept its subnet from the next network",
			`network n0 same
			rmnet n0 !cut *
			network n1 same
			network n0 docker`,
		},
		{
			"a network in another address space takes a subnet over that is in use",
			`network n1 same
			network n0 docker
			run c0 n1`,
		},
		{
			"what was deleted out of turn by a daemon that died in it stayed in its sandbox",
			`network n0 lan
			run c0 n0
			raw rmnet c0 n0 !die *`,
		},
		{
			"likewise one endpoint",
			`network n0 lan
			run c0 n0
			raw delete c0 n0 !died *`,
		},
		{
			"live ports: a crash or a failure at each step of adding",
			`network n0 dual
			run c0 n0 tcp/8080
			add c0 n0 tcp/9090 !die *
			observe
			stop c0
			run c0 n0 tcp/8080
			observe`,
		},
		{
			"likewise after the step",
			`network n0 dual
			run c0 n0
			add c0 n0 tcp/9090 tcp/9091 !died *
			add c0 n0 tcp/9090
			crash
			observe`,
		},
		{
			"likewise, failing",
			`network n0 plain
			run c0 n0 tcp/8080
			add c0 n0 tcp/9090 !fail *
			observe
			add c0 n0 tcp/9090 !full *
			observe`,
		},
		{
			"live ports: of removing",
			`network n0 dual
			run c0 n0 tcp/8080
			add c0 n0 tcp/9090 tcp/9091
			remove c0 n0 tcp/9090 !die *
			observe
			remove c0 n0 tcp/9091 !fail *
			observe`,
		},
		{
			"live ports: of publishing again when the container starts, and of forgetting them with it",
			`network n0 dual
			run c0 n0 tcp/8080
			add c0 n0 tcp/9090
			stop c0
			run c0 n0 tcp/8080
			observe !die *
			observe
			reboot
			rm c0
			observe !died *
			run c0 n0
			observe
			run c1 n0
			add c1 n0 tcp/9090`,
		},
		{
			"live ports: one that another container took meanwhile",
			`network n0 dual
			network n1 plain
			run c0 n0
			add c0 n0 tcp/9090 tcp/9091
			add c0 n0 tcp/9090
			stop c0
			run c1 n1 tcp/9090
			run c0 n0
			observe !fail *
			stop c1
			observe
			rmnet n0
			rm c0
			rmnet n0 !die *`,
		},
		{
			"the firewall of a daemon that began anew knew of no network, and left one that was removed then",
			`network n0 plain
			network n2 plain
			crash
			rmnet n0`,
		},
		{
			"a network that was removed before its endpoints left their ports in the sandboxes",
			`network n0 lan
			run c0 n0 tcp/8080
			run c1 n0 tcp/8081
			raw rmnet c0 n0`,
		},
		{
			"ports of a sandbox that came after Join were not in it, if they were looked at during Join",
			`network n2 hosted
			run c3 n2 tcp/8080
			run c4 n2 tcp/8081
			stop c3`,
		},
	}
}

// tries is how many steps * stands for.
const tries = 16

// TestCases plays what once failed.
func TestCases(t *testing.T) {
	for i, c := range cases() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			n := 1
			if strings.Contains(c.lines, "*") {
				n = tries
			}
			for k := 1; k <= n; k++ {
				lines := linesOf(strings.ReplaceAll(c.lines, "*", fmt.Sprint(k)))
				for _, timing := range []uint64{0, 1} {
					if err := play(t, timing, lines, func(*world) {}); err != nil {
						t.Fatalf("%s, timing %d\n%s%v", c.wrong, timing, show(lines), err)
					}
				}
			}
		})
	}
}
