package nat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func TestSortOut(t *testing.T) {
	attrs := func(index int, name string, master int) netlink.LinkAttrs {
		return netlink.LinkAttrs{Index: index, Name: name, MasterIndex: master}
	}
	bridge := func(index int, name string) netlink.Link { return &netlink.Bridge{LinkAttrs: attrs(index, name, 0)} }
	got := sortOut([]netlink.Link{
		&netlink.Device{LinkAttrs: attrs(1, "eth0", 10)},
		&netlink.Device{LinkAttrs: attrs(2, "eth1", 11)},
		&netlink.Device{LinkAttrs: attrs(3, "br-ext", 0)}, // a card with such a name
		&netlink.Vlan{LinkAttrs: attrs(4, "eth2.7", 18)},
		bridge(10, "br0"),
		bridge(11, "docker0"), // somebody put eth1 into it
		bridge(12, "br-0123456789ab"),
		bridge(13, "br-wan"), // the default route goes by it
		bridge(14, "virbr0"),
		&netlink.Tuntap{LinkAttrs: attrs(15, "vnet0", 14)},
		bridge(16, "fwa"),
		&netlink.Veth{LinkAttrs: attrs(17, "veth1", 14)},
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
