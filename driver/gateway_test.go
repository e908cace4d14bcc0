package driver_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairway/driver"
	"fairway/store"
)

// A container on several networks publishes its ports once a family, on the
// gateway of that family. The calls of each case are those of engine 29's proxy
// (moby's libnetwork/drivers/remote) for what its name says; "four" has IPv4
// only, "dual" and "twin" both families, "six" IPv6 only.
func TestGateways(t *testing.T) {
	tests := map[string][]struct {
		call string // endpoint, "+" publish, "/" with another IPv6 gateway, "-" revoke
		want string // what is published then
	}{
		"dual alone": {{"dual+", "dual 4:8080 6:8080"}},
		"four, then dual for IPv6, four leaves": {
			{"four+", "four 4:8080 6>4:8080"},
			{"dual+", "four 4:8080, dual 6:8080"},
			{"four-", "dual 6:8080"},
			{"dual+", "dual 4:8080 6:8080"},
		},
		"dual, then four before it, four leaves": {
			{"dual+", "dual 4:8080 6:8080"},
			{"dual+", "dual 4:8080 6:8080"}, // it is the gateway for IPv6 only now: Docker can't say so
			{"four/", "four 4:8080, dual 6:8080"},
			{"four/", "four 4:8080, dual 6:8080"},
			{"four-", "dual 6:8080"},
			{"dual+", "dual 4:8080 6:8080"},
		},
		"dual, then twin before it": {
			{"dual+", "dual 4:8080 6:8080"},
			{"dual-", ""},
			{"twin+", "twin 4:8080 6:8080"},
		},
		"four and six": {
			{"four+", "four 4:8080 6>4:8080"},
			{"six+", "four 4:8080, six 6:8080"},
		},
		"four and six before engine 29": { // which tells both of them
			{"four+", "four 4:8080 6>4:8080"},
			{"four-", ""},
			{"four/", "four 4:8080"},
			{"six/", "four 4:8080, six 6:8080"},
		},
		"dual for IPv4, twin for IPv6, twin leaves": {
			{"dual/", "dual 4:8080"},
			{"twin+", "dual 4:8080, twin 6:8080"},
			{"twin-", "dual 4:8080"},
			{"dual+", "dual 4:8080 6:8080"},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			d := fourAndSix(t)
			for _, s := range steps {
				e, call := s.call[:len(s.call)-1], s.call[len(s.call)-1:]
				if call == "-" {
					must(t, d.Unpublish(t.Context(), e, e))
				} else {
					must(t, d.Publish(t.Context(), e, e, driver.PublishSpec{Ports: web, IPv6Elsewhere: call == "/"}))
				}
				if diff := cmp.Diff(s.want, published(d)); diff != "" {
					t.Fatalf("after %s (-want +got):\n%s", s.call, diff)
				}
			}
		})
	}
}

// A port of one family's address is no error for the other family's gateway.
func TestGatewayOfOtherFamily(t *testing.T) {
	d := fourAndSix(t)
	local := slices.Clone(web)
	local[0].HostIP = netip.MustParseAddr("127.0.0.1")
	must(t, d.Publish(t.Context(), "four", "four", driver.PublishSpec{Ports: local, IPv6Elsewhere: true}))
	must(t, d.Publish(t.Context(), "six", "six", driver.PublishSpec{Ports: local}))
	if got, want := published(d), "four 4:8080"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
}

// Another container's ports are nobody else's, whatever gateway Docker makes.
func TestGatewayOfAnotherSandbox(t *testing.T) {
	d := fourAndSix(t)
	must(t, d.Publish(t.Context(), "dual", "dual", driver.PublishSpec{Ports: web}))
	e := driver.EndpointSpec{ID: "other", Network: "four", Engine: "/e", IPv4: netip.MustParsePrefix("10.1.0.9/24")}
	attach(t, d, e, "/run/netns/other")
	if err := d.Publish(t.Context(), "four", "other", driver.PublishSpec{Ports: web, IPv6Elsewhere: true}); err == nil {
		t.Error("a port of another container: no error")
	}
	if got, want := published(d), "dual 4:8080 6:8080"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
}

var web = []store.PortBinding{{Proto: 6, Port: 80, HostPort: 8080, HostPortEnd: 8080}} //nolint:gochecknoglobals // a constant

// fourAndSix returns a driver with four networks and an endpoint of the same name
// in each, all in one sandbox.
func fourAndSix(t *testing.T) *driver.Driver {
	t.Helper()
	w := newWorld()
	w.sandboxes["/run/netns/c"] = true
	d := w.start(t, store.Records{})
	for i, name := range []string{"four", "dual", "twin", "six"} {
		n := driver.NetworkSpec{ID: name, Engine: "/e", IPv4: name != "six", IPv6: name != "four"}
		e := driver.EndpointSpec{ID: name, Network: name, Engine: "/e"}
		if n.IPv4 {
			n.Subnets = append(n.Subnets, subnet(fmt.Sprintf("10.%d.0.1/24", i+1)))
			e.IPv4 = netip.MustParsePrefix(fmt.Sprintf("10.%d.0.2/24", i+1))
		}
		if n.IPv6 {
			n.Subnets = append(n.Subnets, subnet(fmt.Sprintf("fd00:%d::1/64", i+1)))
			e.IPv6 = netip.MustParsePrefix(fmt.Sprintf("fd00:%d::2/64", i+1))
		}
		must(t, d.CreateNetwork(t.Context(), n))
		attach(t, d, e, "/run/netns/c")
	}
	return d
}

func subnet(gateway string) store.Subnet {
	p := netip.MustParsePrefix(gateway)
	return store.Subnet{Space: "s", Prefix: p.Masked(), Gateway: p.Addr()}
}

// published tells what all endpoints publish: "four 4:8080, six 6:8080"; 6>4 is
// by IPv6 on the host, to an IPv4 address.
func published(d *driver.Driver) string {
	var out []string
	all := d.Endpoints()
	for _, name := range []string{"four", "dual", "twin", "six", "other", "a"} {
		i := slices.IndexFunc(all, func(e store.Endpoint) bool { return e.ID == name })
		if i < 0 {
			continue
		}
		line := name
		for _, p := range all[i].Published {
			family := "4"
			switch {
			case p.HostIP.Is6() && p.IP.Is4():
				family = "6>4"
			case p.HostIP.Is6():
				family = "6"
			}
			line += fmt.Sprintf(" %s:%d", family, p.HostPort)
		}
		if line != name {
			out = append(out, line)
		}
	}
	return strings.Join(out, ", ")
}
