package watch

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLane wakes a lane at times and wants its looks at times, all in
// milliseconds from the start.
func TestLane(t *testing.T) {
	every := func(from, to, step int) (at []int) {
		for ; from < to; from += step {
			at = append(at, from)
		}
		return at
	}
	tests := map[string]struct {
		wakes []int
		took  int // a look
		found bool
		looks []int
	}{
		"never":                     {nil, 0, false, nil},
		"once":                      {[]int{5}, 0, false, []int{25}},
		"what comes together":       {every(5, 25, 1), 0, true, []int{25}},
		"during the pause":          {[]int{5, 60}, 0, true, []int{25, 145}},
		"during a look":             {[]int{5, 30}, 10, true, []int{25, 155}},
		"a slow look":               {[]int{5, 30}, 100, true, []int{25, 445}},
		"a look that waited":        {[]int{5, 30}, 5000, true, []int{25, 7045}},
		"always, with harm":         {every(5, 500, 1), 0, true, []int{25, 145, 265, 385, 505}},
		"always, without":           {every(5, 6000, 1), 0, false, []int{25, 245, 665, 1485, 3105, 5125, 7145}},
		"patient again after quiet": {[]int{5, 100, 3000, 3050}, 0, false, []int{25, 245, 3020, 3240}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var looks []int
				l := newLane(func(context.Context) bool {
					looks = append(looks, int(time.Since(start).Milliseconds()))
					time.Sleep(time.Duration(test.took) * time.Millisecond)
					return test.found
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { l.run(ctx); close(done) }()
				for _, at := range test.wakes {
					time.Sleep(time.Duration(at)*time.Millisecond - time.Since(start))
					l.wake()
				}
				time.Sleep(20 * time.Second)
				cancel()
				<-done
				if !slices.Equal(looks, test.looks) {
					t.Errorf("looks at %v, want %v", looks, test.looks)
				}
			})
		})
	}
}
