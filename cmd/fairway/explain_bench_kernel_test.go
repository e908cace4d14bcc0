//go:build kernel

package main

import (
	"fmt"
	"testing"
)

// BenchmarkExplain measures the commands that explain things, beside so many
// endpoints with a published port each: of their process, from start to end.
func BenchmarkExplain(b *testing.B) {
	for _, present := range []int{1, 1000} {
		w := newWard(b)
		w.network(b, "big", "10.64.0.0/20", "10.64.0.1/20", `"com.docker.network.bridge.name":"fwbtest"`)
		w.endpoint(b, "big", "box", "10.64.0.2/20", "", [2]int{8080, 80})
		for n := 1; n < present; n++ {
			ref := fmt.Sprintf(`{"NetworkID":"big","EndpointID":"e%d"`, n)
			w.call(b, "NetworkDriver.CreateEndpoint", fmt.Sprintf(`%s,"Interface":{"Address":"10.64.%d.%d/20"}}`, ref, 1+n/200, 1+n%200))
			w.call(b, "NetworkDriver.Join", ref+`,"SandboxKey":"/run/netns/box"}`)
			w.call(b, "NetworkDriver.ProgramExternalConnectivity", fmt.Sprintf(
				`%s,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":%d,"HostPortEnd":%[2]d}]}}`, ref, 20000+n))
		}
		port := 8080 // a sandbox has one gateway, the last: its ports count
		if present > 1 {
			port = 20000 + present - 1
		}
		for name, script := range map[string]string{
			"doctor": "fairway doctor --json >/run/found || true", "trace": fmt.Sprintf("fairway trace outside 192.0.2.1:%d >/run/way || true", port),
			"status": "fairway status >/dev/null", "top": "fairway top >/dev/null", "inspect": "fairway inspect 10.64.0.2 >/dev/null",
		} {
			b.Run(fmt.Sprintf("%s/present=%d", name, present), func(b *testing.B) {
				for b.Loop() {
					w.sh(b, script)
				}
			})
		}
		b.Log(w.sh(b, "tail -5 /run/way; grep '\"text\"' /run/found | sort | uniq -c | sort -n | tail -5 | cut -c1-200"))
	}
}
