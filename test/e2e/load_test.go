//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// TestManyAtOnce starts 200 containers on 4 networks at once and removes them
// at once.
func TestManyAtOnce(t *testing.T) {
	const containers, networks = 200, 4
	on(t, ends, func(t *testing.T, h *lab.Host) {
		for n := range networks {
			network(t, h, world.driver, fmt.Sprintf("n%d", n), ours("--subnet", subnet(fmt.Sprint(n+1)))...)
		}
		allAtOnce(containers, func(i int) {
			args := []string{"run", "--detach", "--name", fmt.Sprintf("c%d", i), "--network", fmt.Sprintf("n%d", i%networks)}
			if i%10 == 0 {
				args = append(args, "--publish", fmt.Sprintf("%d:80", 20000+i))
			}
			if out, err := h.TryDocker(append(args, lab.Image, "probe", "serve", "tcp:80")...); err != nil {
				t.Errorf("container %d: %v: %s", i, err, out)
			}
		})
		holders := map[string]string{}
		ids := strings.Fields(h.Docker(t, "ps", "--quiet"))
		want(t, "containers that run", len(ids), containers)
		out := h.Docker(t, append([]string{"inspect", "--format",
			"{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"}, ids...)...)
		for _, l := range lines(out) {
			name, ip, _ := strings.Cut(l, " ")
			if other, ok := holders[ip]; ok || ip == "" {
				t.Errorf("%s and %s have the address %q", name, other, ip)
			}
			holders[ip] = name
		}
		neighbour(h).asks(t, "tcp", at(h.IP, 20100))
		allAtOnce(containers, func(i int) {
			if out, err := h.TryDocker("rm", "--force", fmt.Sprintf("c%d", i)); err != nil {
				t.Errorf("remove container %d: %v: %s", i, err, out)
			}
		})
	})
}

// allAtOnce calls a function for each number, all at the same time.
func allAtOnce(n int, f func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { f(i) })
	}
	wait.Wait()
}
