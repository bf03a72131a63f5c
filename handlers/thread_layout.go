package handlers

import (
	"slices"
	"strconv"

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
