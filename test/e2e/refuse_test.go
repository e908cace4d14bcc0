//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestBadOptions checks that a wrong option fails the create with one line
// that names it, and leaves nothing.
func TestBadOptions(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // Docker's own takes any option: that is why this test is here
		}
		for _, c := range []struct {
			args  []string
			words []string // all of them in the line
		}{
			{[]string{"-o", "mut=1400"}, []string{"mut", `"1400"`, "mtu"}},
			{[]string{"-o", "mtu=9O00"}, []string{"mtu", `"9O00"`, "68", "65535"}},
			{[]string{"-o", "mtu=12"}, []string{"mtu", `"12"`, "68"}},
			{[]string{"-o", "com.docker.network.bridge.enable_icc=perhaps"}, []string{"enable_icc", "perhaps", "true", "false"}},
			{[]string{"-o", "com.docker.network.bridge.enable_ic=false"}, []string{"enable_ic", "com.docker.network.bridge.enable_icc"}},
			{[]string{"-o", "com.docker.network.bridge.gateway_mode_ipv4=bridged"}, []string{"gateway_mode_ipv4", "bridged", "nat-unprotected", "routed"}},
			{[]string{"-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated"}, []string{"gateway_mode_ipv4", "isolated", "internal"}},
			{[]string{"-o", "com.docker.network.bridge.name=this-name-is-too-long"}, []string{"bridge.name", "this-name-is-too-long", "15"}},
			{[]string{"-o", "com.docker.network.host_ipv4=fd00::1"}, []string{"host_ipv4", "fd00::1"}},
			{[]string{"-o", "com.docker.network.bridge.host_binding_ipv4=everywhere"}, []string{"host_binding_ipv4", "everywhere"}},
			{[]string{"-o", "mode=brigde"}, []string{"mode", "brigde", "bridge"}},
			{[]string{"-o", "mode=overlay"}, []string{"mode", "overlay", "segment"}},
			{[]string{"-o", "encrypted=true"}, []string{"encrypted"}},
			{[]string{"-o", "antispoof=maybe"}, []string{"antispoof", "maybe"}},
			{[]string{"-o", "routes=10.0.0.0/8"}, []string{"routes", "10.0.0.0/8", "via"}},
			{[]string{"-o", "snat=203.0.113.9", "--internal"}, []string{"snat", "internal"}},
		} {
			out := h.DockerErr(t, append(append([]string{"network", "create", "--driver", "fairway"}, c.args...), "bad")...)
			line, _, _ := strings.Cut(out, "\n")
			for _, w := range c.words {
				if !strings.Contains(line, w) {
					t.Errorf("%v: %q, want %q in its first line", c.args, out, w)
				}
			}
		}
		want(t, "networks", h.Docker(t, "network", "ls", "--quiet", "--filter", "type=custom"), "")
	})
}

// TestBadEndpointOptions does the same for what docker run says.
func TestBadEndpointOptions(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return
		}
		lan0(t, h)
		out := h.DockerErr(t, runArgs("a1", "--network", "name=n1,driver-opt=antispof=true")...)
		for _, w := range []string{"antispof", `nearest is "antispoof"`} {
			if !strings.Contains(out, w) {
				t.Errorf("%q, want %q in it", out, w)
			}
		}
		h.Docker(t, "rm", "--force", "a1")
		h.Docker(t, "network", "rm", "n1")
	})
}
