//go:build kernel

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netns"
)

// A lab is a host with a segment's bridge, a container on it, and a server of DNS
// beyond the host. The test's goroutine stays on one thread.
type lab struct {
	*testing.T
	host, container, beyond netns.NsHandle
	resolver                *Resolver
}

// patient bounds what must happen at some time.
const patient = 20 * time.Second

func newLab(t *testing.T, internal bool) *lab {
	own := serveDNS(t, "own", "127.0.0.1:0") // where the resolver's other goroutines are: the test's own loopback
	runtime.LockOSThread()                   // never unlocked: the thread is thrown away
	l := &lab{T: t}
	for _, ns := range []*netns.NsHandle{&l.host, &l.container, &l.beyond} {
		h, err := netns.New()
		if err != nil {
			t.Fatalf("network namespace: %v (the kernel tests need root)", err)
		}
		*ns = h
		t.Cleanup(func() { h.Close() })
		l.sh("ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
	}
	l.enter(l.host)
	l.sh(`ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && ip a add 10.1.0.1/24 dev br0 && ip a add fd00::1/64 dev br0 nodad
ip link add c0 type veth peer name c1 && ip link add u0 type veth peer name u1 && ip link set c0 master br0 up && ip link set u0 up
ip a add 192.0.2.1/24 dev u0 && ip a add 2001:db8::1/64 dev u0 nodad
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`)
	l.move("c1", l.container)
	l.move("u1", l.beyond)
	l.enter(l.container)
	l.sh("ip link set c1 up && ip a add 10.1.0.2/24 dev c1 && ip a add fd00::2/64 dev c1 nodad && ip r add default via 10.1.0.1 && ip r add default via fd00::1")
	l.enter(l.beyond)
	l.sh("ip link set u1 up && ip a add 192.0.2.53/24 dev u1 && ip a add 2001:db8::53/64 dev u1 nodad && ip r add default via 192.0.2.1 && ip r add default via 2001:db8::1")
	serveDNS(t, "beyond", "192.0.2.53:53", "[2001:db8::53]:53")
	log := logrus.New()
	log.SetOutput(t.Output())
	l.resolver = New(Options{Instance: "0123abcd", Log: log, Servers: func() ([]string, error) { return own, nil }})
	l.enter(l.host)
	l.resolver.Open(Segment{
		Name: "bone", Bridge: "br0", Internal: internal, Gateways: ips("10.1.0.1", "fd00::1"),
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00::/64")},
	})
	t.Cleanup(func() {
		l.enter(l.host)
		l.resolver.Stop()
	})
	if trouble := l.resolver.Trouble(); trouble != "" {
		t.Fatal(trouble)
	}
	l.resolver.SetRemotes("bone", []Record{
		{"b/1", []string{"web", "front"}, ips("10.1.0.8", "fd00::8")},
		{"c/1", []string{"web2", "front"}, ips("10.1.0.9", "fd00::9")},
	})
	return l
}

func (l *lab) enter(ns netns.NsHandle) {
	l.Helper()
	if err := netns.Set(ns); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) move(link string, ns netns.NsHandle) {
	l.sh(fmt.Sprintf("ip link set %s netns /proc/%d/fd/%d", link, os.Getpid(), int(ns)))
}

func (l *lab) sh(script string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
		l.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// ask asks a server from the container, and returns what it says in a line.
func (l *lab) ask(network, server, name string, qtype uint16) string {
	l.Helper()
	l.enter(l.container)
	conn, err := net.DialTimeout(network, net.JoinHostPort(server, "53"), patient) // it takes only answers from there
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patient))
	c := dns.Client{Net: network, Timeout: patient}
	a, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(name, qtype), &dns.Conn{Conn: conn})
	if err != nil {
		return err.Error()
	}
	return show(a, true)
}

func (l *lab) want(network, server, name string, qtype uint16, want string) {
	l.Helper()
	if got := l.ask(network, server, name, qtype); got != want {
		l.Errorf("%s %s by %s of %s: %s, want %s", name, dns.TypeToString[qtype], network, server, got, want)
	}
}

// serveDNS serves DNS on the addresses: the name that was asked for, as text, by
// who says so.
func serveDNS(t *testing.T, who string, addresses ...string) (ports []string) {
	t.Helper()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		a.Answer = []dns.RR{&dns.TXT{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{who, q.Question[0].Name},
		}}
		_ = w.WriteMsg(a)
	})
	for _, address := range addresses {
		pc, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, pc.LocalAddr().String())
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
			started, ended := make(chan struct{}), make(chan error)
			s.NotifyStartedFunc = func() { close(started) }
			go func() { ended <- s.ActivateAndServe() }()
			<-started
			t.Cleanup(func() {
				if err := errors.Join(s.Shutdown(), <-ended); err != nil {
					t.Error(err)
				}
			})
		}
	}
	return ports
}

const (
	server4, server6   = "192.0.2.53", "2001:db8::53"
	gateway4, gateway6 = "10.1.0.1", "fd00::1"
)

// Names of the segment are answered in the name of whom the container asks, and
// nothing else is touched.
func TestNames(t *testing.T) {
	l := newLab(t, false)
	for _, server := range []string{server4, server6, gateway4, gateway6} {
		l.want("udp", server, "web.", dns.TypeA, "NOERROR 10.1.0.8")
		l.want("udp", server, "WEB.bone.", dns.TypeAAAA, "NOERROR fd00::8")
		l.want("udp", server, "front.", dns.TypeA, "NOERROR 10.1.0.8 10.1.0.9")
		l.want("udp", server, "web.", dns.TypeTXT, "NOERROR SOA:web.")
		l.want("udp", server, "nobody.bone.", dns.TypeA, "NXDOMAIN SOA:bone.")
		l.want("udp", server, "8.0.1.10.in-addr.arpa.", dns.TypePTR, "NOERROR web.bone.")
	}
	for _, server := range []string{server4, server6} {
		l.want("udp", server, "Other.", dns.TypeTXT, `NOERROR "beyond" "Other."`)
		l.want("tcp", server, "web.", dns.TypeTXT, `NOERROR "beyond" "web."`) // not covered: see the docs
	}
	for _, gateway := range []string{gateway4, gateway6} {
		l.want("tcp", gateway, "web.", dns.TypeA, "NOERROR 10.1.0.8")
		for _, network := range []string{"udp", "tcp"} {
			l.want(network, gateway, "other.", dns.TypeTXT, `NOERROR "own" "other."`)
		}
	}

	l.resolver.Put("bone", Record{"b/1", []string{"renamed"}, ips("10.1.0.8")})
	l.resolver.Remove("bone", "c/1")
	l.want("udp", server4, "renamed.", dns.TypeA, "NOERROR 10.1.0.8")
	l.want("udp", server4, "front.", dns.TypeTXT, `NOERROR "beyond" "front."`)

	// What others remove comes back.
	l.enter(l.host)
	for _, harm := range []string{"nft flush ruleset", "nft flush chain inet fairway-names questions", "nft flush set inet fairway-names bridges"} {
		l.sh(harm)
		l.want("udp", server4, "renamed.", dns.TypeTXT, `NOERROR "beyond" "renamed."`)
		l.enter(l.host)
		l.resolver.Repair()
		l.want("udp", server4, "renamed.", dns.TypeA, "NOERROR 10.1.0.8")
		l.enter(l.host)
	}

	// A bridge that is made anew is found.
	l.sh("ip link set br0 down && ip link del br0 && ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && ip a add 10.1.0.1/24 dev br0 && ip a add fd00::1/64 dev br0 nodad && ip link set c0 master br0")
	l.resolver.Repair()
	l.want("udp", server4, "renamed.", dns.TypeA, "NOERROR 10.1.0.8")

	// A daemon that is killed leaves the rules, with nobody at the queue.
	l.resolver.mu.Lock()
	p := l.resolver.parts
	l.resolver.parts = nil
	l.resolver.mu.Unlock()
	if err := p.queue.close(); err != nil {
		t.Error(err)
	}
	if err := l.resolver.serve(nil); err != nil {
		t.Error(err)
	}
	l.want("udp", server4, "renamed.", dns.TypeTXT, `NOERROR "beyond" "renamed."`)
	l.enter(l.host)
	l.resolver.Repair() // as the next daemon does
	l.want("udp", server4, "renamed.", dns.TypeA, "NOERROR 10.1.0.8")

	l.enter(l.host)
	l.resolver.Close("bone")
	l.want("udp", server4, "renamed.", dns.TypeTXT, `NOERROR "beyond" "renamed."`)
	l.enter(l.host)
	l.sh("! nft list tables | grep names")
}

// An internal segment's gateway tells the segment's names, and no others.
func TestInternal(t *testing.T) {
	l := newLab(t, true)
	for _, network := range []string{"udp", "tcp"} {
		l.want(network, gateway4, "web.", dns.TypeA, "NOERROR 10.1.0.8")
		l.want(network, gateway4, "other.", dns.TypeTXT, "REFUSED")
	}
}

// Two resolvers on one host get along.
func TestQueueTaken(t *testing.T) {
	l := newLab(t, false)
	l.enter(l.host)
	q, err := openQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	if q.number == l.resolver.parts.queue.number {
		t.Errorf("both have queue %d", q.number)
	}
}
