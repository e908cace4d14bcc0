package link

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// besideRemotes reads neighbours and forwarding databases as far as Reconcile has
// to do with them, where a bridge has neighbours on other hosts: those may be tens
// of thousands, and are somebody else's to compare, see Remotes. So the databases
// are read port by port, for each of which the kernel goes through its bridge's, as
// it does again and again for one long list.
func (have *state) besideRemotes(s *space, want Set) error {
	index, remote := map[string]int{}, map[int]bool{}
	for _, l := range have.links {
		index[l.name] = l.index
	}
	wanted := map[neighbourAt]bool{}
	for _, o := range want {
		switch o := o.(type) {
		case Bridge:
			if i, ok := index[o.Name]; ok && o.Remote {
				remote[i] = true
			}
		case Neighbour:
			wanted[neighbourAt{index[o.Link], o.IP}] = true
		}
	}
	if len(remote) == 0 {
		return have.allTables(s)
	}
	if err := have.neighboursBut(s, remote, wanted); err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	have.fdb = map[int]map[string]bool{}
	for _, o := range want {
		v, ok := o.(Veth)
		if i, there := index[v.Name]; ok && there {
			macs, err := s.fdbOf(i)
			if err != nil {
				return fmt.Errorf("list forwarding entries of %s: %w", v.Name, err)
			}
			have.fdb[i] = macs
		}
	}
	return nil
}

// allTables reads both as they are.
func (have *state) allTables(s *space) (err error) {
	if have.neighbours, err = s.neighbours(); err == nil {
		have.fdb, err = s.fdbAll()
	}
	return err
}

// neighboursBut reads the permanent neighbours, but for those of some bridges that
// aren't wanted.
func (have *state) neighboursBut(s *space, bridges map[int]bool, wanted map[neighbourAt]bool) error {
	return undisturbed(func() error {
		have.neighbours = map[neighbourAt]string{}
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			msgs, err := s.list.dump(neighbourDump(family), unix.RTM_NEWNEIGH)
			if err != nil {
				return err
			}
			for _, m := range msgs {
				if len(m) < unix.SizeofNdMsg {
					continue
				}
				link := number(m[ndmIndex : ndmIndex+4])
				n, ok := parseRemoteIP(m, link)
				if at := (neighbourAt{link, n.IP}); ok && (!bridges[link] || wanted[at]) {
					have.neighbours[at] = net.HardwareAddr(n.MAC[:]).String()
				}
			}
		}
		return nil
	})
}

func neighbourDump(family uint8) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	header := make(raw, unix.SizeofNdMsg)
	header[0] = family
	req.AddData(header)
	return req
}

// fdbOf reads the static entries of one port of a bridge.
func (s *space) fdbOf(port int) (macs map[string]bool, err error) {
	err = undisturbed(func() error {
		macs = map[string]bool{}
		msgs, err := s.list.dump(portDump(port), unix.RTM_NEWNEIGH)
		for _, m := range msgs {
			if e, ok := parseRemoteEntry(m, port); ok && e.Bridge && number(m[ndmState:ndmState+2])&unix.NUD_NOARP != 0 {
				macs[e.MAC.String()] = true
			}
		}
		return err
	})
	return macs, err
}

// portDump asks for the forwarding entries of one link. The kernel takes the
// filter from a header of another kind (valid_fdb_dump_legacy in
// net/core/rtnetlink.c).
func portDump(port int) *nl.NetlinkRequest {
	req, info := linkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, port)
	info.Family = unix.AF_BRIDGE
	return req
}
