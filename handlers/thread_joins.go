package handlers

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"redthread/views"
	"redthread/views/ui"
)

// maxDots is how many of several messages are drawn as dots of their own.
const maxDots = 12

// dot is the message between a cause and what it brought; of several each that
// has room stands at its own time.
func (m *threadMap) dot(r *mapRow) views.ThreadDot {
	sent := newSendings()
	var others []float64
	folded := 0
	for _, g := range r.brought {
		for _, i := range m.groups[g].legs {
			l := &m.t.Legs[i]
			if at := m.begin(l) - l.WaitNano; !sent.spans[l.From.Ref] && m.outside(at, at) == 0 {
				others = append(others, m.scale.x(at))
			}
			sent.add(l, i)
		}
		for _, i := range m.groups[g].folds {
			folded += m.t.Folds[i].Traces
		}
	}
	text := countOf(sent.count(), "message", "messages")
	if folded > 0 {
		text = "messages to " + ui.Count(folded) + " receipts"
	}
	if n := len(r.brought); n > 1 {
		text += " · " + ui.Count(n) + " consumers"
	}
	onPath := slices.ContainsFunc(r.brought, func(g int) bool { return m.pathIn[g] })
	at := m.sentAt(r)
	x := m.scale.x(at)
	v := views.ThreadDot{X: xPercent(x), TextX: xPercent(x), Y: r.y + mapBarDown + mapBarHeight/2, Several: sent.count() > 1 || folded > 0, Path: onPath, Text: text, Title: m.groups[r.group].topic,
		Out: m.outside(at, at) != 0}
	slices.Sort(others)
	drawn, last := []float64{x}, x
	for _, o := range others {
		if len(drawn) < maxDots && !slices.ContainsFunc(drawn, func(d float64) bool { return math.Abs(d-o) < dotRoom }) {
			drawn = append(drawn, o)
			v.Others = append(v.Others, xPercent(o))
			last = max(last, o)
		}
	}
	v.TextX = xPercent(last)
	return v
}

// dotRoom is how far apart dots stand at least, in percent of the map.
const dotRoom = 0.75

// sentAt is when the message was sent that a row of messages is joined by.
func (m *threadMap) sentAt(r *mapRow) int64 {
	if leg, ok := m.joining(r); ok {
		l := &m.t.Legs[leg]
		return m.begin(l) - l.WaitNano
	}
	return m.groups[r.group].start
}

// endDot is what was sent and not taken.
func (m *threadMap) endDot(r *mapRow) views.ThreadDot {
	e := r.end
	at := e.AtUnixNano
	if !m.st.raw {
		at += m.t.Legs[e.Leg].SkewNano
	}
	what := countOf(e.Count, "message", "messages")
	x := xPercent(m.scale.x(at))
	return views.ThreadDot{X: x, TextX: x, Y: r.y + mapBarDown + mapBarHeight/2, End: true, Text: what + " sent, nothing known took " + itOrThem(e.Count),
		Title: "No span that took it has arrived: it may still be waiting, have no tracing, or record no link", Href: spanHref(e.First.Ref), Out: m.outside(at, at) != 0}
}

// placeWords puts the words of a dot near the right edge before it.
func placeWords(d views.ThreadDot) views.ThreadDot {
	x, _ := strconv.ParseFloat(strings.TrimSuffix(d.TextX, "%"), 64)
	before, _ := strconv.ParseFloat(strings.TrimSuffix(d.X, "%"), 64)
	for _, o := range d.Others {
		at, _ := strconv.ParseFloat(strings.TrimSuffix(o, "%"), 64)
		before = min(before, at)
	}
	room := letterWidth * float64(utf8.RuneCountInString(d.Text)+3)
	if x+room > 100 && before > room {
		d.TextEnd, d.TextX = true, xPercent(before)
	}
	return d
}

func itOrThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// joins draws what leads to a row: the curve from its cause, and the wait.
func (m *threadMap) joins(r *mapRow, v *views.ThreadMap) {
	g := &m.groups[r.group]
	if r.kind == rowPages || r.kind == rowEnd || r.kind == rowUnit && r.unit.fold != nil {
		return
	}
	leg, ok := m.joining(r)
	if !ok {
		return
	}
	l := &m.t.Legs[leg]
	if l.Cause < 0 {
		return
	}
	begin := m.begin(l)
	left := begin - l.WaitNano
	onPath := m.path[leg]
	fromX, fromY, ok := m.leaves(l.Cause, left)
	if dot, viaDot := m.dotOf[r.group]; viaDot && r.kind != rowTopic && (r.kind == rowGroup || m.rowOf[r.group] == r.index) {
		d := &m.rows[dot]
		fromX, fromY, ok = m.scale.x(m.sentAt(d)), d.y+mapBarDown+mapBarHeight/2+6, true
	}
	toX, toY := m.scale.x(begin), r.y+mapBarDown+mapBarHeight/2
	out := m.outside(left, begin)
	if waitFrom := m.scale.x(left); l.WaitNano > 0 && r.kind != rowTopic && toX-waitFrom > 0.6 && out == 0 {
		v.Waits = append(v.Waits, views.ThreadWait{X: xPercent(waitFrom), Width: xPercent(toX - waitFrom), Y: toY - 4, Title: waited(l.WaitNano), Critical: m.onCritical(leg)})
		toX = waitFrom
	} else if r.kind == rowTopic {
		toX = m.scale.x(left)
	}
	if r.kind == rowUnit && m.rowOf[r.group] != r.index && !onPath {
		return // of an unfolded group only the way that is told is drawn to its member
	}
	if !ok || out != 0 || g.parent >= 0 && m.of[l.Cause] == r.group && r.kind == rowGroup {
		return
	}
	inferred := l.Inferred || r.kind == rowGroup && g.inferred == len(g.legs) && g.inferred > 0
	v.Curves = append(v.Curves, views.ThreadCurve{D: curve(fromX, fromY, toX, toY), Inferred: inferred, Path: onPath || m.selected < 0 && len(g.legs) == 0 && m.pathIn[r.group],
		Title: howKnown(l.By, l.Rule, l.Inferred), To: rowID(r.index)})
}

// joining is the leg whose way to the row is drawn: the one on the path, else
// the first that another group caused.
func (m *threadMap) joining(r *mapRow) (int, bool) {
	legs := m.groups[r.group].legs
	if r.kind == rowUnit {
		legs = r.unit.legs
	}
	if r.kind == rowTopic {
		legs = nil
		for _, g := range r.brought {
			legs = append(legs, m.groups[g].legs...)
		}
	}
	for _, l := range legs {
		if m.path[l] && (m.t.Legs[l].Cause < 0 || m.of[m.t.Legs[l].Cause] != r.group) {
			return l, true
		}
	}
	for _, l := range legs {
		if c := m.t.Legs[l].Cause; c < 0 || m.of[c] != r.group {
			return l, true
		}
	}
	if len(legs) > 0 {
		return legs[0], true
	}
	return 0, false
}

func (m *threadMap) onCritical(leg int) bool {
	_, ok := m.critical[leg]
	return ok
}

// leaves is where a curve leaves the bar of a leg at a time.
func (m *threadMap) leaves(leg int, at int64) (x float64, y int, ok bool) {
	row, ok := m.legRow[leg]
	if !ok {
		row, ok = m.rowOf[m.of[leg]]
	}
	if !ok {
		return 0, 0, false
	}
	l := &m.t.Legs[leg]
	begin := m.begin(l)
	at = min(max(at, begin), begin+l.DurationNano)
	return m.scale.x(at), m.rows[row].y + mapBarDown + mapBarHeight, true
}

// curve is a path that falls from a bar and turns to the right into the next, or
// where that begins at once, falls beside it: rows in between are not run through.
// x in percent becomes thousandths.
func curve(x1 float64, y1 int, x2 float64, y2 int) string {
	f := func(x float64) string { return strconv.FormatFloat(x*10, 'f', 1, 64) }
	if math.Abs(x2-x1) < curveAside/2 {
		// Those that fall together fall as few lines.
		aside := f(math.Floor(min(x1, x2)/asideGrid)*asideGrid - curveAside)
		turn := min((y2-y1)/2, 14)
		return fmt.Sprintf("M%s %dC%s %d %s %d %s %dV%dC%s %d %s %d %s %d", f(x1), y1, f(x1), y1+turn/2, aside, y1+turn/2, aside, y1+turn, y2-turn, aside, y2-turn/2, aside, y2, f(x2), y2)
	}
	drop := y1 + (y2-y1)*3/5
	return fmt.Sprintf("M%s %dC%s %d %s %d %s %d", f(x1), y1, f(x1), drop, f((x1+x2)/2), y2, f(x2), y2)
}
