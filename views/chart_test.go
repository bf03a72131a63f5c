package views

import (
	"math"
	"strings"
	"testing"
)

// The same table is in static/js/chart_format.test.js.
func TestFormatNumber(t *testing.T) {
	for _, c := range []struct {
		n    float64
		want string
	}{
		{0, "0"}, {12408211, "12,408,211"}, {-1234, "-1,234"}, {1234.56, "1,234.6"}, {-1234.56, "-1,234.6"}, {1999.99, "2,000"}, {99.996, "100"}, {12.345, "12.35"},
		{1.23456, "1.235"}, {0.5, "0.5"}, {0.00012345, "0.0001234"}, {math.Inf(1), "∞"}, {math.Inf(-1), "-∞"}, {math.NaN(), "NaN"},
	} {
		if got := FormatNumber(c.n); got != c.want {
			t.Errorf("FormatNumber(%v) = %q, want %q", c.n, got, c.want)
		}
	}
}

func TestFormatUnit(t *testing.T) {
	for _, c := range []struct {
		n    float64
		unit Unit
		want string
	}{{1840, UnitMilliseconds, "1.84 s"}, {0.25, UnitMilliseconds, "250 µs"}, {0, UnitMilliseconds, "0"}, {1840, UnitNone, "1,840"}, {1e20, UnitMilliseconds, "1e+20"}} {
		if got := FormatUnit(c.n, c.unit); got != c.want {
			t.Errorf("FormatUnit(%v, %q) = %q, want %q", c.n, c.unit, got, c.want)
		}
	}
}

func TestNiceCeil(t *testing.T) {
	for _, c := range [][2]float64{{0, 1}, {-3, 1}, {1, 1}, {1.2, 2}, {2.1, 2.5}, {3, 5}, {70, 100}, {0.03, 0.05}} {
		if got := niceCeil(c[0]); math.Abs(got-c[1]) > 1e-9 {
			t.Errorf("niceCeil(%v) = %v, want %v", c[0], got, c[1])
		}
	}
}

func TestTimeTicks(t *testing.T) {
	const minute = int64(60_000)
	axis := ChartTime{From: 30*minute + 1, To: 90 * minute}
	var labels []string
	for _, k := range axis.Ticks(6) {
		labels = append(labels, k.Label)
		if k.At <= 0 || k.At >= 1 {
			t.Errorf("tick %s lies at %v, want it inside the axis", k.Label, k.At)
		}
	}
	if got, want := strings.Join(labels, " "), "00:40 00:50 01:00 01:10 01:20"; got != want {
		t.Errorf("labels %q, want %q", got, want)
	}
	if got := (ChartTime{From: 5, To: 5}).Ticks(6); got != nil {
		t.Errorf("an empty axis has ticks %v", got)
	}
	if got := len((ChartTime{From: 0, To: 400 * 365 * 86_400_000}).Ticks(6)); got > 500 {
		t.Errorf("400 years have %d ticks", got)
	}
}

func TestLinePath(t *testing.T) {
	c := LineChart{Time: ChartTime{From: 0, To: 4000, Start: 0, Step: 1000, Buckets: 4}}
	l := Line{Values: []float64{math.NaN(), 5, math.NaN(), 10}}
	c.Lines = []Line{l}
	if got, want := c.Path(l), "M375 90h3M875 0h3"; got != want {
		t.Errorf("lone values: %q, want %q", got, want)
	}
	l.Values = []float64{0, 5, 10, math.NaN()}
	if got, want := c.Path(l), "M125 180L375 90L625 0"; got != want {
		t.Errorf("a run of values: %q, want %q", got, want)
	}
	c.Lines = nil
	if got := c.Ticks(); len(got) != 1 {
		t.Errorf("a chart without values has ticks %v, want only zero", got)
	}
}

func TestHeatLevels(t *testing.T) {
	if a, b, c := heatLevel(0, 1000), heatLevel(1, 1000), heatLevel(1000, 1000); a != 0 || b != 1 || c != heatLevels {
		t.Errorf("levels of 0, 1 and 1000 of 1000: %d, %d, %d", a, b, c)
	}
	last := 0
	for n := 1.0; n <= 1e6; n *= 3 {
		if l := heatLevel(n, 1e6); l < last || l > heatLevels {
			t.Errorf("level of %v is %d after %d", n, l, last)
		} else {
			last = l
		}
	}
	h := Heatmap{Time: ChartTime{From: 500, To: 2000, Start: 0, Step: 1000, Buckets: 2}, Rows: []HeatRow{{1, 2}, {2, 4}},
		Cells: []HeatCell{{0, 0, 1}, {1, 1, 9}}}
	all := strings.Join(h.Levels(), " ")
	if !strings.Contains(all, "M0 90.5h") || !strings.Contains(all, "M333.3 0.5h") {
		t.Errorf("cells are not cut at the window's begin: %q", all)
	}
}

func TestHeatTicksAtPowersOfTen(t *testing.T) {
	var rows []HeatRow
	for v := 3.0; v < 3000; v *= 2 {
		rows = append(rows, HeatRow{v, v * 2})
	}
	var labels []string
	for _, k := range (Heatmap{Rows: rows, Unit: UnitMilliseconds}).Ticks(5) {
		labels = append(labels, k.Label)
	}
	if got, want := strings.Join(labels, ", "), "10 ms, 100 ms, 1 s"; got != want {
		t.Errorf("labels %q, want %q", got, want)
	}
}

func TestSparks(t *testing.T) {
	s := Spark{Values: []float64{0, 2, 0}}
	if got, want := s.Bars(), "M33.3 20v-18h32.9v18z"; got != want {
		t.Errorf("bars %q, want %q", got, want)
	}
	if got, want := s.Line(), "M16.7 19L50 1L83.3 19"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	if got := (Spark{Values: []float64{0, 0}}).Line(); got != "" {
		t.Errorf("nothing happened, yet there is a line %q", got)
	}
}
