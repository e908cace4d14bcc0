package trace

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Inside runs f in the network namespace at a path; "" for the caller's own. The
// thread that it runs on ends with it.
func Inside(path string, f func() error) error {
	if path == "" {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		ns, err := netns.GetFromPath(path)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err != nil {
			done <- fmt.Errorf("trace: enter %s: %w", path, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// An inner is what a sandbox says of the way out of it.
type inner struct {
	route
	up bool
}

// wayOut asks a sandbox where it sends a packet to an address.
func wayOut(sandbox string, dst netip.Addr) (in inner, err error) {
	err = Inside(sandbox, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		at := func(index int) int {
			return slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == index })
		}
		name := func(index int) string {
			if i := at(index); i >= 0 {
				return links[i].Attrs().Name
			}
			return fmt.Sprint(index)
		}
		in.route, err = getRoute(dst, &netlink.RouteGetOptions{}, name)
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Name == in.link {
				in.up = l.Attrs().Flags&net.FlagUp != 0
			}
		}
		return nil
	})
	return in, err
}

// listens reports whether something takes what comes to a port, in a sandbox;
// "" for the host. Known is false for protocols without a list.
func listens(sandbox string, p Packet) (is, known bool) {
	name := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[p.Proto]
	if name == "" {
		return false, false
	}
	err := Inside(sandbox, func() error {
		for _, file := range []string{name, name + "6"} {
			f, err := os.Open("/proc/thread-self/net/" + file)
			if err != nil {
				continue // no IPv6
			}
			for s := bufio.NewScanner(f); s.Scan(); {
				is = is || takes(s.Text(), p)
			}
			_ = f.Close()
		}
		return nil
	})
	return is, err == nil
}

// takes reports whether a line of /proc/net/tcp and the like (proc_pid_net(5)) is
// a socket that a packet is for: it listens, or is bound for udp.
func takes(line string, p Packet) bool {
	f := strings.Fields(line)
	if len(f) < 4 || f[3] != "0A" && f[3] != "07" {
		return false
	}
	addr, port, ok := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	raw, bad := hex.DecodeString(addr)
	if !ok || err != nil || bad != nil || uint16(n) != p.DstPort || len(raw)%4 != 0 {
		return false
	}
	for i := 0; i < len(raw); i += 4 { // words in the host's order
		slices.Reverse(raw[i : i+4])
	}
	a, ok := netip.AddrFromSlice(raw)
	if !ok {
		return false
	}
	a = a.Unmap()
	if a.IsUnspecified() {
		return a.Is6() || !p.Is6()
	}
	return a == p.Dst
}
