package views

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/views/ui"
)

// Plots are drawn in a box of plotWidth by plotHeight units that the page
// stretches to the width it has; labels stand outside and are not stretched.
const (
	plotWidth  = 1000
	plotHeight = 180
)

// Unit says how a chart's values are written.
type Unit string

// The units.
const (
	UnitNone         Unit = ""
	UnitMilliseconds Unit = "ms"
)

// ChartTime is the time axis that charts of one page share. Bucket i begins at
// Start + i·Step; all times are milliseconds since the epoch.
type ChartTime struct {
	From, To    int64 // the window asked for
	Start, Step int64
	Buckets     int
	Markers     []MarkerRow // what happened in it, the oldest first
}

// Line is one group over time. Values has one number for each bucket, NaN where
// there is none.
type Line struct {
	Key    string // names the row of the result table
	Label  string
	Class  string // of the colour ring
	Values []float64
}

// LineChart is one calculation over time, a line for each group.
type LineChart struct {
	ID     string
	Title  string
	Unit   Unit
	Time   ChartTime
	Lines  []Line
	Hidden int // groups of the table without a line
	// Alone: no table of the page has the groups, so the chart has its own and names
	// its lines.
	Alone bool
}

// maxDrawn is the number of lines drawn in colour; the rest shows on hover.
const maxDrawn = ServiceHues

// HeatRow is one band of a heatmap: Min ≤ value < Max.
type HeatRow struct{ Min, Max float64 }

// HeatCell counts the rows of one bucket and one band.
type HeatCell struct {
	Bucket, Row int
	Count       float64
}

// Heatmap shows how the values of a column are spread over time.
type Heatmap struct {
	ID     string
	Title  string
	Column string
	Unit   Unit
	Time   ChartTime
	Rows   []HeatRow // lowest first
	Cells  []HeatCell
	Note   string // what is not in it
	// Selected is the part that is compared with the rest; nil: none.
	Selected *HeatBox
}

// HeatBox is a part of a heatmap: times in milliseconds since the epoch, and values.
// What is beyond the heatmap's own ends does not bound.
type HeatBox struct {
	From, To float64
	Min, Max float64
}

// shows reports whether a part of the heatmap lies in the box.
func (h Heatmap) shows(b HeatBox) bool {
	return len(h.Rows) > 0 && b.From < float64(h.Time.To) && b.To > float64(h.Time.From) && b.Min < h.Rows[len(h.Rows)-1].Max && b.Max > h.Rows[0].Min
}

// box is the place of the selected part in the plot.
func (h Heatmap) box() (x, y, width, height string) {
	left, right := max(h.Time.x(int64(max(h.Selected.From, float64(h.Time.From)))), 0), min(h.Time.x(int64(min(h.Selected.To, float64(h.Time.To)))), plotWidth)
	low, high := h.place(h.Selected.Min), h.place(h.Selected.Max)
	return trimFloat(left, 1), trimFloat((1-high)*plotHeight, 1), trimFloat(max(right-left, 1), 1), trimFloat(max((high-low)*plotHeight, 1), 1)
}

// place is where a value lies on the value axis, 0 to 1: within its band by the
// logarithm where the bands are of positive numbers.
func (h Heatmap) place(v float64) float64 {
	n := float64(len(h.Rows))
	for i, r := range h.Rows {
		switch {
		case v <= r.Min:
			return float64(i) / n
		case v < r.Max && r.Min > 0:
			return (float64(i) + math.Log(v/r.Min)/math.Log(r.Max/r.Min)) / n
		case v < r.Max:
			return (float64(i) + (v-r.Min)/(r.Max-r.Min)) / n
		}
	}
	return 1
}

// ExploreChart is a heatmap or a line chart.
type ExploreChart struct {
	Heat *Heatmap
	Line *LineChart
}

// Tick is a label on an axis. At is a fraction of the axis, from the left or
// from the bottom.
type Tick struct {
	At    float64
	Label string
	Milli int64 // of a time axis
}

func (t Tick) percent() string { return trimFloat(t.At*100, 2) + "%" }

// down is the tick's place from the top, as a share of the height.
func (t Tick) down() string { return trimFloat((1-t.At)*100, 2) + "%" }

// up is the tick's place from the top, of a plot height units high.
func (t Tick) up(height float64) string { return trimFloat((1-t.At)*height, 1) }

// x is the place of a moment in the plot.
func (t ChartTime) x(milli int64) float64 {
	if t.To <= t.From {
		return 0
	}
	return float64(milli-t.From) / float64(t.To-t.From) * plotWidth
}

// timeSteps are the distances between labels of a time axis, in seconds.
var timeSteps = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
	2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400, 91 * 86400, 365 * 86400}

// Ticks returns about n labels at round times, in UTC; the browser rewrites them
// in its own zone.
func (t ChartTime) Ticks(n int) []Tick {
	length := t.To - t.From
	if length <= 0 || n < 1 {
		return nil
	}
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if length/(s*1000) <= int64(n) {
			step = s
			break
		}
	}
	layout := "15:04"
	switch {
	case step < 60:
		layout = "15:04:05"
	case step >= 86400:
		layout = "2 Jan"
	case length > 26*3600*1000:
		layout = "2 Jan 15:04"
	}
	var ticks []Tick
	for at := (t.From/1000/step + 1) * step * 1000; at < t.To; at += step * 1000 {
		ticks = append(ticks, Tick{At: float64(at-t.From) / float64(length), Label: time.UnixMilli(at).UTC().Format(layout), Milli: at})
	}
	return ticks
}

// max is the largest value of the chart, 0 if there is none.
func (c LineChart) max() float64 {
	top := 0.0
	for _, l := range c.drawn() {
		for _, v := range l.Values {
			if v > top { // never true for NaN
				top = v
			}
		}
	}
	return top
}

func (c LineChart) drawn() []Line { return c.Lines[:min(len(c.Lines), maxDrawn)] }

// top is the upper end of the value axis: a round number at or above the maximum.
func (c LineChart) top() float64 { return niceCeil(c.max()) }

// Ticks labels the value axis.
func (c LineChart) Ticks() []Tick {
	top := c.top()
	ticks := []Tick{{0, FormatUnit(0, c.Unit), 0}, {0.5, FormatUnit(top/2, c.Unit), 0}, {1, FormatUnit(top, c.Unit), 0}}
	if c.max() <= 0 {
		return ticks[:1]
	}
	return ticks
}

// Path draws a line through the middles of the buckets, broken where there is
// no value; a lone value is a short dash.
func (c LineChart) Path(l Line) string {
	top := c.top()
	var b strings.Builder
	pen := false
	for i, v := range l.Values {
		if math.IsNaN(v) {
			pen = false
			continue
		}
		x := c.Time.x(c.Time.Start + int64(i)*c.Time.Step + c.Time.Step/2)
		y := plotHeight - min(max(v, 0)/top, 1)*plotHeight
		b.WriteString(map[bool]string{true: "L", false: "M"}[pen])
		b.WriteString(trimFloat(x, 1) + " " + trimFloat(y, 1))
		if !pen && (i+1 == len(l.Values) || math.IsNaN(l.Values[i+1])) {
			b.WriteString("h3")
		}
		pen = true
	}
	return b.String()
}

// Points draws the values that have no neighbour, each as a dot.
func (c LineChart) Points(l Line) string {
	top := c.top()
	there := func(i int) bool { return i >= 0 && i < len(l.Values) && !math.IsNaN(l.Values[i]) }
	var b strings.Builder
	for i, v := range l.Values {
		if !there(i) || there(i-1) || there(i+1) {
			continue
		}
		x := c.Time.x(c.Time.Start + int64(i)*c.Time.Step + c.Time.Step/2)
		b.WriteString("M" + trimFloat(x, 1) + " " + trimFloat(plotHeight-min(max(v, 0)/top, 1)*plotHeight, 1) + "h0")
	}
	return b.String()
}

// known reports whether a line has a number in a part of time.
func (c LineChart) known(i int) bool {
	return slices.ContainsFunc(c.Lines, func(l Line) bool { return i < len(l.Values) && !math.IsNaN(l.Values[i]) })
}

// valueText is the number of a line in a part of time.
func (c LineChart) valueText(l Line, i int) string {
	if i >= len(l.Values) || math.IsNaN(l.Values[i]) {
		return "–"
	}
	return FormatUnit(l.Values[i], c.Unit)
}

// begin is when a part of time begins.
func (t ChartTime) begin(i int) time.Time { return time.UnixMilli(t.Start + int64(i)*t.Step).UTC() }

// data is what the page script needs to draw the chart itself.
func (c LineChart) data() any {
	type line struct {
		Key    string     `json:"key"`
		Label  string     `json:"label"`
		Class  string     `json:"class"`
		Values []*float64 `json:"values"`
	}
	out := struct {
		Unit   Unit   `json:"unit"`
		From   int64  `json:"from"`
		To     int64  `json:"to"`
		Start  int64  `json:"start"`
		Step   int64  `json:"step"`
		Drawn  int    `json:"drawn"`
		Height int    `json:"height"`
		Lines  []line `json:"lines"`
	}{c.Unit, c.Time.From, c.Time.To, c.Time.Start, c.Time.Step, len(c.drawn()), plotHeight, []line{}}
	for _, l := range c.Lines {
		vs := make([]*float64, len(l.Values))
		for i, v := range l.Values {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				vs[i] = &l.Values[i]
			}
		}
		out.Lines = append(out.Lines, line{l.Key, l.Label, l.Class, vs})
	}
	return out
}

// heatLevels is the number of shades of a heatmap.
const heatLevels = 8

// level is the shade of a count: logarithmic, so that a single odd row shows
// beside thousands of usual ones.
func heatLevel(count, top float64) int {
	if count <= 0 || top <= 0 {
		return 0
	}
	if top <= 1 {
		return heatLevels / 2
	}
	return min(1+int(math.Log(max(count, 1))/math.Log(top)*(heatLevels-1)+0.5), heatLevels)
}

// Levels draws the cells, one path for each shade; index 0 is the palest.
func (h Heatmap) Levels() []string {
	top := 0.0
	for _, c := range h.Cells {
		top = max(top, c.Count)
	}
	var paths [heatLevels]strings.Builder
	height := float64(plotHeight) / float64(max(len(h.Rows), 1))
	for _, c := range h.Cells {
		level := heatLevel(c.Count, top)
		if level == 0 {
			continue
		}
		x0 := h.Time.x(h.Time.Start + int64(c.Bucket)*h.Time.Step)
		x1 := h.Time.x(h.Time.Start + int64(c.Bucket+1)*h.Time.Step)
		x0, x1 = max(x0, 0), min(x1, plotWidth)
		if x1 <= x0 {
			continue
		}
		y := plotHeight - float64(c.Row+1)*height
		gap, seam := min((x1-x0)*0.12, 1.2), min(height*0.14, 1)
		b := &paths[level-1]
		b.WriteString("M" + trimFloat(x0, 1) + " " + trimFloat(y+seam/2, 2) + "h" + trimFloat(x1-x0-gap, 1) +
			"v" + trimFloat(height-seam, 2) + "H" + trimFloat(x0, 1) + "z")
	}
	out := make([]string, heatLevels)
	for i := range paths {
		out[i] = paths[i].String()
	}
	return out
}

// Ticks labels the value axis: at powers of ten where the bands are
// logarithmic, else at the borders of about n bands.
func (h Heatmap) Ticks(n int) []Tick {
	if len(h.Rows) == 0 {
		return nil
	}
	var ticks []Tick
	if h.logarithmic() {
		for _, factors := range [][]float64{{1}, {1, 3}, {1, 2, 5}} {
			if ticks = h.ticksAt(factors); len(ticks) >= 3 {
				return ticks
			}
		}
	}
	ticks = nil
	every := max((len(h.Rows)+n-1)/n, 1)
	for i := 0; i < len(h.Rows); i += every {
		ticks = append(ticks, Tick{At: float64(i) / float64(len(h.Rows)), Label: FormatUnit(h.Rows[i].Min, h.Unit)})
	}
	return ticks
}

// logarithmic reports whether the bands grow with their values.
func (h Heatmap) logarithmic() bool {
	first, last := h.Rows[0], h.Rows[len(h.Rows)-1]
	return len(h.Rows) > 2 && first.Min >= 0 && (last.Max-last.Min) > 2*(h.Rows[1].Max-h.Rows[1].Min)
}

// ticksAt labels the factors times each power of ten that lies inside.
func (h Heatmap) ticksAt(factors []float64) []Tick {
	var ticks []Tick
	for i, r := range h.Rows {
		if r.Min <= 0 || r.Max <= r.Min {
			continue
		}
		for power := math.Floor(math.Log10(r.Min)); power <= math.Log10(r.Max); power++ {
			for _, f := range factors {
				if v := f * math.Pow(10, power); v >= r.Min && v < r.Max {
					at := (float64(i) + math.Log(v/r.Min)/math.Log(r.Max/r.Min)) / float64(len(h.Rows))
					ticks = append(ticks, Tick{At: at, Label: FormatUnit(v, h.Unit)})
				}
			}
		}
	}
	return ticks
}

// spread is how many rows fall in each band, highest band first; bands without
// rows are left out.
func (h Heatmap) spread() []HeatSpread {
	counts := make([]float64, len(h.Rows))
	for _, c := range h.Cells {
		counts[c.Row] += c.Count
	}
	var out []HeatSpread
	for i := len(counts) - 1; i >= 0; i-- {
		if counts[i] > 0 {
			out = append(out, HeatSpread{FormatUnit(h.Rows[i].Min, h.Unit), FormatUnit(h.Rows[i].Max, h.Unit), FormatNumber(counts[i])})
		}
	}
	return out
}

// HeatSpread is one line of the table behind a heatmap.
type HeatSpread struct{ Min, Max, Count string }

func (h Heatmap) data() any {
	cells := make([][3]float64, len(h.Cells))
	for i, c := range h.Cells {
		cells[i] = [3]float64{float64(c.Bucket), float64(c.Row), c.Count}
	}
	rows := make([][2]float64, len(h.Rows))
	for i, r := range h.Rows {
		rows[i] = [2]float64{r.Min, r.Max}
	}
	return struct {
		Column string       `json:"column"`
		Unit   Unit         `json:"unit"`
		From   int64        `json:"from"`
		To     int64        `json:"to"`
		Start  int64        `json:"start"`
		Step   int64        `json:"step"`
		Rows   [][2]float64 `json:"rows"`
		Cells  [][3]float64 `json:"cells"`
	}{h.Column, h.Unit, h.Time.From, h.Time.To, h.Time.Start, h.Time.Step, rows, cells}
}

// niceCeil is the smallest of 1, 2, 2.5, 5 times a power of ten that is at
// least f; 1 if f is not positive.
func niceCeil(f float64) float64 {
	if !(f > 0) || math.IsInf(f, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(f)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*power >= f*0.999999 {
			return m * power
		}
	}
	return 10 * power
}

// FormatNumber writes a number for people: thousands apart, at most three
// decimals and those only where they say something.
func FormatNumber(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "∞", false: "-∞"}[f > 0]
	case f == math.Trunc(f) && a < 1e15:
		return ui.Count(int64(f))
	case a >= 1e15 || a < 1e-3:
		return strconv.FormatFloat(f, 'g', 4, 64)
	case a >= 1000:
		tenths := int64(math.Round(a * 10))
		s := ui.Count(tenths / 10)
		if d := tenths % 10; d > 0 {
			s += "." + strconv.FormatInt(d, 10)
		}
		if f < 0 {
			s = "-" + s
		}
		return s
	case a >= 10:
		return trimFloat(f, 2)
	}
	return trimFloat(f, 3)
}

// FormatUnit writes a value with its unit.
func FormatUnit(f float64, u Unit) string {
	if u == UnitMilliseconds && !math.IsNaN(f) && math.Abs(f) < 9e12 {
		if f == 0 {
			return "0"
		}
		return ui.Duration(int64(math.Round(f * 1e6)))
	}
	return FormatNumber(f)
}

// trimFloat prints with at most prec decimals and no needless zeros.
func trimFloat(f float64, prec int) string {
	s := strconv.FormatFloat(f, 'f', prec, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// Spark is a line in a table cell: values over time, drawn 100 by 20.
type Spark struct {
	Values []float64
	Label  string // what it says, for those who hear the page
}

// Line draws the values as a line.
func (s Spark) Line() string {
	top := 0.0
	for _, v := range s.Values {
		top = max(top, v)
	}
	if top == 0 || len(s.Values) == 0 {
		return ""
	}
	var b strings.Builder
	for i, v := range s.Values {
		b.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
		b.WriteString(trimFloat((float64(i)+0.5)*100/float64(len(s.Values)), 1) + " " + trimFloat(19-max(v, 0)/top*18, 1))
	}
	return b.String()
}

// Bars draws the values as bars from the ground.
func (s Spark) Bars() string {
	top := 0.0
	for _, v := range s.Values {
		top = max(top, v)
	}
	if top == 0 {
		return ""
	}
	var b strings.Builder
	w := 100 / float64(len(s.Values))
	for i, v := range s.Values {
		if v > 0 {
			h := max(v/top*18, 2)
			b.WriteString("M" + trimFloat(float64(i)*w, 1) + " 20v" + trimFloat(-h, 1) + "h" + trimFloat(max(w-0.4, 0.6), 1) + "v" + trimFloat(h, 1) + "z")
		}
	}
	return b.String()
}
