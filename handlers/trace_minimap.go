package handlers

import (
	"strconv"
	"strings"

	"redthread/views"
)

// The minimap draws at most minimapLanes levels in minimapCells columns, so its
// size does not depend on that of the trace.
const (
	minimapLanes = 8
	minimapCells = 250
)

// minimap draws, level by level, which service is busy when.
func (v *traceView) minimap() views.Minimap {
	t := v.tree
	type cell struct {
		service string
		long    int64 // the longest span wins the cell
		error   bool
	}
	deepest := 0
	for i := range t.rows {
		deepest = max(deepest, t.rows[i].depth)
	}
	lanes := min(deepest+1, minimapLanes)
	cells := make([][minimapCells]cell, lanes)
	for i := range t.rows {
		r := &t.rows[i]
		if r.span == nil {
			continue
		}
		// In a deep trace several levels share a lane.
		a := int(float64(r.startNano-t.startNano) / float64(t.extentNano) * minimapCells)
		b := int(float64(r.endNano-t.startNano) / float64(t.extentNano) * minimapCells)
		lane := r.depth * lanes / (deepest + 1)
		for c := max(a, 0); c <= min(b, minimapCells-1); c++ {
			at := &cells[lane][c]
			if at.service == "" || r.span.DurationNano > at.long {
				at.service, at.long = r.span.Service, r.span.DurationNano
			}
			at.error = at.error || r.span.Error && r.errors == 0
		}
	}
	const laneHeight = 6
	m := views.Minimap{Height: max(lanes, 6)*laneHeight + 6}
	width := 1000.0 / minimapCells
	for lane := range cells {
		for c := 0; c < minimapCells; {
			from := cells[lane][c]
			end := c + 1
			for end < minimapCells && cells[lane][end].service == from.service && cells[lane][end].error == from.error {
				end++
			}
			if from.service != "" {
				m.Bars = append(m.Bars, views.MinimapBar{
					X: trimFloat(float64(c) * width), Y: strconv.Itoa(lane*laneHeight + 1), Width: trimFloat(float64(end-c) * width), Height: strconv.Itoa(laneHeight - 2),
					Class: views.ServiceClass(from.service), Error: from.error,
				})
			}
			c = end
		}
	}
	if v.selected >= 0 {
		r := &t.rows[v.selected]
		x := float64(r.startNano-t.startNano) / float64(t.extentNano) * 1000
		m.PathX = trimFloat(x)
		m.PathWidth = trimFloat(max(float64(r.endNano-r.startNano)/float64(t.extentNano)*1000, 2))
	}
	if from, to := v.window(); from > 0 || to < t.extentNano {
		m.FromX, m.ToX = percent(float64(from), t.extentNano), percent(float64(to), t.extentNano)
		m.RestWidth = percent(float64(t.extentNano-to), t.extentNano)
	}
	return m
}

func trimFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}
