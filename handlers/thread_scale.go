package handlers

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"redthread/views"
	"redthread/views/ui"
)

// Where the map draws, in percent of its width.
const (
	mapLeft  = 1.0
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

// ticks are round marks on a whole axis, times from start on; on one with cuts,
// the begin of each piece and the cuts.
func (s *timeScale) ticks(start int64) (ticks []views.TimeTick, breaks []views.ThreadBreak) {
	if len(s.pieces) == 0 {
		return nil, nil
	}
	if len(s.pieces) == 1 {
		from, to := s.span()
		step := tickStep(to - from)
		first := (from - start) / step * step
		if first < from-start {
			first += step
		}
		for at := first; at <= to-start; at += step {
			ticks = append(ticks, views.TimeTick{X: xPercent(s.x(start + at)), Text: plusDuration(at)})
		}
		return ticks, nil
	}
	lastX := -100.0
	for _, p := range s.pieces {
		if p.idle {
			breaks = append(breaks, views.ThreadBreak{X: xPercent(p.x + p.width/2), Text: "⋯", Title: ui.Duration(p.to-p.from) + " in which nothing ran are left out"})
			continue
		}
		if p.x-lastX >= 9 {
			ticks = append(ticks, views.TimeTick{X: xPercent(p.x), Text: plusDuration(p.from - start)})
			lastX = p.x
		}
	}
	return ticks, breaks
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
