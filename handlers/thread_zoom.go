package handlers

import (
	"slices"
	"strconv"

	"redthread/views"
)

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
