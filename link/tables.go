package link

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An addressAt is an address on the link of an index.
type addressAt struct {
	link   int
	prefix netip.Prefix
}

// A neighbourAt is an address behind the link of an index.
type neighbourAt struct {
	link int
	ip   netip.Addr
}

// addresses reads all addresses of the namespace, with their flags (IFA_F_*).
func (s *space) addresses() (map[addressAt]int, error) {
	out := map[addressAt]int{}
	err := undisturbed(func() error {
		clear(out)
		list, err := s.dumps.AddrList(nil, netlink.FAMILY_ALL)
		for _, a := range list {
			if p, ok := prefixOf(a.IPNet); ok {
				out[addressAt{a.LinkIndex, p}] = a.Flags
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return out, nil
}

// neighbours reads all permanent entries of the neighbour tables.
func (s *space) neighbours() (map[neighbourAt]string, error) {
	out := map[neighbourAt]string{}
	err := undisturbed(func() error {
		clear(out)
		for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
			list, err := s.dumps.NeighList(0, f)
			if err != nil {
				return err
			}
			for _, n := range list {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && n.State&unix.NUD_PERMANENT != 0 {
					out[neighbourAt{n.LinkIndex, ip}] = n.HardwareAddr.String()
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	return out, nil
}

// fdbAll reads the static entries of all bridges' forwarding databases: MAC
// addresses by the index of the port.
func (s *space) fdbAll() (map[int]map[string]bool, error) {
	out := map[int]map[string]bool{}
	err := undisturbed(func() error {
		clear(out)
		list, err := s.dumps.NeighListExecute(netlink.Ndmsg{Family: unix.AF_BRIDGE})
		for _, n := range list {
			if n.State&unix.NUD_NOARP == 0 {
				continue
			}
			if out[n.LinkIndex] == nil {
				out[n.LinkIndex] = map[string]bool{}
			}
			out[n.LinkIndex][n.HardwareAddr.String()] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list forwarding databases: %w", err)
	}
	return out, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}
