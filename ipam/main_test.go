package ipam

import (
	"flag"
	"os"
	"testing"
)

// TestMain has the random tests play the same each time: what CI says is about
// the change. Others are had with -rapid.seed=N.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.seed" })
	if !given {
		if err := flag.Set("rapid.seed", "20261121"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
