//go:build bench

package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// BenchmarkCluster is one host of a cluster of 100 with 10,000 endpoints: the
// daemon and an etcd are real, the other hosts are records in it. It measures how
// long it takes from a change in etcd until the kernel has the entries, how much
// memory the daemon has, and how much of a processor while nothing happens.
func BenchmarkCluster(b *testing.B) {
	const hosts, each, changes, quiet = 100, 100, 500, 30 * time.Second
	d := startDaemon(b, "cluster", "--cluster", "http://127.0.0.1:2379", "--advertise-address", "192.0.2.254", "--host-name", "self")
	alone := d.memory()
	ns, err := netns.GetFromPid(d.cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ns.Close() })
	etcd := startEtcd(b, ns)
	for h := range hosts {
		etcd.fill(b, h, each)
	}
	d.createOverlay(b)
	start := time.Now()
	for want := hosts * each; ; time.Sleep(50 * time.Millisecond) {
		if n := d.neighbours(b); n >= want {
			break
		} else if time.Since(start) > time.Minute {
			b.Fatalf("the kernel has %d neighbours, want %d\n%s", n, want, d.tail())
		}
	}

	took := etcd.changes(b, ns, changes)
	time.Sleep(5 * time.Second) // what was changed is saved
	before := d.processor(b)
	time.Sleep(quiet)
	busy := float64(d.processor(b)-before) / float64(quiet)
	memory := float64(d.memory()) / 1024
	table([]string{"100 hosts, 10,000 endpoints", "", "aim", ""}, [][]string{
		{"etcd's change to the kernel's entries, p50 ms", ms(took.p50()), "", ""},
		{"p99 ms", ms(took.at(.99)), "50", verdict(took.at(.99) < 50*time.Millisecond)},
		{"the daemon's memory, MiB", fmt.Sprintf("%.0f", memory), "150", verdict(memory < 150)},
		{"without a cluster, MiB", fmt.Sprintf("%.0f", float64(alone)/1024), "", ""},
		{"of a processor when quiet", fmt.Sprintf("%.2f %%", 100*busy), "1 %", verdict(busy < .01)},
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took.at(.99).Microseconds()), "p99-µs")
	b.ReportMetric(memory, "MiB")
	b.ReportMetric(100*busy, "%-cpu")
}

// createOverlay makes the network of the segment s, as dockerd does.
func (d *daemon) createOverlay(b *testing.B) {
	pool := ""
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // until it has found etcd
		r, err := d.try("/IpamDriver.RequestPool", encode(object{
			"AddressSpace": "fairway-local", "Pool": "10.1.0.0/16", "Options": object{"segment": "s"},
		}))
		if pool = r.PoolID; err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	gateway := d.call(b, "/IpamDriver.RequestAddress", encode(object{
		"PoolID": pool, "Options": object{"RequestAddressType": "com.docker.network.gateway"},
	})).Address
	d.call(b, "/NetworkDriver.CreateNetwork", encode(object{
		"NetworkID": newID(),
		"Options":   object{"com.docker.network.generic": object{"mode": "overlay", "segment": "s"}, "com.docker.network.enable_ipv6": false},
		"IPv4Data":  []object{{"AddressSpace": "fairway-local", "Pool": "10.1.0.0/16", "Gateway": gateway}},
		"IPv6Data":  []object{},
	}))
}

// neighbours counts the fixed neighbour entries of the daemon's namespace.
func (d *daemon) neighbours(b *testing.B) (n int) {
	all, err := d.links.NeighList(0, unix.AF_INET)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range all {
		if e.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 && e.IP.To4() != nil && e.IP.To4()[0] == 10 {
			n++
		}
	}
	return n
}

// processor is the time of processors that the daemon has had.
func (d *daemon) processor(b *testing.B) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * (time.Second / 100) // clock ticks: USER_HZ is 100
}

// An etcd is the machine's own program, in a network namespace.
type etcd struct{ client *clientv3.Client }

// startEtcd starts one on the loopback of a namespace. It ends with the benchmark.
func startEtcd(b *testing.B, ns netns.NsHandle) *etcd {
	cmd := exec.Command("etcd", "--data-dir", filepath.Join(world.dir, "etcd"), "--log-level", "fatal")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		if err := within(ns, func() error { // on a thread that stays as long as the process
			err := cmd.Start()
			started <- err
			if err == nil {
				_ = cmd.Wait()
			}
			return nil
		}); err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"http://127.0.0.1:2379"}, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (c net.Conn, err error) {
			err = within(ns, func() (err error) {
				c, err = (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(address, "http://"))
				return err
			})
			return c, err
		})},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	ctx, cancel := context.WithTimeout(world.ctx, 30*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, "x"); err != nil {
		b.Fatal(err)
	}
	return &etcd{client}
}

// record is where and what the i-th endpoint of a host is, with a MAC address that
// a version tells.
func record(h, i int, version uint16) (key, value string) {
	return fmt.Sprintf("/fairway/default/endpoints/s/h%03d/e%03d", h, i), string(encode(object{
		"id": fmt.Sprintf("e%03d", i), "mac": mac(h, i, version).String(), "ipv4": address(h, i).String(),
	}))
}

func mac(h, i int, version uint16) net.HardwareAddr {
	return net.HardwareAddr{2, byte(version >> 8), byte(version), 0, byte(h), byte(i)}
}

func address(h, i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(h), byte(i + 2)}) }

// fill writes what a host with endpoints writes.
func (e *etcd) fill(b *testing.B, h, endpoints int) {
	name := fmt.Sprintf("h%03d", h)
	put := func(key string, value any) clientv3.Op {
		return clientv3.OpPut("/fairway/default/"+key, string(encode(value)))
	}
	ops := []clientv3.Op{
		put("hosts/"+name, object{"name": name, "instance": name, "advertise": fmt.Sprintf("192.0.2.%d", h+1), "mtu": 1500}),
		put("members/s/"+name, object{"host": name}),
		put(fmt.Sprintf("blocks/s/10.1.%d.0-26", h), object{"host": name}),
		put(fmt.Sprintf("blocks/s/10.1.%d.64-26", h), object{"host": name}),
	}
	for i := range endpoints {
		key, value := record(h, i, 0)
		ops = append(ops, clientv3.OpPut(key, value))
	}
	if _, err := e.client.Txn(world.ctx).Then(ops...).Commit(); err != nil {
		b.Fatal(err)
	}
}

// changes gives so many endpoints, one after the other, another MAC address, and
// returns how long it took until the kernel had it: as neighbour and in the
// forwarding databases of bridge and VXLAN.
func (e *etcd) changes(b *testing.B, ns netns.NsHandle, n int) (took sample) {
	news, done := make(chan netlink.NeighUpdate, 4096), make(chan struct{})
	defer close(done)
	if err := netlink.NeighSubscribeWithOptions(news, done, netlink.NeighSubscribeOptions{Namespace: &ns}); err != nil {
		b.Fatal(err)
	}
	for k := range n {
		h, i, version := k%100, 7, uint16(k+1)
		key, value := record(h, i, version)
		want := mac(h, i, version).String()
		start := time.Now()
		if _, err := e.client.Put(world.ctx, key, value); err != nil {
			b.Fatal(err)
		}
		limit := time.After(20 * time.Second)
		for neighbour, forward := false, 0; !neighbour || forward < 2; {
			select {
			case u := <-news:
				switch {
				case u.Type != unix.RTM_NEWNEIGH || u.HardwareAddr.String() != want:
				case u.Family == unix.AF_BRIDGE:
					forward++
				default:
					neighbour = true
				}
			case <-limit:
				b.Fatalf("the kernel has no entry of %s", want)
			}
		}
		took = append(took, time.Since(start))
		time.Sleep(10 * time.Millisecond)
	}
	return took
}
