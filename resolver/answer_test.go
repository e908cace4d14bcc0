package resolver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func ips(all ...string) (out []netip.Addr) {
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// filled is a zone with what the tests ask for.
func filled() *zone {
	z := newZone("bone")
	z.put(Record{"b/1", []string{"web", "front", "www.example.org"}, ips("10.1.0.2", "fd00::2")})
	z.put(Record{"c/1", []string{"web2", "front"}, ips("10.1.0.3", "fd00::3")})
	z.put(Record{"9", []string{"only4", "web.1"}, ips("10.1.0.4")})
	z.put(Record{"10", []string{"only6"}, ips("fd00::5")})
	z.put(Record{"11", nil, ips("10.1.0.6")})
	return z
}

// show is an answer in a line: code, the answer's data in order, and who owns the
// SOA.
func show(a *dns.Msg, ok bool) string {
	if !ok {
		return "pass"
	}
	out := []string{dns.RcodeToString[a.Rcode]}
	for _, rr := range a.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out[1:])
	for _, rr := range a.Ns {
		out = append(out, "SOA:"+rr.Header().Name)
	}
	return strings.Join(out, " ")
}

func TestAnswer(t *testing.T) {
	z := filled()
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"web.", dns.TypeA, "NOERROR 10.1.0.2"},
		{"web.", dns.TypeAAAA, "NOERROR fd00::2"},
		{"WeB.", dns.TypeA, "NOERROR 10.1.0.2"},
		{"web.bone.", dns.TypeA, "NOERROR 10.1.0.2"},
		{"web.BONE.", dns.TypeAAAA, "NOERROR fd00::2"},
		{"web.1.", dns.TypeA, "NOERROR 10.1.0.4"},
		{"web.1.bone.", dns.TypeA, "NOERROR 10.1.0.4"},
		{"front.", dns.TypeA, "NOERROR 10.1.0.2 10.1.0.3"},
		{"front.bone.", dns.TypeANY, "NOERROR 10.1.0.2 10.1.0.3 fd00::2 fd00::3"},
		{"www.example.org.", dns.TypeA, "NOERROR 10.1.0.2"},
		{"only4.", dns.TypeAAAA, "NOERROR SOA:only4."},
		{"only4.bone.", dns.TypeAAAA, "NOERROR SOA:bone."},
		{"only6.", dns.TypeA, "NOERROR SOA:only6."},
		{"web.", dns.TypeMX, "NOERROR SOA:web."},
		{"web.", dns.TypeHTTPS, "NOERROR SOA:web."},
		{"nobody.bone.", dns.TypeA, "NXDOMAIN SOA:bone."},
		{"a.web.bone.", dns.TypeTXT, "NXDOMAIN SOA:bone."},
		{"nobody.", dns.TypeA, "pass"},
		{"bone.", dns.TypeA, "pass"},
		{"web.example.org.", dns.TypeA, "pass"},
		{"webbone.", dns.TypeA, "pass"},
		{`we\.b.`, dns.TypeA, "pass"},
		{`web\.bone.`, dns.TypeA, "pass"},
		{".", dns.TypeNS, "pass"},
		{"2.0.1.10.in-addr.arpa.", dns.TypePTR, "NOERROR web.bone."},
		{"2.0.1.10.IN-ADDR.ARPA.", dns.TypePTR, "NOERROR web.bone."},
		{"2.0.1.10.in-addr.arpa.", dns.TypeA, "NOERROR SOA:2.0.1.10.in-addr.arpa."},
		{"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NOERROR web2.bone."},
		{"6.0.1.10.in-addr.arpa.", dns.TypePTR, "pass"}, // nobody has told its name
		{"9.0.1.10.in-addr.arpa.", dns.TypePTR, "pass"},
		{"0.1.10.in-addr.arpa.", dns.TypePTR, "pass"},
		{"x.0.1.10.in-addr.arpa.", dns.TypePTR, "pass"},
		{"0.d.f.ip6.arpa.", dns.TypePTR, "pass"},
	} {
		q := new(dns.Msg).SetQuestion(c.name, c.qtype)
		a, ok := z.answer(q, dns.MinMsgSize)
		if got := show(a, ok); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, dns.TypeToString[c.qtype], got, c.want)
		}
		if !ok {
			continue
		}
		if a.Question[0] != q.Question[0] || a.Id != q.Id || !a.Response || !a.Authoritative || a.IsEdns0() != nil {
			t.Errorf("%s: answer is %v", c.name, a)
		}
		for _, rr := range slices.Concat(a.Answer, a.Ns) {
			if rr.Header().Ttl != ttl {
				t.Errorf("%s: kept for %d s", c.name, rr.Header().Ttl)
			}
		}
	}
	chaos := new(dns.Msg).SetQuestion("web.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if _, ok := z.answer(chaos, dns.MinMsgSize); ok {
		t.Error("answered in another class")
	}
}

// A segment whose name is a top-level domain doesn't hide what is below that.
func TestSharedApex(t *testing.T) {
	z := newZone("dev")
	z.put(Record{"b/1", []string{"web"}, ips("10.1.0.2")})
	for name, want := range map[string]string{"web.dev.": "NOERROR 10.1.0.2", "go.dev.": "pass", "www.go.dev.": "pass"} {
		if got := show(z.answer(new(dns.Msg).SetQuestion(name, dns.TypeA), 512)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Records come, change and go.
func TestRecords(t *testing.T) {
	z := filled()
	ask := func(name string) string {
		return show(z.answer(new(dns.Msg).SetQuestion(name, dns.TypeA), 512))
	}
	z.put(Record{"b/1", []string{"renamed", "front"}, ips("10.1.0.2")})
	z.remove("c/1")
	z.remove("c/1")
	for name, want := range map[string]string{
		"web.": "pass", "web.bone.": "NXDOMAIN SOA:bone.", "renamed.": "NOERROR 10.1.0.2", "front.": "NOERROR 10.1.0.2", "web2.": "pass",
	} {
		if got := ask(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	z.replace(remote, []Record{{"d/1", []string{"front"}, ips("10.1.0.8")}})
	z.replace(func(id string) bool { return !remote(id) }, nil)
	if len(z.records) != 1 || len(z.holders) != 1 || len(z.byIP) != 1 || ask("front.") != "NOERROR 10.1.0.8" {
		t.Errorf("left: %v, %v, %v", z.records, z.holders, z.byIP)
	}
}

// All who have a name are told in turn, as far as there is room.
func TestRotation(t *testing.T) {
	z := newZone("bone")
	for i := range 100 {
		z.put(Record{"b/" + string(rune('a'+i)), []string{"many"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})}})
	}
	first := map[string]bool{}
	for range 100 {
		q := new(dns.Msg).SetQuestion("many.", dns.TypeA).SetEdns0(1232, false)
		a, _ := z.answer(q, room(q))
		if a.Len() > 1232 || len(a.Answer) < 70 || a.Truncated || a.IsEdns0() == nil {
			t.Fatalf("%d addresses, %d bytes", len(a.Answer), a.Len())
		}
		first[a.Answer[0].String()] = true
		a, _ = z.answer(new(dns.Msg).SetQuestion("many.", dns.TypeA), 512)
		if wire, err := a.Pack(); err != nil || len(wire) > 512 || len(a.Answer) < 25 {
			t.Fatalf("%d addresses, %d bytes, %v", len(a.Answer), len(wire), err)
		}
	}
	if len(first) < 50 {
		t.Errorf("%d of 100 were first", len(first))
	}
}

func TestParse(t *testing.T) {
	good := new(dns.Msg).SetQuestion("web.", dns.TypeA).SetEdns0(4096, true)
	change := func(f func(*dns.Msg)) *dns.Msg {
		m := good.Copy()
		f(m)
		return m
	}
	for name, m := range map[string]*dns.Msg{
		"answer":        change(func(m *dns.Msg) { m.Response = true }),
		"notify":        change(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
		"update":        change(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }),
		"no question":   change(func(m *dns.Msg) { m.Question = nil }),
		"two questions": change(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"more records":  change(func(m *dns.Msg) { m.Extra = append(m.Extra, soa("x")) }),
		"an authority":  change(func(m *dns.Msg) { m.Ns = []dns.RR{soa("x")} }),
	} {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(wire); err == nil {
			t.Errorf("%s: taken for a question", name)
		}
	}
	wire, _ := good.Pack()
	q, err := parse(wire)
	if err != nil || room(q) != 1232 || room(new(dns.Msg)) != 512 {
		t.Errorf("%v, %v", q, err)
	}
	z := filled()
	for n := range 12 + len("\x03web\x00") + 4 { // the OPT record may be missing
		if q, err := parse(wire[:n]); err == nil {
			if _, ok := z.answer(q, 512); ok {
				t.Errorf("%d of %d bytes are answered", n, len(wire))
			}
		}
	}
}

// Whatever is asked: an answer is one to the question, in the room there is.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.", "front.bone.", "x.bone.", "2.0.1.10.in-addr.arpa."} {
		wire, _ := new(dns.Msg).SetQuestion(name, dns.TypeANY).SetEdns0(600, false).Pack()
		f.Add(wire)
	}
	z := filled()
	f.Fuzz(func(t *testing.T, wire []byte) {
		q, err := parse(wire)
		if err != nil {
			return
		}
		a, ok := z.answer(q, room(q))
		if !ok {
			return
		}
		a.Truncate(room(q))
		out, err := a.Pack()
		if err != nil || len(out) > room(q) {
			t.Fatalf("%d bytes for %d, %v", len(out), room(q), err)
		}
		var back dns.Msg
		if err := back.Unpack(out); err != nil || back.Id != q.Id || len(back.Question) != 1 || !strings.EqualFold(back.Question[0].Name, q.Question[0].Name) {
			t.Errorf("%v: answer %v, %v", q, &back, err)
		}
	})
}
