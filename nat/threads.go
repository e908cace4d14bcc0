package nat

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/vishvananda/netns"
)

// fewAlone is how many sockets are worth a thread.
const fewAlone = 128

// atOnce calls do for each of list, by as many threads as there are processors,
// and returns the error of the first that has one. Start, if there is one, is
// called first by each but the caller's.
func atOnce[T any](list []T, start func() error, do func(T) error) error {
	parts := max(1, min(runtime.GOMAXPROCS(0), len(list)/fewAlone))
	part := func(i int) []T { return list[i*len(list)/parts : (i+1)*len(list)/parts] }
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for i := 1; i < parts; i++ {
		wg.Go(func() {
			if start != nil {
				errs[i] = start()
			}
			if errs[i] == nil {
				errs[i] = inTurn(part(i), do)
			}
		})
	}
	errs[0] = inTurn(part(0), do)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func inTurn[T any](list []T, do func(T) error) error {
	for _, v := range list {
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// stayIn takes a goroutine's thread to a network namespace, if it is in another.
// The thread ends with the goroutine then.
func stayIn(ns netns.NsHandle) error {
	runtime.LockOSThread()
	now, err := netns.Get()
	if err != nil {
		return fmt.Errorf("ports: network namespace: %w", err)
	}
	defer now.Close()
	if now.Equal(ns) {
		runtime.UnlockOSThread()
		return nil
	}
	if err = netns.Set(ns); err != nil {
		return fmt.Errorf("ports: enter network namespace: %w", err)
	}
	return nil
}
