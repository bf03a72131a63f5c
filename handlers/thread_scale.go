package handlers

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"redthread/views"
	"redthread/views/ui"
)

// Where the map draws, in percent of its width.
const (
	mapLeft  = 2.0
	mapRight = 86.0 // the rest is room for words beside the last bars
	// idleWidth is the width of a stretch that is cut short.
	idleWidth = 5.0
)

// timeScale maps times to percentages of the map's width. Idle stretches longer
// than all the rest together are cut short, so that an effect that comes a
// month after its cause leaves both readable.
type timeScale struct{ pieces []scalePiece }

type scalePiece struct {
	from, to int64
	x, width float64
	idle     bool
}

// newTimeScale makes the scale of the times in which something ran. Those of
// them that lie outside from ≤ t ≤ to are left out, unless both are 0.
func newTimeScale(busy [][2]int64, from, to int64) *timeScale {
	s := &timeScale{}
	if from != to {
		within := make([][2]int64, 0, len(busy)+2)
		for _, b := range busy {
			if b[1] >= from && b[0] <= to {
				within = append(within, [2]int64{max(b[0], from), min(b[1], to)})
			}
		}
		// The window is shown as it was asked for.
		busy = append(within, [2]int64{from, from}, [2]int64{to, to})
	}
	slices.SortFunc(busy, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	var merged [][2]int64
	for _, b := range busy {
		if n := len(merged); n > 0 && b[0] <= merged[n-1][1] {
			merged[n-1][1] = max(merged[n-1][1], b[1])
		} else {
			merged = append(merged, b)
		}
	}
	if len(merged) == 0 {
		return s
	}
	active := int64(0)
	for _, m := range merged {
		active += m[1] - m[0]
	}
	last := merged[0]
	for _, m := range merged[1:] {
		if m[0]-last[1] > max(active, 1e6) && active > 0 {
			s.pieces = append(s.pieces, scalePiece{from: last[0], to: last[1]}, scalePiece{from: last[1], to: m[0], idle: true})
			last = m
			continue
		}
		last[1] = max(last[1], m[1])
	}
	s.pieces = append(s.pieces, scalePiece{from: last[0], to: last[1]})
	s.place()
	return s
}

// place gives each piece its width.
func (s *timeScale) place() {
	idle, length := 0.0, 0.0
	for _, p := range s.pieces {
		if p.idle {
			idle += idleWidth
		} else {
			length += float64(max(p.to-p.from, 1))
		}
	}
	// Many cuts share at most 40 % of the width.
	shrink := 1.0
	if idle > 40 {
		shrink, idle = 40/idle, 40
	}
	x := mapLeft
	for i := range s.pieces {
		p := &s.pieces[i]
		p.x = x
		if p.idle {
			p.width = idleWidth * shrink
		} else {
			p.width = float64(max(p.to-p.from, 1)) / length * (mapRight - mapLeft - idle)
		}
		x += p.width
	}
}

// x is where a time stands, in percent; times outside stand at the ends.
func (s *timeScale) x(t int64) float64 {
	for i := range s.pieces {
		p := &s.pieces[i]
		if t <= p.to || i == len(s.pieces)-1 {
			part := float64(t-p.from) / float64(max(p.to-p.from, 1))
			return p.x + min(max(part, 0), 1)*p.width
		}
	}
	return mapLeft
}

// span is the time that the scale shows.
func (s *timeScale) span() (from, to int64) {
	if len(s.pieces) == 0 {
		return 0, 0
	}
	return s.pieces[0].from, s.pieces[len(s.pieces)-1].to
}

// ticks are marks at round times, counted from start; where idle time is left
// out, at the begin of each piece too. No two say the same.
func (s *timeScale) ticks(start int64) (ticks []views.TimeTick, breaks []views.ThreadBreak) {
	lastX := -100.0
	add := func(at, precision int64) {
		x, text := s.x(start+at), offsetWords(at, precision)
		said := slices.ContainsFunc(ticks, func(t views.TimeTick) bool { return t.Text == text })
		if len(ticks) == 0 || x-lastX >= tickRoom && !said {
			ticks = append(ticks, views.TimeTick{X: xPercent(x), Text: text})
			lastX = x
		}
	}
	idle := int64(0) // before the piece
	for _, p := range s.pieces {
		if p.idle {
			idle = p.to - p.from
			breaks = append(breaks, views.ThreadBreak{X: xPercent(p.x + p.width/2), Text: "⋯", Title: ui.Duration(idle) + " in which nothing ran are left out"})
			continue
		}
		from, to := p.from-start, p.to-start
		step := timeStep(p.to-p.from, int(p.width/tickRoom))
		if len(s.pieces) > 1 {
			add(from, max(step, idle/20))
		}
		first := from / step * step
		if first < from {
			first += step
		}
		for at := first; at <= to; at += step {
			add(at, step)
		}
	}
	return ticks, breaks
}

// tickRoom is how far apart marks stand at least, in percent of the map.
const tickRoom = 12

// roundTimes are steps of an axis beyond ten seconds.
var roundTimes = []int64{15e9, 30e9, 60e9, 120e9, 300e9, 600e9, 900e9, 1800e9, 3600e9, 7200e9, 3 * 3600e9, 6 * 3600e9, 12 * 3600e9, 86400e9}

// timeStep is the round time that divides a length into at most n parts.
func timeStep(length int64, n int) int64 {
	n = max(n, 1)
	for step, grow := int64(1), 0; step <= 10e9; grow++ {
		if length/step <= int64(n) {
			return step
		}
		if grow%3 == 1 {
			step = step / 2 * 5
		} else {
			step *= 2
		}
	}
	for _, step := range roundTimes {
		if length/step <= int64(n) {
			return step
		}
	}
	const day = int64(86400e9)
	return day * tickStep(length/day*5/int64(n))
}

// offsetWords tells a time counted from the start of the thread as exactly as
// marks that stand a step apart need it: "+5 min 56.12 s" and not "+5 min 56 s".
func offsetWords(nano, step int64) string {
	if nano == 0 {
		return "0"
	}
	sign := "+"
	if nano < 0 {
		nano, sign = -nano, "−"
	}
	decimals := func(n, unit int64) string {
		digits := 0
		for u := unit; u > max(step, 1) && u > 1; u /= 10 {
			digits++
		}
		text := strconv.FormatFloat(float64(n)/float64(unit), 'f', digits, 64)
		if digits > 0 {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	}
	const minute, hour, day = int64(60e9), int64(3600e9), int64(86400e9)
	if nano < minute {
		switch {
		case nano >= 1e9:
			return sign + decimals(nano, 1e9) + " s"
		case nano >= 1e6:
			return sign + decimals(nano, 1e6) + " ms"
		case nano >= 1e3:
			return sign + decimals(nano, 1e3) + " µs"
		}
		return sign + strconv.FormatInt(nano, 10) + " ns"
	}
	var words []string
	for _, u := range []struct {
		unit, above int64
		name        string
	}{{day, math.MaxInt64, " d"}, {hour, day, " h"}, {minute, hour, " min"}} {
		if n := nano / u.unit; n > 0 && (step < u.above || len(words) == 0) {
			words = append(words, strconv.FormatInt(n, 10)+u.name)
		}
		nano %= u.unit
	}
	if text := decimals(nano, 1e9); step < minute && text != "0" {
		words = append(words, text+" s")
	}
	return sign + strings.Join(words, " ")
}

// json is the scale for the page's script: [from, to, x, width] of each piece,
// times in nanoseconds from start.
func (s *timeScale) json(start int64) string {
	list := make([][4]float64, len(s.pieces))
	for i, p := range s.pieces {
		list[i] = [4]float64{float64(p.from - start), float64(p.to - start), p.x, p.width}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "[]" // numbers that are finite always encode
	}
	return string(b)
}

func plusDuration(nano int64) string {
	switch {
	case nano == 0:
		return "0"
	case nano < 0:
		return "−" + ui.Duration(-nano)
	}
	return "+" + ui.Duration(nano)
}

func xPercent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }
