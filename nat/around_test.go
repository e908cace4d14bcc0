package nat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestSortOut(t *testing.T) {
	of := func(kind string, index int, name string, master int) hostLink {
		return hostLink{index: index, master: master, name: name, kind: kind}
	}
	bridge := func(index int, name string) hostLink { return of("bridge", index, name, 0) }
	got := sortOut([]hostLink{
		of("", 1, "eth0", 10),
		of("", 2, "eth1", 11),
		of("", 3, "br-ext", 0), // a card with such a name
		of("vlan", 4, "eth2.7", 18),
		bridge(10, "br0"),
		bridge(11, "docker0"), // somebody put eth1 into it
		bridge(12, "br-0123456789ab"),
		bridge(13, "br-wan"), // the default route goes by it
		bridge(14, "virbr0"),
		of("tun", 15, "vnet0", 14),
		bridge(16, "fwa"),
		of("veth", 17, "veth1", 14),
		bridge(18, "br-lan"),
		bridge(19, "odd+"),
	}, map[int]bool{13: true, 1: true}, map[string]bool{"fwa": true})
	want := Around{
		Foreign:    []string{"virbr0"},
		Lookalikes: []string{"br-ext", "br-lan", "br-wan"},
		Uplinks:    map[string]bool{"br0": true, "br-wan": true, "br-lan": true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What is no whole message, or attribute, is left out, and breaks nothing.
func TestReadHostLink(t *testing.T) {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = 7
	request.AddData(header)
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("fwb1")))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte("fairway:x:y")))
	request.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(3)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO|int(nl.NLA_F_NESTED), nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.ZeroTerminated("bridge"))
	request.AddData(info)
	message := request.Serialize()[unix.SizeofNlMsghdr:]
	got, ok := readHostLink(message)
	if want := (hostLink{index: 7, master: 3, name: "fwb1", kind: "bridge", alias: "fairway:x:y"}); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for n := range message {
		readHostLink(message[:n])
	}
}
