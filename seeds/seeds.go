// Package seeds gives random tests their seeds.
//
// Under CI=true a test has the same seeds every time, made from its name: what CI
// says of a change is about that change. Elsewhere each run has new ones, and
// `make soak` many: what they find becomes a test of its own. REDTHREAD_SEED runs
// one seed, REDTHREAD_RUNS sets how many follow one another.
package seeds

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// One returns the seed of a test and prints it with what fails.
func One(t testing.TB) uint64 {
	t.Helper()
	seed, _ := Many(t, 1)
	return seed
}

// Many returns the first seed of a test that runs many, one after another, and how
// many: n if the environment says nothing else.
func Many(t testing.TB, n int) (first uint64, runs int) {
	t.Helper()
	runs = n
	if text := os.Getenv("REDTHREAD_RUNS"); text != "" && n > 1 {
		var err error
		if runs, err = strconv.Atoi(text); err != nil || runs < 1 {
			t.Fatalf("REDTHREAD_RUNS: %q is no count", text)
		}
	}
	switch text := os.Getenv("REDTHREAD_SEED"); {
	case text != "":
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("REDTHREAD_SEED: %v", err)
		}
		first, runs = seed, 1
	case os.Getenv("CI") == "true" && os.Getenv("REDTHREAD_SOAK") == "":
		h := fnv.New64a()
		h.Write([]byte(t.Name()))
		first = h.Sum64()
	default:
		first = rand.Uint64()
	}
	t.Logf("REDTHREAD_SEED=%d", first)
	return first, runs
}
