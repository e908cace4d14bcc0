//go:build bench

package bench

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// BenchmarkDHCPMemory attaches 1,000 containers of a macvlan network, each to a
// network namespace of its own, with addresses from a dnsmasq on the other side of
// the parent. The daemon may grow by 20 MB: when all are there, and once it has
// looked after them.
func BenchmarkDHCPMemory(b *testing.B) {
	const many, allowed = 1000, 20 << 10 // KiB
	d := startDaemon(b, "dhcp")
	serveDHCP(b, d)
	pool := d.dhcpPool(b)
	network := newID()
	d.call(b, "/NetworkDriver.CreateNetwork", encode(object{
		"NetworkID": network,
		"Options":   object{"com.docker.network.generic": object{"mode": "macvlan", "parent": "lan0", "dad": "off"}, "com.docker.network.enable_ipv6": false},
		"IPv4Data":  []object{{"AddressSpace": "fairway-local", "Pool": subnet().String(), "Gateway": ""}},
		"IPv6Data":  []object{},
	}))
	d.lease(b, pool, network, 0) // what is made once is made now
	before := d.memory()
	var took sample
	start := time.Now()
	for i := range many {
		took = append(took, d.lease(b, pool, network, i+1))
	}
	all := time.Since(start)
	attached := d.memory()
	time.Sleep(35 * time.Second) // a look every 30 s
	looked := d.memory()
	table([]string{fmt.Sprintf("%d DHCP endpoints on one parent", many), "KiB", ""}, [][]string{
		{"resident memory with one", fmt.Sprint(before), ""},
		{"more with all", fmt.Sprint(attached - before), verdict(attached-before <= allowed)},
		{"more once they were looked at", fmt.Sprint(looked - before), verdict(looked-before <= allowed)},
	})
	fmt.Printf("\nRequestAddress, CreateEndpoint and Join: p50 %s ms, p95 %s ms; all %s, most of it the namespaces\n", ms(took.p50()), ms(took.at(.95)), all.Round(time.Second))
	if more := max(attached, looked) - before; more > allowed {
		b.Errorf("the daemon grew by %d KiB, want %d at most", more, allowed)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(looked-before)/1024, "MiB")
}

// dhcpPool requests the pool whose addresses the LAN's server gives out.
func (d *daemon) dhcpPool(b *testing.B) string {
	return d.call(b, "/IpamDriver.RequestPool", encode(object{
		"AddressSpace": "fairway-local", "Pool": subnet().String(), "Options": object{"source": "dhcp", "parent": "lan0"},
	})).PoolID
}

// lease attaches the n-th container to a namespace of its own, as dockerd does,
// and returns how long fairway took.
func (d *daemon) lease(b *testing.B, pool, network string, n int) (took time.Duration) {
	id := newID()
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255)
	ports := object{"com.docker.network.portmap": []object{}, "com.docker.network.endpoint.exposedports": []object{}}
	box, path := sandbox(b, d, n)
	start := time.Now()
	address := d.call(b, "/IpamDriver.RequestAddress", encode(object{
		"PoolID": pool, "Options": object{"com.docker.network.endpoint.macaddress": mac, "com.docker.network.endpoint.name": fmt.Sprint("c", n)},
	})).Address
	d.call(b, "/NetworkDriver.CreateEndpoint", encode(object{
		"NetworkID": network, "EndpointID": id, "Options": ports,
		"Interface": object{"Address": address, "AddressIPv6": "", "MacAddress": mac},
	}))
	link := d.call(b, "/NetworkDriver.Join", encode(object{
		"NetworkID": network, "EndpointID": id, "Options": ports, "SandboxKey": path,
	})).InterfaceName.SrcName
	took = time.Since(start)
	moveIn(b, d, box, link, netip.MustParsePrefix(address))
	return took
}

// sandbox makes a network namespace at a path.
func sandbox(b *testing.B, d *daemon, n int) (box netns.NsHandle, path string) {
	path = filepath.Join(filepath.Dir(d.log), fmt.Sprint("box", n))
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	f.Close()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		ns, err := netns.New()
		if err == nil {
			box = ns
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return box, path
}

// moveIn does with a link what dockerd does.
func moveIn(b *testing.B, d *daemon, box netns.NsHandle, name string, address netip.Prefix) {
	defer box.Close()
	h, err := netlink.NewHandleAt(box)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	l, err := d.links.LinkByName(name)
	if err == nil {
		err = d.links.LinkSetNsFd(l, int(box))
	}
	if err == nil {
		l, err = h.LinkByName(name)
	}
	if err == nil {
		err = h.LinkSetName(l, "eth0")
	}
	if err == nil {
		err = h.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}})
	}
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// serveDHCP makes a parent, lan0, whose other end is in a namespace of its own,
// where a dnsmasq gives out addresses.
func serveDHCP(b *testing.B, d *daemon) {
	far, path := sandbox(b, d, -1)
	defer far.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	h, err := netlink.NewHandleAt(far)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	if err := d.links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan1", PeerNamespace: netlink.NsFd(int(far))}); err != nil {
		b.Fatal(err)
	}
	near, err := d.links.LinkByName("lan0")
	if err == nil {
		err = d.links.LinkSetUp(near)
	}
	var l netlink.Link
	if err == nil {
		l, err = h.LinkByName("lan1")
	}
	if err == nil {
		err = h.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 77, 0, 1), Mask: net.CIDRMask(subnet().Bits(), 32)}})
	}
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net="+path, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-ping", "--port=0", "--user=root", "--group=root",
		"--pid-file=", "--interface=lan1", "--bind-interfaces", "--dhcp-authoritative", "--dhcp-lease-max=5000", "--leasefile-ro", "--quiet-dhcp",
		"--dhcp-range=10.77.1.0,10.77.20.255,255.255.0.0,1h")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}
