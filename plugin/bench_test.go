package plugin

import (
	"testing"

	"fairway/driver"
)

// BenchmarkAttach is what the protocol itself costs an attach: both calls over
// a kept connection, with a driver that does nothing.
func BenchmarkAttach(b *testing.B) {
	f := &fake{reply: driver.EndpointReply{MAC: "02:00:00:00:00:01"}, joined: driver.Joined{SrcName: "fwi1", DstPrefix: "eth"}}
	c, _ := serve(b, newTestServer(f, nil))
	for b.Loop() {
		for _, call := range [][2]string{
			{"/NetworkDriver.CreateEndpoint", `{"NetworkID":"n1","EndpointID":"e1","Interface":{"Address":"10.1.0.2/24"},"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080,"HostPortEnd":8080}]}}`},
			{"/NetworkDriver.Join", `{"NetworkID":"n1","EndpointID":"e1","SandboxKey":"/var/run/docker/netns/0123456789ab"}`},
		} {
			if reply, err := send(c, call[0], call[1]); err != nil || len(reply) < 3 {
				b.Fatal(reply, err)
			}
		}
		f.taken()
	}
}
