package driver

import (
	"testing"

	"fairway/nat"
)

// TestPass: endpoints that were added together go together, and whoever comes
// second waits until they are done, though nothing is left for it.
func TestPass(t *testing.T) {
	var p pass
	for _, id := range []string{"a", "b", "c"} {
		p.add(nat.Endpoint{ID: id})
	}
	entered, leave := make(chan int), make(chan bool)
	go p.each(func(all []nat.Endpoint) {
		entered <- len(all)
		<-leave
	})
	if n := <-entered; n != 3 {
		t.Errorf("a pass for %d endpoints, want 3", n)
	}
	over := make(chan bool)
	go func() {
		p.each(func(all []nat.Endpoint) { t.Errorf("again for %v", all) })
		close(over)
	}()
	select {
	case <-over:
		t.Error("the second is over before the first")
	case leave <- true:
	}
	<-over
}
