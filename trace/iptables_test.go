package trace

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// here is a host with one address.
type here struct{}

func (here) kind(a netip.Addr) byte {
	if a.IsLoopback() || a == netip.MustParseAddr("192.0.2.1") {
		return unix.RTN_LOCAL
	}
	return unix.RTN_UNICAST
}

func (here) index(string) uint32 { return 1 }

func (here) toward(netip.Addr, uint32) string { return "fwb1" }

func packet() Packet {
	addr := netip.MustParseAddr
	return Packet{
		Proto: unix.IPPROTO_TCP, Src: addr("198.51.100.1"), SrcPort: 40000, Dst: addr("172.20.0.2"), DstPort: 80,
		In: "eth0", Out: "fwb1", DNAT: true, OrigDst: addr("192.0.2.1"), OrigPort: 8080,
	}
}

// What a rule asks is answered as iptables does, and what can't be is unsure.
func TestMatch(t *testing.T) {
	for text, want := range map[string]answer{
		"-j DROP":                                yes,
		"-i eth0 -o fwb1 -j DROP":                yes,
		"-i eth+ -j DROP":                        yes,
		"! -i eth0 -j DROP":                      no,
		"! -i eth1 -j DROP":                      yes,
		"-s 198.51.100.0/24 -j DROP":             yes,
		"! -s 198.51.100.0/24 -j DROP":           no,
		"-d 172.20.0.2/32 -p tcp -j DROP":        yes,
		"-p udp -j DROP":                         no,
		"-p tcp -m tcp --dport 80 -j DROP":       yes,
		"-p tcp -m tcp --dport 81:90 -j DROP":    no,
		"-p tcp -m tcp --sport 1024:65535 -j X":  yes,
		"-p tcp -m multiport --dports 22,79:81":  yes,
		"-m conntrack --ctstate NEW":             yes,
		"-m conntrack --ctstate DNAT":            yes,
		"-m conntrack ! --ctstate NEW":           no,
		"-m conntrack --ctstate ESTABLISHED":     no,
		"-m conntrack --ctorigdstport 8080":      yes,
		"-m conntrack --ctorigdst 192.0.2.1":     yes,
		"-m conntrack --ctdir ORIGINAL":          yes,
		"-m conntrack --ctdir REPLY":             no,
		"-m addrtype --dst-type LOCAL":           no,
		"-m addrtype ! --dst-type LOCAL":         yes,
		"-m mark --mark 0x1/0x1":                 no,
		"-m mark ! --mark 0x1/0x1":               yes,
		"-m limit --limit 5/min --limit-burst 5": yes,
		`-m comment --comment "a b" -j DROP`:     yes,
		"-m set --match-set bad src -j DROP":     unsure,
		"-m set --match-set bad src -p udp":      no,
		"-m owner --uid-owner 5 -j DROP":         unsure,
	} {
		r := &xtRun{world: here{}, packet: packet()}
		if a, _, _ := r.match(split(text)); a != want {
			t.Errorf("%s: %v, want %v", text, a, want)
		}
	}
}

// A packet goes through chains, comes back, and ends where a rule or a policy
// says.
func TestTables(t *testing.T) {
	const save = `*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:MINE - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -g MINE
-A FORWARD -j ACCEPT
-A DOCKER-USER -i eth1 -j DROP
-A DOCKER-USER -j RETURN
-A DOCKER-USER -j DROP
-A MINE -p tcp -m tcp --dport 80 -m comment --comment "say \"yes\"" -j ACCEPT
-A MINE -m set --match-set bad src -j DROP
COMMIT
`
	for name, c := range map[string]struct {
		change func(*Packet)
		end    end
		where  string
		did    []string
	}{
		"accepted":      {func(*Packet) {}, accepted, "ip filter MINE", []string{"accept"}},
		"by the user":   {func(p *Packet) { p.In = "eth1" }, dropped, "ip filter DOCKER-USER", []string{"drop"}},
		"by the policy": {func(p *Packet) { p.DstPort = 81 }, dropped, "ip filter FORWARD", []string{"unsure", "drop"}},
	} {
		p := packet()
		c.change(&p)
		r := &xtRun{world: here{}, packet: p, family: "ip", table: "filter", chains: parseXT(save)["filter"]}
		e := r.base("FORWARD")
		var did []string
		for _, s := range r.steps {
			did = append(did, s.Did)
		}
		if e != c.end || !slices.Equal(did, c.did) || r.steps[len(r.steps)-1].Where != c.where {
			t.Errorf("%s: %v, %+v: want %v by %s", name, e, r.steps, c.end, c.where)
		}
	}
}

// Marks and translation change the packet for the rules that follow.
func TestChanges(t *testing.T) {
	const save = `*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j MARK --set-xmark 0x10/0xff
-A PREROUTING -m mark --mark 0x10/0xff -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.9:81
COMMIT
`
	p := packet()
	p.Dst, p.DstPort, p.DNAT, p.Mark = p.OrigDst, p.OrigPort, false, 0x101
	r := &xtRun{world: here{}, packet: p, family: "ip", table: "nat", chains: parseXT(save)["nat"]}
	if e := r.base("PREROUTING"); e != translated || r.packet.Mark != 0x110 || where(r.packet.Dst, r.packet.DstPort) != "172.20.0.9:81" || !r.packet.DNAT {
		t.Errorf("%v: %+v", e, r.packet)
	}
}

// Whatever iptables-save prints, it is read without a panic, and a packet finds
// an end.
func FuzzTables(f *testing.F) {
	f.Add("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j FORWARD\nCOMMIT\n")
	f.Add("*nat\n:FORWARD - [0:0]\n-A FORWARD -j DNAT --to-destination [::]:1\n-A FORWARD ! -p\n-A FORWARD -m\n")
	f.Add(":x y\n-A\n*\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		for name, chains := range parseXT(text) {
			r := &xtRun{world: here{}, packet: packet(), family: "ip", table: name, chains: chains}
			if e := r.base("FORWARD"); e == returned {
				t.Errorf("%q: a base chain returns", text)
			}
		}
	})
}
