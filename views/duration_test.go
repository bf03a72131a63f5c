package views

import (
	"testing"

	"redthread/views/ui"
)

// The same table is in static/js/duration.test.js: a duration reads alike,
// whether the server or a page script wrote it.
func TestDuration(t *testing.T) {
	for _, c := range []struct {
		nano int64
		want string
	}{
		{0, "0 ns"}, {850, "850 ns"}, {1000, "1 µs"}, {12_340, "12.3 µs"}, {999_500, "1 ms"}, {6_000_000, "6 ms"}, {6_126_000, "6.13 ms"},
		{611_400_000, "611 ms"}, {999_499_999, "999 ms"}, {999_600_000, "1 s"}, {1_840_000_000, "1.84 s"}, {59_940_000_000, "59.9 s"},
		{125_000_000_000, "2 min 5 s"}, {11_040_000_000_000, "3 h 4 min"}, {183_600_000_000_000, "2 d 3 h"}, {-412_000_000, "-412 ms"},
	} {
		if got := ui.Duration(c.nano); got != c.want {
			t.Errorf("Duration(%d) = %q, want %q", c.nano, got, c.want)
		}
	}
}
