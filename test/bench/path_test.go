//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A path is a way to a container: a client, a host that forwards, and a
// container on a bridge of the host, each a network namespace.
//
//	client 192.0.2.2 ─── 192.0.2.1 host 10.77.0.1 (bridge) ─── 10.77.0.2 container
type path struct {
	name                    string
	client, host, container netns.NsHandle
	published               bool // the client asks the host, not the container
	ports                   int  // published
	proto                   int
	fw                      *daemon
}

const (
	firstPort = 20000 // published, and those after it
	shift     = 1     // from a published port to the container's: such ports are no range
	asked     = 10    // how many of the published ports are used, evenly spread
)

func hostAddr() netip.Addr      { return netip.MustParseAddr("192.0.2.1") }
func containerAddr() netip.Addr { return netip.MustParseAddr("10.77.0.2") }

// listens returns those ports of the container that are asked.
func (p *path) listens() (ports []uint16) {
	for i := range asked {
		ports = append(ports, uint16(firstPort+shift+(2*i+1)*p.ports/(2*asked)))
	}
	return ports
}

// target returns where a client finds a port of the container.
func (p *path) target(port uint16) netip.AddrPort {
	if p.published {
		return netip.AddrPortFrom(hostAddr(), port-shift)
	}
	return netip.AddrPortFrom(containerAddr(), port)
}

// within runs f on a thread in a namespace, which ends with it.
func within(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no other use
		err := netns.Set(ns)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// must is within for what sets a benchmark up.
func must(b *testing.B, ns netns.NsHandle, f func() error) {
	b.Helper()
	if err := within(ns, f); err != nil {
		b.Fatal(err)
	}
}

func emptyNamespace(b *testing.B) (ns netns.NsHandle) {
	b.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: see within
		h, err := newNamespace()
		if err == nil {
			h.Close()
			ns, err = netns.Get()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ns.Close() })
	return ns
}

// command runs a program in a namespace.
func command(b *testing.B, ns netns.NsHandle, input string, args ...string) {
	b.Helper()
	must(b, ns, func() error {
		cmd := exec.CommandContext(world.ctx, args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(input)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, out.Bytes())
		}
		return nil
	})
}

// newPath makes a path over a host that has a bridge with a container already,
// or is empty.
func newPath(b *testing.B, p *path) *path {
	b.Helper()
	p.client, p.container = emptyNamespace(b), emptyNamespace(b)
	if p.fw == nil {
		p.host = emptyNamespace(b)
		command(b, p.host, "", "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
		command(b, p.host, "", "ip", "address", "add", "10.77.0.1/16", "dev", "br0")
		command(b, p.host, "", "ip", "link", "set", "br0", "up")
		p.pair(b, "inside", p.container)
		command(b, p.host, "", "ip", "link", "set", "inside", "master", "br0")
		must(b, p.host, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	} else {
		var err error
		if p.host, err = netns.GetFromPid(p.fw.cmd.Process.Pid); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { p.host.Close() })
		p.publish(b)
	}
	p.pair(b, "outside", p.client)
	command(b, p.host, "", "ip", "address", "add", "192.0.2.1/24", "dev", "outside")
	p.address(b, p.client, "192.0.2.2/24", hostAddr())
	p.address(b, p.container, "10.77.0.2/16", netip.MustParseAddr("10.77.0.1"))
	return p
}

// pair connects a namespace with the host, where the link has this name; in the
// namespace it is eth0.
func (p *path) pair(b *testing.B, name string, ns netns.NsHandle) {
	b.Helper()
	must(b, p.host, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.NumTxQueues, attrs.NumRxQueues = name, 1, 1 // as fairway's
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns), PeerNumTxQueues: 1, PeerNumRxQueues: 1,
		})
	})
	command(b, p.host, "", "ip", "link", "set", name, "up")
}

func (p *path) address(b *testing.B, ns netns.NsHandle, addr string, gateway netip.Addr) {
	b.Helper()
	command(b, ns, "", "ip", "address", "add", addr, "dev", "eth0")
	command(b, ns, "", "ip", "link", "set", "eth0", "up")
	command(b, ns, "", "ip", "route", "add", "default", "via", gateway.String())
}

// publish makes a network and an endpoint at the daemon, gives the endpoint's
// link to the container, as dockerd does, and publishes ports.
func (p *path) publish(b *testing.B) {
	b.Helper()
	network := p.fw.createNetwork(b)
	e := newEndpoint(network, 0)
	if err := p.fw.tryAttach(e); err != nil {
		b.Fatal(err)
	}
	l, err := p.fw.links.LinkByName(e.link)
	if err == nil {
		err = p.fw.links.LinkSetNsFd(l, int(p.container))
	}
	if err != nil {
		b.Fatal(err)
	}
	command(b, p.container, "", "ip", "link", "set", e.link, "name", "eth0")
	var refer struct{ EndpointID string }
	decode(b, e.refer, &refer)
	ports := make([]object, p.ports)
	for i := range ports {
		ports[i] = object{"Proto": p.proto, "Port": firstPort + i + shift, "HostPort": firstPort + i, "HostPortEnd": firstPort + i}
	}
	p.fw.call(b, "/NetworkDriver.ProgramExternalConnectivity", encode(object{
		"NetworkID": network, "EndpointID": refer.EndpointID, "Options": object{"com.docker.network.portmap": ports},
	}))
}

// dockerRules are those that dockerd 20.10 makes for a network on br0 whose
// container publishes n ports.
func dockerRules(proto, n int) string {
	var nat, filter strings.Builder
	to := containerAddr().String()
	match := "-p tcp -m tcp"
	if proto == unix.IPPROTO_UDP {
		match = "-p udp -m udp"
	}
	for i := range n {
		in := firstPort + i + shift
		fmt.Fprintf(&nat, "-A POSTROUTING -s %s/32 -d %s/32 %s --dport %d -j MASQUERADE\n", to, to, match, in)
		fmt.Fprintf(&nat, "-A DOCKER ! -i br0 %s --dport %d -j DNAT --to-destination %s:%d\n", match, firstPort+i, to, in)
		fmt.Fprintf(&filter, "-A DOCKER -d %s/32 ! -i br0 -o br0 %s --dport %d -j ACCEPT\n", to, match, in)
	}
	return `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.77.0.0/16 ! -o br0 -j MASQUERADE
-A DOCKER -i br0 -j RETURN
` + nat.String() + `COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br0 -j DOCKER
-A FORWARD -i br0 ! -o br0 -j ACCEPT
-A FORWARD -i br0 -o br0 -j ACCEPT
` + filter.String() + `-A DOCKER-ISOLATION-STAGE-1 -i br0 ! -o br0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o br0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`
}

// tracking has each connection of a host tracked, and nothing else done.
const tracking = `table inet plain {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
	}
}`

func routedPath(b *testing.B) *path {
	return newPath(b, &path{name: "routed, not tracked", ports: asked})
}

func trackedPath(b *testing.B) *path {
	p := newPath(b, &path{name: "routed, tracked", ports: asked})
	command(b, p.host, tracking, "nft", "-f", "-")
	return p
}

func fairwayPath(b *testing.B, proto, ports int) *path {
	d := startDaemon(b, fmt.Sprintf("%s-%d", b.Name(), ports), "--firewall", "nftables")
	return newPath(b, &path{name: "fairway", proto: proto, ports: ports, published: true, fw: d})
}

func dockerPath(b *testing.B, proto, ports int) *path {
	p := newPath(b, &path{name: "Docker's iptables rules", proto: proto, ports: ports, published: true})
	command(b, p.host, dockerRules(proto, ports), "iptables-nft-restore")
	return p
}

// forget drops what the host tracks, so that no round pays for another.
func (p *path) forget() error {
	return within(p.host, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}
