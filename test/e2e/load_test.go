//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestManyAtOnce starts 200 containers on 4 networks at once and removes them
// at once. It has the machine for itself: no test runs beside it.
func TestManyAtOnce(t *testing.T) {
	for _, engine := range ends {
		t.Run(engine, func(t *testing.T) { manyAtOnce(t, engine) })
	}
}

func manyAtOnce(t *testing.T, engine string) {
	const containers, networks = 200, 4
	h, release := borrow(t, engine)
	defer release()
	for n := range networks {
		network(t, h, world.driver, fmt.Sprintf("n%d", n), ours("--subnet", subnet(fmt.Sprint(n+1)))...)
	}
	allAtOnce(t, containers, func(i int) error {
		args := []string{"--network", fmt.Sprintf("n%d", i%networks)}
		if i%10 == 0 {
			args = append(args, "--publish", fmt.Sprintf("%d:80", 20000+i))
		}
		_, err := h.TryDocker(runArgs(fmt.Sprintf("c%d", i), args...)...)
		return err
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
	allAtOnce(t, containers, func(i int) error {
		_, err := h.TryDocker("rm", "--force", fmt.Sprintf("c%d", i))
		return err
	})
}

// allAtOnce calls a function for each number, all at the same time, and shows
// the first few errors.
func allAtOnce(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(i) })
	}
	wait.Wait()
	failed := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		if failed++; failed <= 3 {
			t.Error(err)
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed", failed, n)
	}
}
