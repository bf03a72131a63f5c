package handlers

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"redthread/tracestore/graph"
	"redthread/views"
	"redthread/views/ui"
)

// Sizes of the map, in pixels, and its bounds: beyond them the table is the
// better picture, and the map says how much it leaves out.
const (
	mapTop         = 38 // the time axis
	mapRowHeight   = 38
	mapLanePadding = 10
	mapBarHeight   = 18
	maxMapRows     = 150
	maxOpenLegs    = 50 // rows of one unfolded group
	mapLeft        = 1.0
	mapRight       = 86.0 // the rest is room for words beside the last bars
	maxBusyParts   = 40   // stretches drawn on the bar of one group
)

// threadGroup is what the map draws as one bar: the legs of one service, name
// and way of coming that the same group caused.
type threadGroup struct {
	id       string // stable while the thread grows
	parent   int    // group, -1 for the first
	legs     []int  // by start
	topic    string // of the message that brought it, or ""
	service  string
	name     string
	work     graph.Work
	start    int64
	end      int64
	failed   int
	inferred int
	waitNano int64 // the longest
	children []int // groups by start
	size     int   // legs in it and in everything below
}

// threadGroups folds the legs of a thread. Legs stand after their causes, so
// groups do too.
func threadGroups(legs []graph.Leg) (list []threadGroup, groupOf []int) {
	type key struct {
		parent               int
		service, name, topic string
		work                 graph.Work
	}
	var groups []threadGroup
	at := map[key]int{}
	groupOf = make([]int, len(legs))
	for i := range legs {
		l := &legs[i]
		k := key{parent: -1, service: l.Service, name: legName(l), work: l.Work}
		if l.Cause >= 0 && l.Cause < i {
			k.parent = groupOf[l.Cause]
		}
		if l.Work == graph.WorkMessage && l.Cause >= 0 {
			k.topic = l.Topic
		}
		g, ok := at[k]
		if !ok {
			g = len(groups)
			at[k] = g
			above := ""
			if k.parent >= 0 {
				above = groups[k.parent].id
			}
			groups = append(groups, threadGroup{
				id: groupID(above, k.service, k.name, k.topic, string(k.work)), parent: k.parent, topic: k.topic, service: l.Service, name: k.name, work: l.Work,
				start: l.StartUnixNano, end: l.StartUnixNano + l.DurationNano,
			})
			if k.parent >= 0 {
				groups[k.parent].children = append(groups[k.parent].children, g)
			}
		}
		groupOf[i] = g
		grp := &groups[g]
		grp.legs = append(grp.legs, i)
		grp.start = min(grp.start, l.StartUnixNano)
		grp.end = max(grp.end, l.StartUnixNano+l.DurationNano)
		grp.waitNano = max(grp.waitNano, l.WaitNano)
		if l.Errors > 0 {
			grp.failed++
		}
		if l.Inferred {
			grp.inferred++
		}
	}
	for g := len(groups) - 1; g >= 0; g-- {
		groups[g].size += len(groups[g].legs)
		if p := groups[g].parent; p >= 0 {
			groups[p].size += groups[g].size
		}
		slices.SortStableFunc(groups[g].legs, func(a, b int) int { return cmp.Compare(legs[a].StartUnixNano, legs[b].StartUnixNano) })
		slices.SortStableFunc(groups[g].children, func(a, b int) int { return cmp.Compare(groups[a].start, groups[b].start) })
	}
	return groups, groupOf
}

// legName is what a leg is called: a job by its class, whatever its span says.
func legName(l *graph.Leg) string {
	if l.Work == graph.WorkJob && l.Topic != "" {
		return rowName(l.Topic)
	}
	return rowName(l.Name)
}

func groupID(parts ...string) string {
	h := fnv.New32a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// p50 is the median duration of a group.
func (g *threadGroup) p50(legs []graph.Leg) int64 {
	d := make([]int64, len(g.legs))
	for i, l := range g.legs {
		d[i] = legs[l].DurationNano
	}
	slices.Sort(d)
	return d[(len(d)-1)/2]
}

// timeScale maps times to percentages of the map's width. Idle stretches longer
// than all the rest together are cut short, so that an effect that comes a
// month after its cause leaves both readable.
type timeScale struct{ pieces []scalePiece }

type scalePiece struct {
	from, to int64
	x, width float64
	idle     bool
}

// idleWidth is the width of a stretch that is cut short, in percent.
const idleWidth = 5.0

func newTimeScale(busy [][2]int64) *timeScale {
	s := &timeScale{}
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
		if m[0]-last[1] > max(active, 1e6) {
			s.pieces = append(s.pieces, scalePiece{from: last[0], to: last[1]}, scalePiece{from: last[1], to: m[0], idle: true})
			last = m
			continue
		}
		last[1] = max(last[1], m[1])
	}
	s.pieces = append(s.pieces, scalePiece{from: last[0], to: last[1]})
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
	return s
}

// x is where a time stands, in percent.
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

// ticks are round marks on a whole axis; on one with cuts, the start of each
// piece and the cuts.
func (s *timeScale) ticks() (ticks []views.TimeTick, breaks []views.ThreadBreak) {
	if len(s.pieces) == 0 {
		return nil, nil
	}
	start := s.pieces[0].from
	if len(s.pieces) == 1 {
		for at, step := int64(0), tickStep(s.pieces[0].to-start); at <= s.pieces[0].to-start; at += step {
			ticks = append(ticks, views.TimeTick{X: xPercent(s.x(start + at)), Text: plusDuration(at)})
		}
		return ticks, nil
	}
	lastX := -100.0
	for _, p := range s.pieces {
		if p.idle {
			breaks = append(breaks, views.ThreadBreak{X: xPercent(p.x + p.width/2), Text: "⋯"})
			continue
		}
		if p.x-lastX >= 9 {
			ticks = append(ticks, views.TimeTick{X: xPercent(p.x), Text: plusDuration(p.from - start)})
			lastX = p.x
		}
	}
	return ticks, breaks
}

func plusDuration(nano int64) string {
	if nano == 0 {
		return "0"
	}
	return "+" + ui.Duration(nano)
}

func xPercent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

// mapRow is a row of the map: a folded group, one leg of an unfolded one, or
// the message between a cause and the groups it brought.
type mapRow struct {
	group int
	leg   int  // -1: the whole group
	topic bool // the message row above the groups in brought
	more  int  // legs of an unfolded group that are not drawn; the row says so

	brought []int
	y       int
}

// threadMap lays out the map: which rows there are, lanes, and every mark.
type threadMap struct {
	thread   *graph.Thread
	groups   []threadGroup
	groupOf  []int // by leg
	open     map[string]bool
	selected int // leg, -1: none
	onPath   map[int]bool
	rows     []mapRow
	rowOf    map[int]int // group → its first row
	legRow   map[int]int // leg of an unfolded group → its row
	dotOf    map[int]int // group → the message row that brought it
	more     int
	scale    *timeScale
	href     func(toggle string) string
}

func newThreadMap(t *graph.Thread, open map[string]bool, selected int, href func(toggle string) string) *threadMap {
	m := &threadMap{
		thread: t, open: open, selected: selected, href: href,
		onPath: map[int]bool{}, rowOf: map[int]int{}, legRow: map[int]int{}, dotOf: map[int]int{},
	}
	m.groups, m.groupOf = threadGroups(t.Legs)
	for l := selected; l >= 0; l = t.Legs[l].Cause {
		if m.onPath[l] {
			break
		}
		m.onPath[l] = true
	}
	m.arrange()
	busy := make([][2]int64, 0, len(t.Legs))
	for i := range t.Legs {
		l := &t.Legs[i]
		busy = append(busy, [2]int64{l.StartUnixNano, l.StartUnixNano + l.DurationNano})
	}
	m.scale = newTimeScale(busy)
	return m
}

// arrange lists the rows: every group after its cause, the messages between.
func (m *threadMap) arrange() {
	type step struct {
		group  int
		topic  string
		groups []int
	}
	var stack []step
	push := func(children []int) {
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
			steps = append(steps, step{group: g, topic: topic, groups: []int{g}})
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
	push(first)
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(m.rows) >= maxMapRows {
			m.more += len(s.groups)
			for _, g := range s.groups {
				push(m.groups[g].children)
			}
			continue
		}
		if s.topic != "" {
			for _, g := range s.groups {
				m.dotOf[g] = len(m.rows)
			}
			m.rows = append(m.rows, mapRow{group: s.groups[0], leg: -1, topic: true, brought: s.groups})
			for i := len(s.groups) - 1; i >= 0; i-- {
				stack = append(stack, step{group: s.groups[i]})
			}
			continue
		}
		grp := &m.groups[s.group]
		m.rowOf[s.group] = len(m.rows)
		if len(grp.legs) > 1 && m.open[grp.id] {
			for n, l := range grp.legs {
				if n == maxOpenLegs {
					m.rows[len(m.rows)-1].more = len(grp.legs) - n
					break
				}
				m.legRow[l] = len(m.rows)
				m.rows = append(m.rows, mapRow{group: s.group, leg: l})
			}
		} else {
			m.rows = append(m.rows, mapRow{group: s.group, leg: -1})
		}
		push(grp.children)
	}
}

// view draws the map.
func (m *threadMap) view() views.ThreadMap {
	v := views.ThreadMap{More: m.more}
	v.Ticks, v.Breaks = m.scale.ticks()
	y := mapTop
	for i := range m.rows {
		r := &m.rows[i]
		head, title, class := m.lane(r)
		n := len(v.Lanes)
		if n == 0 || v.Lanes[n-1].Full != head+" "+title {
			y += mapLanePadding / 2
			v.Lanes = append(v.Lanes, views.ThreadLane{Y: y - mapLanePadding/2, Head: clipLetters(head, 21), Title: clipLetters(title, 20), Full: head + " " + title, Class: class})
			y += mapLanePadding / 2
			n++
		}
		r.y = y + 6
		y += mapRowHeight
		v.Lanes[n-1].Height = y - v.Lanes[n-1].Y
	}
	v.Height = y + mapLanePadding
	for i := range m.rows {
		if m.rows[i].topic {
			v.Dots = append(v.Dots, m.dot(&m.rows[i]))
		} else {
			v.Bars = append(v.Bars, m.bar(&m.rows[i]))
		}
		m.joins(&m.rows[i], &v)
	}
	return v
}

// lane names the lane of a row.
func (m *threadMap) lane(r *mapRow) (head, title, class string) {
	g := &m.groups[r.group]
	if r.topic {
		return "message", g.topic, "ThreadMap-lane--topic"
	}
	return g.service, g.name, views.ServiceClass(g.service)
}

// clipLetters cuts a text after n letters.
func clipLetters(s string, n int) string {
	letters := []rune(s)
	if len(letters) <= n {
		return s
	}
	return string(letters[:n-1]) + "…"
}

func (m *threadMap) bar(r *mapRow) views.ThreadBar {
	g := &m.groups[r.group]
	legs := m.thread.Legs
	first := &legs[g.legs[0]]
	start, end := g.start, g.end
	if r.leg >= 0 {
		first = &legs[r.leg]
		start, end = first.StartUnixNano, first.StartUnixNano+first.DurationNano
	}
	x := m.scale.x(start)
	width := max(m.scale.x(end)-x, 0.35)
	b := views.ThreadBar{Href: spanHref(first.Ref), X: xPercent(x), Width: xPercent(width), Y: r.y, Class: views.ServiceClass(g.service)}
	offset := plusDuration(start - legs[0].StartUnixNano)
	switch single := len(g.legs) == 1 || r.leg >= 0; {
	case single:
		b.Text, b.Error = ui.Duration(first.DurationNano), first.Errors > 0
		if first.Errors > 0 {
			b.Warn = countOf(first.Errors, "error", "errors")
		}
		b.Title = fmt.Sprintf("%s, %s, at %s, %s", g.name, g.service, offset, b.Text)
		b.Selected = m.selected >= 0 && m.selected == legIndex(g, r)
		if r.leg >= 0 && m.legRow[r.leg] == m.rowOf[r.group] {
			b.FoldHref = m.href(g.id)
			b.Text += " · 1 of " + ui.Count(len(g.legs))
		}
		if r.more > 0 {
			b.Text += " · " + ui.Count(r.more) + " more in the table"
		}
	default:
		b.Stack, b.Folded, b.FoldHref = true, true, m.href(g.id)
		b.Text = "×" + ui.Count(len(g.legs)) + " p50 " + ui.Duration(g.p50(legs))
		b.Busy = m.busy(g)
		b.Selected = slices.Contains(g.legs, m.selected)
		b.Title = fmt.Sprintf("%s, %s, %s runs from %s, %s", g.name, g.service, ui.Count(len(g.legs)), offset, b.Text)
		if g.failed > 0 {
			b.Warn = ui.Count(g.failed) + " failed"
		}
	}
	if b.Warn != "" {
		b.Title += ", " + b.Warn
	}
	b.TextX = xPercent(x + width)
	if x+width > 78 {
		b.TextEnd = true // before the bar, or on its end if that begins too far left
		if x > 24 {
			b.TextX = xPercent(min(x, m.scale.x(first.StartUnixNano-first.WaitNano)))
		}
	}
	return b
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return ui.Count(n) + " " + many
}

func legIndex(g *threadGroup, r *mapRow) int {
	if r.leg >= 0 {
		return r.leg
	}
	return g.legs[0]
}

// busy is when any leg of a group ran, as stretches of its bar.
func (m *threadMap) busy(g *threadGroup) []views.Stretch {
	type stretch struct{ a, b float64 }
	var parts []stretch
	for _, i := range g.legs {
		l := &m.thread.Legs[i]
		a := m.scale.x(l.StartUnixNano)
		b := max(m.scale.x(l.StartUnixNano+l.DurationNano), a+0.2)
		if n := len(parts); n > 0 && a <= parts[n-1].b+(mapRight-mapLeft)/maxBusyParts/4 {
			parts[n-1].b = max(parts[n-1].b, b)
		} else {
			parts = append(parts, stretch{a, b})
		}
	}
	list := make([]views.Stretch, 0, len(parts))
	for _, p := range parts {
		list = append(list, views.Stretch{X: xPercent(p.a), Width: xPercent(p.b - p.a)})
	}
	return list
}

// dot is the message between a cause and what it brought.
func (m *threadMap) dot(r *mapRow) views.ThreadDot {
	sent := map[[2]string]bool{}
	at := int64(0)
	for _, g := range r.brought {
		for _, i := range m.groups[g].legs {
			l := &m.thread.Legs[i]
			sent[[2]string{l.From.TraceID.String(), l.From.SpanID.String()}] = true
			if t := l.StartUnixNano - l.WaitNano; at == 0 || t < at {
				at = t
			}
		}
	}
	text := countOf(len(sent), "message", "messages")
	if n := len(r.brought); n > 1 {
		text += " · " + ui.Count(n) + " consumers"
	}
	return views.ThreadDot{X: xPercent(m.scale.x(at)), Y: r.y + mapBarHeight/2, Several: len(sent) > 1, Text: text, Title: m.groups[r.group].topic}
}

// joins draws what leads to a row: the curve from its cause, and the wait.
func (m *threadMap) joins(r *mapRow, v *views.ThreadMap) {
	g := &m.groups[r.group]
	leg := &m.thread.Legs[legIndex(g, r)]
	if leg.Cause < 0 {
		return
	}
	left := leg.StartUnixNano - leg.WaitNano
	inferred := leg.Inferred
	aside := m.selected >= 0 && !m.onPath[legIndex(g, r)]
	if aside && r.leg < 0 {
		aside = !slices.ContainsFunc(g.legs, func(l int) bool { return m.onPath[l] })
	}
	title := howKnown(leg.By, leg.Rule, leg.Inferred)
	fromX, fromY, ok := m.end(leg.Cause, left)
	dot, viaDot := m.dotOf[r.group]
	if r.topic {
		dot, viaDot = 0, false
	}
	if viaDot {
		d := &m.rows[dot]
		at := left
		for _, other := range d.brought {
			for _, i := range m.groups[other].legs {
				at = min(at, m.thread.Legs[i].StartUnixNano-m.thread.Legs[i].WaitNano)
			}
		}
		fromX, fromY, ok = m.scale.x(at), d.y+mapBarHeight/2+6, true
	}
	if !ok {
		return
	}
	toX, toY := m.scale.x(leg.StartUnixNano), r.y+mapBarHeight/2
	if r.topic {
		toX = m.scale.x(left)
	}
	waitFrom := m.scale.x(left)
	if leg.WaitNano > 0 && !r.topic && toX-waitFrom > 0.6 {
		v.Waits = append(v.Waits, views.ThreadWait{X: xPercent(waitFrom), Width: xPercent(toX - waitFrom), Y: toY - 4, Title: waited(leg.WaitNano)})
		if !viaDot {
			toX = waitFrom
		}
	}
	v.Curves = append(v.Curves, views.ThreadCurve{Path: curve(fromX, fromY, toX, toY), Inferred: inferred, Aside: aside, Title: title})
}

// end is where a curve leaves the bar of a leg at a time.
func (m *threadMap) end(leg int, at int64) (x float64, y int, ok bool) {
	row, ok := m.legRow[leg]
	if !ok {
		row, ok = m.rowOf[m.groupOf[leg]]
	}
	if !ok {
		return 0, 0, false
	}
	l := &m.thread.Legs[leg]
	at = min(max(at, l.StartUnixNano), l.StartUnixNano+l.DurationNano)
	return m.scale.x(at), m.rows[row].y + mapBarHeight, true
}

// curve is a path that falls from a bar and turns to the right into the next;
// x in percent becomes thousandths.
func curve(x1 float64, y1 int, x2 float64, y2 int) string {
	f := func(x float64) string { return strconv.FormatFloat(x*10, 'f', 1, 64) }
	drop := y1 + (y2-y1)*3/5
	return fmt.Sprintf("M%s %dC%s %d %s %d %s %d", f(x1), y1, f(x1), drop, f((x1+x2)/2), y2, f(x2), y2)
}
