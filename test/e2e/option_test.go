//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// A row is one option of Docker's built-in bridge and what it must do there
// and on fairway alike.
type row struct {
	name   string
	create []string // arguments of docker network create; a subnet 10.98 or 10.99.0.0/24 is added
	v6     bool     // also a subnet fd98:: or fd99::/64
	noIPv4 bool
	only   string                                         // the first engine that can ask for it
	before func(t *testing.T, h *lab.Host) (after func()) // what must be there; after the check it goes
	check  func(t *testing.T, h *lab.Host, driver string)
}

// TestBridgeOptions runs each row's assertion on both drivers. The network is
// called "opt".
func TestBridgeOptions(t *testing.T) {
	on(t, []string{oldest, newest}, func(t *testing.T, h *lab.Host) {
		for _, r := range rows() {
			for _, driver := range []string{"bridge", "fairway"} {
				if !r.runs(h.Engine().Version(), driver) {
					continue
				}
				t.Run(r.name+"/"+driver, func(t *testing.T) {
					defer tidy(t, h)
					if r.before != nil {
						defer r.before(t, h)()
					}
					r.make(t, h, driver)
					r.check(t, h, driver)
				})
			}
		}
	})
}

// runs says whether a row means something on an engine. Docker's own bridge is
// asked on the newest only, which knows every option; --ipv4=false is the newest
// client's.
func (r row) runs(engine, driver string) bool {
	if driver == "bridge" {
		return engine == newest
	}
	return world.driver == "fairway" && (engine == newest || r.only != newest)
}

func (r row) make(t *testing.T, h *lab.Host, driver string) {
	t.Helper()
	var args []string
	if !r.noIPv4 {
		args = append(args, "--subnet", subnet4(driver))
	}
	if r.v6 {
		args = append(args, "--ipv6", "--subnet", subnet6(driver))
	}
	for _, a := range r.create {
		args = append(args, strings.NewReplacer("{host4}", h.IP, "{host6}", h.IP6, "{gw4}", addr4(driver, 99)).Replace(a))
	}
	network(t, h, driver, "opt", args...)
}

// opt makes the arguments for options under Docker's names.
func opt(pairs ...string) []string {
	var args []string
	for _, p := range pairs {
		args = append(args, "--opt", "com.docker.network."+p)
	}
	return args
}
