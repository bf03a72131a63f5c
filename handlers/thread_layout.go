package handlers

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"redthread/tracestore/graph"
	"redthread/views"
	"redthread/views/ui"
)

// Sizes of the map, in pixels, and its bounds: beyond them the table is the
// better picture, and the map says how much it leaves out.
const (
	// curveAside is how far beside a bar a curve falls into what begins with it, in
	// percent of the map, and asideGrid how far apart two such curves are.
	curveAside     = 0.9
	asideGrid      = 0.5
	mapTop         = 30 // the time axis
	mapRowHeight   = 40
	mapBarDown     = 15 // from the top of a row to its bar; the words of its edge stand above
	mapBarHeight   = 18
	mapLanePadding = 8
	maxMapRows     = 150
	maxUnitRows    = 1000
	unitPage       = 50 // members of an unfolded group that are shown at once
	maxBusyParts   = 40 // stretches drawn on the bar of one group
	maxMapEnds     = 3  // topics that nothing took, below one group
	minimapHeight  = 34
)

type rowKind uint8

const (
	rowGroup rowKind = iota // a group, folded or with its members below
	rowUnit                 // one member
	rowTopic                // the message between a cause and the groups it brought
	rowEnd                  // messages or jobs that nothing took
	rowPages                // which members of a group are shown
)

// mapRow is a row of the map.
type mapRow struct {
	kind  rowKind
	index int
	group int
	depth int
	unit  unit
	// brought are the groups under a topic.
	brought []int
	end     *graph.End
	total   int // members of the group, of which the rows above show some
	y       int
}

// threadMap lays out the map: which rows there are, lanes, and every mark.
type threadMap struct {
	*grouping
	st       threadState
	selected int          // leg, -1: none
	path     map[int]bool // legs on the way to it, or on the way that the sentence tells
	pathIn   map[int]bool // and their groups
	critical map[int]graph.Step
	rows     []mapRow
	rowOf    map[int]int // group → its row
	legRow   map[int]int // leg of an unfolded group → its row
	dotOf    map[int]int // group → the message row that brought it
	more     int
	start    int64 // where the time of the thread begins
	whole    *timeScale
	scale    *timeScale
}

// newThreadMap lays out a thread. told are the groups that its sentence tells.
func newThreadMap(g *grouping, st threadState, selected int, told []int) *threadMap {
	m := &threadMap{grouping: g, st: st, selected: selected, path: map[int]bool{}, pathIn: map[int]bool{}, critical: map[int]graph.Step{},
		rowOf: map[int]int{}, legRow: map[int]int{}, dotOf: map[int]int{}}
	end := selected
	if end <= 0 && len(told) > 0 {
		if last := &g.groups[told[len(told)-1]]; len(last.legs) > 0 {
			end = last.legs[0]
		} else if len(told) > 1 {
			m.pathIn[told[len(told)-1]] = true
		}
		for _, at := range told {
			m.pathIn[at] = true
		}
	}
	for l := end; l >= 0 && !m.path[l]; l = g.t.Legs[l].Cause {
		m.path[l] = true
		m.pathIn[g.of[l]] = true
	}
	if st.critical {
		for _, s := range g.t.Critical {
			if s.Leg >= 0 {
				m.critical[s.Leg] = s
			}
		}
	}
	m.arrange()
	for i := range m.rows {
		m.rows[i].index = i
	}
	busy := make([][2]int64, 0, len(g.t.Legs)+len(g.t.Folds))
	for i := range g.t.Legs {
		at := g.begin(&g.t.Legs[i])
		busy = append(busy, [2]int64{at, at + g.t.Legs[i].DurationNano})
	}
	for i := range g.t.Folds {
		busy = append(busy, [2]int64{g.t.Folds[i].StartUnixNano, g.t.Folds[i].EndUnixNano})
	}
	m.start = threadStart(g.t)
	m.whole = newTimeScale(slices.Clone(busy), 0, 0)
	m.scale = m.whole
	if len(busy) == 0 {
		m.st.from, m.st.to = 0, 0
	}
	if m.st.zoomed() {
		// An address may ask for any time: of it only what the thread has is shown.
		a, b := m.whole.span()
		if m.st.from, m.st.to = max(m.st.from, a-m.start), min(m.st.to, b-m.start); m.st.from >= m.st.to {
			m.st.from, m.st.to = 0, 0
		} else {
			m.scale = newTimeScale(busy, m.start+m.st.from, m.start+m.st.to)
		}
	}
	return m
}

// threadStart is the time from which a thread counts.
func threadStart(t *graph.Thread) int64 {
	switch {
	case len(t.Legs) > 0:
		return t.Legs[0].StartUnixNano
	case t.Start != nil:
		return t.Start.StartUnixNano
	}
	return 0
}

// arrange lists the rows: every group after its cause, the messages between.
func (m *threadMap) arrange() {
	ends := map[int][]*graph.End{}
	for i := range m.t.Ends {
		e := &m.t.Ends[i]
		if e.Leg >= 0 && e.Leg < len(m.of) {
			ends[m.of[e.Leg]] = append(ends[m.of[e.Leg]], e)
		}
	}
	type step struct {
		group  int
		depth  int
		topic  string
		groups []int
	}
	var stack []step
	push := func(children []int, depth int) {
		// Groups brought by one topic stand together under it.
		var steps []step
		byTopic := map[string]int{}
		for _, g := range children {
			topic := m.groups[g].topic
			if at, ok := byTopic[topic]; ok && topic != "" {
				steps[at].groups = append(steps[at].groups, g)
				continue
			}
			if topic != "" {
				byTopic[topic] = len(steps)
			}
			steps = append(steps, step{group: g, depth: depth, topic: topic, groups: []int{g}})
		}
		for i := len(steps) - 1; i >= 0; i-- {
			stack = append(stack, steps[i])
		}
	}
	var first []int
	for g := range m.groups {
		if m.groups[g].parent < 0 {
			first = append(first, g)
		}
	}
	push(first, 0)
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(m.rows) >= maxMapRows && !slices.ContainsFunc(s.groups, func(g int) bool { return m.pathIn[g] }) {
			m.more += len(s.groups)
			for _, g := range s.groups {
				push(m.groups[g].children, s.depth+1)
			}
			continue
		}
		if s.topic != "" {
			for _, g := range s.groups {
				m.dotOf[g] = len(m.rows)
			}
			m.rows = append(m.rows, mapRow{kind: rowTopic, group: s.groups[0], depth: s.depth, brought: s.groups})
			for i := len(s.groups) - 1; i >= 0; i-- {
				stack = append(stack, step{group: s.groups[i], depth: s.depth, groups: s.groups[i : i+1]})
			}
			continue
		}
		m.addGroup(s.group, s.depth)
		for i, e := range ends[s.group] {
			if i == maxMapEnds {
				break
			}
			m.rows = append(m.rows, mapRow{kind: rowEnd, group: s.group, depth: s.depth + 1, end: e})
		}
		push(m.groups[s.group].children, s.depth+1)
	}
}

// addGroup adds the rows of a group.
func (m *threadMap) addGroup(at, depth int) {
	grp := &m.groups[at]
	m.rowOf[at] = len(m.rows)
	if m.single(grp) {
		for _, l := range grp.legs {
			m.legRow[l] = len(m.rows)
		}
		m.rows = append(m.rows, mapRow{kind: rowUnit, group: at, depth: depth, unit: unit{legs: grp.legs}})
		return
	}
	m.rows = append(m.rows, mapRow{kind: rowGroup, group: at, depth: depth})
	open := m.st.opened(grp.id)
	if open == nil || len(m.rows) >= maxUnitRows {
		return
	}
	units := m.units(grp, open.order)
	from := min(open.from, max(len(units)-1, 0))
	to := min(from+unitPage, len(units))
	for _, u := range units[from:to] {
		for _, l := range u.legs {
			m.legRow[l] = len(m.rows)
		}
		m.rows = append(m.rows, mapRow{kind: rowUnit, group: at, depth: depth + 1, unit: u})
	}
	if len(units) > 3 {
		m.rows = append(m.rows, mapRow{kind: rowPages, group: at, depth: depth + 1, total: len(units)})
	}
}

// single reports whether a group is one leg, or the attempts at one thing.
func (m *threadMap) single(grp *threadGroup) bool {
	if len(grp.folds) > 0 || len(grp.legs) == 0 || grp.deep > 0 {
		return false
	}
	first := m.t.Legs[grp.legs[0]].FirstAttempt
	return len(grp.legs) == 1 || first >= 0 && len(grp.legs) <= maxBusyParts &&
		!slices.ContainsFunc(grp.legs, func(l int) bool { return m.t.Legs[l].FirstAttempt != first })
}

// view draws the map.
func (m *threadMap) view() views.ThreadMap {
	v := views.ThreadMap{More: m.more, Start: m.start, Scale: m.scale.json(m.start)}
	v.Ticks, v.Breaks = m.scale.ticks(m.start)
	y := mapTop
	for i := range m.rows {
		r := &m.rows[i]
		head, title, class := m.lane(r)
		n := len(v.Lanes)
		if n == 0 || v.Lanes[n-1].Full != head+" "+title {
			v.Lanes = append(v.Lanes, views.ThreadLane{Y: y, Head: head, Title: title, Full: head + " " + title, Class: class})
			y += mapLanePadding
			n++
		}
		r.y = y
		y += mapRowHeight
		v.Lanes[n-1].Height = y - v.Lanes[n-1].Y
	}
	v.Height = y + mapLanePadding
	for i := range m.rows {
		switch r := &m.rows[i]; r.kind {
		case rowTopic:
			v.Dots = append(v.Dots, placeWords(m.dot(r)))
		case rowEnd:
			v.Dots = append(v.Dots, placeWords(m.endDot(r)))
		case rowPages:
			v.Pages = append(v.Pages, m.pages(r))
		default:
			v.Bars = append(v.Bars, m.bars(r)...)
		}
		m.joins(&m.rows[i], &v)
	}
	// What is on the path is drawn above the rest.
	slices.SortStableFunc(v.Curves, func(a, b views.ThreadCurve) int { return boolInt(a.Path) - boolInt(b.Path) })
	v.Minimap = m.minimap()
	m.zoomLinks(&v)
	if v.EffectsShown {
		m.stepBack(v.Bars)
	}
	return v
}

func rowID(index int) string { return "r" + strconv.Itoa(index) }

// stepBack takes the weight from the bars of what the selected leg did not set
// off, and marks what it did.
func (m *threadMap) stepBack(bars []views.ThreadBar) {
	legs, folds := m.setOff()
	in := map[string]bool{} // rows
	for i := range m.rows {
		r := &m.rows[i]
		if r.kind == rowTopic || r.kind == rowEnd || r.kind == rowPages {
			continue
		}
		g := &m.groups[r.group]
		in[rowID(r.index)] = slices.ContainsFunc(g.legs, func(l int) bool { return legs[l] }) || slices.ContainsFunc(g.folds, func(f int) bool { return folds[f] })
	}
	own := m.rowOf[m.of[m.selected]]
	if at, ok := m.legRow[m.selected]; ok {
		own = at
	}
	for i := range bars {
		bars[i].Aside = !in[bars[i].Row]
		bars[i].Effect = !bars[i].Aside && bars[i].Row != rowID(own)
	}
}

// lane names the lane of a row.
func (m *threadMap) lane(r *mapRow) (head, title, class string) {
	g := &m.groups[r.group]
	switch r.kind {
	case rowTopic:
		class = "ThreadMap-lane--topic"
		if slices.ContainsFunc(r.brought, func(g int) bool { return m.pathIn[g] }) {
			class += " ThreadMap-lane--path"
		}
		return "message", shown(g.topic), class
	case rowEnd:
		if r.end.Topic == "" {
			return "sent", "to nobody known", "ThreadMap-lane--topic"
		}
		return "sent", shown(r.end.Topic), "ThreadMap-lane--topic"
	}
	return shown(g.service), g.name, views.ServiceClass(g.service)
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return ui.Count(n) + " " + many
}

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

// pages says which members of an unfolded group are shown, and leads to others.
func (m *threadMap) pages(r *mapRow) views.ThreadPages {
	grp := &m.groups[r.group]
	open := m.st.opened(grp.id)
	from := min(open.from, max(r.total-1, 0))
	to := min(from+unitPage, r.total)
	v := views.ThreadPages{Y: r.y + mapBarDown + 12, Text: ui.Count(from+1) + "–" + ui.Count(to) + " of " + ui.Count(r.total)}
	link := func(text string, from int, order graph.FoldOrder, current bool) {
		v.Links = append(v.Links, views.ThreadStep{Text: text, Href: m.st.paged(grp.id, from, order), Current: current})
	}
	if from > 0 {
		link("‹ earlier", max(from-unitPage, 0), open.order, false)
	}
	if to < r.total {
		link("more ›", to, open.order, false)
	}
	for _, o := range []struct {
		order graph.FoldOrder
		text  string
	}{{graph.ByStart, "by start"}, {graph.BySlowest, "slowest first"}, {graph.ByFailed, "failed first"}} {
		link(o.text, 0, o.order, o.order == open.order)
	}
	v.Links = append(v.Links, views.ThreadStep{Text: "fold", Href: m.st.toggled(grp.id).href()})
	return v
}

// outside is -1 for a time before what is shown, 1 for one after.
func (m *threadMap) outside(from, to int64) int {
	if !m.st.zoomed() {
		return 0
	}
	a, b := m.scale.span()
	switch {
	case to < a:
		return -1
	case from > b:
		return 1
	}
	return 0
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

// minimap is the whole thread at a glance, with the window that is shown.
func (m *threadMap) minimap() views.ThreadMinimap {
	v := views.ThreadMinimap{Height: minimapHeight, Scale: m.whole.json(m.start)}
	rows := 0
	for i := range m.rows {
		if k := m.rows[i].kind; k == rowGroup || k == rowUnit && m.rowOf[m.rows[i].group] == i {
			rows++
		}
	}
	at := 0
	for i := range m.rows {
		r := &m.rows[i]
		if r.kind != rowGroup && (r.kind != rowUnit || m.rowOf[r.group] != i) {
			continue
		}
		g := &m.groups[r.group]
		x := m.whole.x(g.start)
		v.Bars = append(v.Bars, views.ThreadMiniBar{X: xPercent(x), Width: xPercent(max(m.whole.x(g.end)-x, 0.3)), Y: px2(3 + float64(at)*float64(minimapHeight-7)/float64(max(rows, 6))),
			Class: views.ServiceClass(g.service), Path: m.pathIn[r.group], Error: g.failed > 0})
		at++
	}
	if m.st.zoomed() {
		a, b := m.whole.x(m.start+m.st.from), m.whole.x(m.start+m.st.to)
		v.From, v.To, v.Rest = xPercent(a), xPercent(b), xPercent(100-b)
		v.Window = xPercent(b - a)
	}
	return v
}

func px2(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// setOff marks the legs and folds that the selected leg set off, itself among them.
func (m *threadMap) setOff() (legs, folds []bool) {
	legs, folds = make([]bool, len(m.t.Legs)), make([]bool, len(m.t.Folds))
	for i := range m.t.Legs { // each stands after its cause
		legs[i] = i == m.selected || m.t.Legs[i].Cause >= 0 && legs[m.t.Legs[i].Cause]
	}
	for i := range m.t.Folds {
		f := &m.t.Folds[i]
		folds[i] = f.Cause >= 0 && legs[f.Cause] || f.Parent >= 0 && folds[f.Parent]
	}
	return legs, folds
}

// effectsSpan is the time from the selected leg to the end of what it set off;
// false if that is nothing.
func (m *threadMap) effectsSpan() (from, to int64, any bool) {
	if m.selected < 0 {
		return 0, 0, false
	}
	legs, folds := m.setOff()
	from = m.begin(&m.t.Legs[m.selected])
	for i, in := range legs {
		if l := &m.t.Legs[i]; in {
			to, any = max(to, m.begin(l)+l.DurationNano), any || i != m.selected
		}
	}
	for i, in := range folds {
		if in {
			to, any = max(to, m.t.Folds[i].EndUnixNano), true
		}
	}
	margin := max((to-from)/40, 1000)
	return from - margin, to + margin, any
}

// effectsShown reports whether the time shown is that of the effects: then the
// rest steps back.
func (m *threadMap) effectsShown() bool {
	from, to, any := m.effectsSpan()
	a, b := m.whole.span()
	return any && m.st.from == max(from, a)-m.start && m.st.to == min(to, b)-m.start
}

// zoomLinks are the ways to see another part of the time.
func (m *threadMap) zoomLinks(v *views.ThreadMap) {
	if len(m.t.Legs) == 0 {
		return
	}
	a, b := m.whole.span()
	zoom := func(from, to int64) string {
		return m.st.with(func(st *threadState) { st.from, st.to = max(from, a)-m.start, min(to, b)-m.start })
	}
	if m.selected >= 0 {
		l := &m.t.Legs[m.selected]
		begin := m.begin(l)
		margin := max(l.DurationNano/4, l.WaitNano/8, 1000)
		v.ZoomIn = zoom(begin-l.WaitNano-margin, begin+l.DurationNano+margin)
		if from, to, any := m.effectsSpan(); any {
			v.ZoomEffects = zoom(from, to)
			v.EffectsShown = m.effectsShown()
		}
	}
	if !m.st.zoomed() {
		return
	}
	from, to := m.start+m.st.from, m.start+m.st.to
	length := to - from
	precision := max(length/100, 1)
	v.ZoomText = offsetWords(m.st.from, precision) + " to " + offsetWords(m.st.to, precision)
	v.ZoomAll = m.st.with(func(st *threadState) { st.from, st.to = 0, 0 })
	v.ZoomOut = zoom(from-length/2, to+length/2)
	if from-length/2 <= a && to+length/2 >= b {
		v.ZoomOut = v.ZoomAll
	}
	if from > a {
		v.Earlier = zoom(max(from-length/2, a), max(from-length/2, a)+length)
	}
	if to < b {
		v.Later = zoom(min(to+length/2, b)-length, min(to+length/2, b))
	}
}
