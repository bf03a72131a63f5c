package seeds

import "testing"

func TestMany(t *testing.T) {
	t.Setenv("REDTHREAD_SEED", "")
	t.Setenv("REDTHREAD_RUNS", "")
	t.Setenv("REDTHREAD_SOAK", "")
	t.Setenv("CI", "true")
	first, runs := Many(t, 7)
	if again := One(t); again != first || runs != 7 {
		t.Errorf("under CI: %d and %d, %d runs", first, again, runs)
	}
	t.Run("other", func(t *testing.T) {
		if One(t) == first {
			t.Error("another test has the same seed")
		}
	})
	t.Setenv("REDTHREAD_SOAK", "1")
	if One(t) == first {
		t.Error("the long tests have the seed of CI")
	}
	t.Setenv("CI", "")
	t.Setenv("REDTHREAD_SOAK", "")
	if first := One(t); first == One(t) {
		t.Error("two runs have one seed")
	}
	t.Setenv("REDTHREAD_RUNS", "9")
	if _, runs := Many(t, 7); runs != 9 {
		t.Errorf("%d runs, want 9", runs)
	}
	if _, runs := Many(t, 1); runs != 1 {
		t.Errorf("a test of one seed has %d runs", runs)
	}
	t.Setenv("REDTHREAD_SEED", "42")
	if seed, runs := Many(t, 7); seed != 42 || runs != 1 {
		t.Errorf("seed %d, %d runs; want 42, 1", seed, runs)
	}
}
