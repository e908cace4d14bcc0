//go:build kernel

package link

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVLANWherePossible: on a kernel without 802.1Q, or without ipvlan, one clear
// line says so, and nothing is left.
func TestVLANWherePossible(t *testing.T) {
	c := withParent(t)
	ip := testMacvlan(1)
	ip.MAC, ip.IPvlan = nil, IPvlan{IPvlanL2, IPvlanBridge}
	for _, o := range []struct {
		object Object
		says   string
	}{
		{VLAN{Name: "eth1.40", Parent: "eth1", ID: 40, Alias: Mark("0123abcd", "eth1.40", "")}, "the kernel has no 802.1Q links (modprobe 8021q)"},
		{ip, "the kernel has no ipvlan links (modprobe ipvlan)"},
	} {
		err := c.Apply(t.Context(), Set{o.object})
		switch {
		case err == nil:
			clean(t, c, Set{o.object})
		case !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), o.says) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %v, want %q", o.object, err, o.says)
		}
		must(t, c.Remove(t.Context(), Set{o.object}))
		must(t, c.Quiesce(t.Context()))
		if got := names(t, c); len(got) != 2 {
			t.Errorf("left %v, want the parent's two", got)
		}
	}
}
