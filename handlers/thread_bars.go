package handlers

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// bars draws a row: a group as one bar, a member as one for each attempt.
func (m *threadMap) bars(r *mapRow) []views.ThreadBar {
	row := rowID(r.index)
	switch {
	case r.kind == rowGroup:
		b := m.groupBar(r)
		b.Row = row
		return []views.ThreadBar{b}
	case r.unit.fold != nil:
		b := m.foldedBar(r)
		b.Row = row
		return []views.ThreadBar{b}
	}
	list := make([]views.ThreadBar, 0, len(r.unit.legs))
	for n, leg := range r.unit.legs {
		b := m.legBar(r, leg, n == len(r.unit.legs)-1)
		b.Row = row
		if n > 0 {
			b.Label = "" // the first says how the row came about
		}
		list = append(list, b)
	}
	// Of several attempts the last carries the words; the others would stand in
	// each other's way.
	for i := range list[:len(list)-1] {
		list[i].Text, list[i].Warn = "", ""
	}
	return list
}

// letterWidth is about how wide a letter is on a map of usual width, in percent.
const letterWidth = 0.82

// place puts a bar and its words where its time is.
func (m *threadMap) place(b *views.ThreadBar, r *mapRow, start, end, wait int64) {
	b.Y, b.Level = r.y+mapBarDown, r.depth+1
	switch m.outside(start, end) {
	case -1:
		b.Out, b.Text, b.TextX, b.Label = true, "◂ "+plusDuration(start-m.start), xPercent(mapLeft), ""
		return
	case 1:
		b.Out, b.Text, b.TextX, b.TextEnd, b.Label = true, plusDuration(start-m.start)+" ▸", xPercent(mapRight), true, ""
		return
	}
	x := m.scale.x(start)
	width := max(m.scale.x(end)-x, 0.35)
	left := min(x, m.scale.x(start-wait))
	b.X, b.Width = xPercent(x), xPercent(width)
	// How it came here stands above its wait, beside the curve that leads there.
	label := letterWidth * float64(utf8.RuneCountInString(b.Label)+1)
	b.LabelX = xPercent(left)
	if left+label > 100 && left > label {
		b.LabelEnd = true
	}
	// What it did stands after the bar, else before its wait, else above its end or
	// on it.
	b.TextX = xPercent(x + width)
	room := letterWidth * float64(utf8.RuneCountInString(b.Text)+utf8.RuneCountInString(b.Warn)+4)
	switch {
	case x+width+room <= 100:
	case left > room && !b.LabelEnd:
		b.TextX, b.TextEnd = xPercent(left-curveAside), true
	case b.Label == "" || !b.LabelEnd && left+label+room < x+width:
		b.TextEnd, b.TextAbove = true, true
	default:
		b.TextEnd = true
	}
}

func (m *threadMap) legBar(r *mapRow, leg int, last bool) views.ThreadBar {
	g := &m.groups[r.group]
	l := &m.t.Legs[leg]
	b := views.ThreadBar{Href: m.st.selecting(l.Ref), TraceHref: spanHref(l.Ref), Class: views.ServiceClass(g.service), Error: l.Errors > 0,
		Selected: leg == m.selected, Path: m.path[leg], Expired: l.Expired, Label: m.edgeWords(l)}
	b.Text = ui.Duration(l.DurationNano)
	if l.Errors > 0 {
		b.Warn = countOf(l.Errors, "error", "errors")
	}
	if l.Attempts > 1 {
		b.Warn = ""
		if l.Errors > 0 {
			b.Warn = "failed"
		}
		b.Text += fmt.Sprintf(" · attempt %d of %d", l.Attempt, l.Attempts)
		if last && l.Errors == 0 {
			b.Text += " ✓"
		}
	}
	if to := m.loopTo(leg); to != "" {
		b.Text += " · ↻ leads back to " + to
	}
	begin := m.begin(l)
	b.Title = fmt.Sprintf("%s, %s, at %s, %s", g.name, shown(g.service), plusDuration(begin-m.start), b.Text)
	if b.Warn != "" {
		b.Title += ", " + b.Warn
	}
	m.place(&b, r, begin, begin+l.DurationNano, l.WaitNano)
	if s, ok := m.critical[leg]; ok && !b.Out {
		x := m.scale.x(begin)
		b.CriticalX, b.CriticalWidth = xPercent(x), xPercent(max(m.scale.x(begin+min(s.SelfNano, l.DurationNano))-x, 0.35))
	}
	if m.rowOf[r.group] == r.index {
		b.ID = g.id
	}
	return b
}

// foldedBar is a trace of which only the summary was read.
func (m *threadMap) foldedBar(r *mapRow) views.ThreadBar {
	f := r.unit.fold
	g := &m.groups[r.group]
	ref := trace.Ref{TraceID: f.TraceID}
	b := views.ThreadBar{Href: m.st.selecting(ref), TraceHref: spanHref(ref), Class: views.ServiceClass(g.service), Error: f.Errors > 0, Text: ui.Duration(f.DurationNano), Label: waited(f.WaitNano)}
	if f.Errors > 0 {
		b.Warn = countOf(f.Errors, "error", "errors")
	}
	b.Title = fmt.Sprintf("%s, %s, at %s, %s", g.name, shown(g.service), plusDuration(f.StartUnixNano-m.start), b.Text)
	m.place(&b, r, f.StartUnixNano, f.StartUnixNano+f.DurationNano, 0) // its wait is only told
	return b
}

func (m *threadMap) groupBar(r *mapRow) views.ThreadBar {
	g := &m.groups[r.group]
	b := views.ThreadBar{ID: g.id, Class: views.ServiceClass(g.service), Stack: true, FoldHref: m.st.toggled(g.id).href(), Folded: m.st.opened(g.id) == nil, Path: m.pathIn[r.group]}
	wait := int64(0)
	if leg, ok := m.joining(r); ok && len(g.legs) > 0 {
		l := &m.t.Legs[leg]
		wait = l.WaitNano
		b.Href, b.TraceHref = m.st.selecting(l.Ref), spanHref(l.Ref)
		b.Label = m.groupEdgeWords(g, l)
	} else {
		f := &m.t.Folds[g.folds[0]]
		ref := trace.Ref{TraceID: f.Slowest}
		b.Href, b.TraceHref = m.st.selecting(ref), spanHref(ref)
	}
	b.Text = "×" + ui.Count(g.runs) + " · "
	if words := g.messageWords(); words != "" {
		b.Text += words + " · "
	}
	b.Text += tookWords(g)
	if g.failed > 0 {
		b.Warn = ui.Count(g.failed) + " failed"
		if g.retries > 0 {
			b.Warn += ", " + ui.Count(g.retries) + " retried"
		}
	}
	if g.deep > 0 {
		b.Text += " · set off itself " + ui.Count(g.deep+maxRepeats-1) + " deep"
	}
	for _, l := range g.legs {
		if to := m.loopTo(l); to != "" {
			b.Text += " · ↻ leads back to " + to
			break
		}
	}
	b.Title = fmt.Sprintf("%s, %s, %s from %s, %s", g.name, shown(g.service), countOf(g.runs, "run", "runs"), plusDuration(g.start-m.start), b.Text)
	if b.Warn != "" {
		b.Title += ", " + b.Warn
	}
	m.place(&b, r, g.start, g.end, wait)
	if b.Out {
		return b
	}
	b.Busy = m.busy(g)
	for _, leg := range g.legs {
		l := &m.t.Legs[leg]
		begin := m.begin(l)
		x := m.scale.x(begin)
		if s, ok := m.critical[leg]; ok && b.CriticalX == "" {
			b.CriticalX, b.CriticalWidth = xPercent(x), xPercent(max(m.scale.x(begin+min(s.SelfNano, l.DurationNano))-x, 0.35))
		}
		if _, own := m.legRow[leg]; leg == m.selected && !own {
			b.Selected = true
			b.OutlineX, b.OutlineWidth = xPercent(x), xPercent(max(m.scale.x(begin+l.DurationNano)-x, 0.5))
		}
	}
	return b
}

// tookWords tell how long the runs of a group took.
func tookWords(g *threadGroup) string {
	switch {
	case g.runs == 1:
		return ui.Duration(g.most)
	case g.least == g.most:
		return ui.Duration(g.most) + " each"
	case g.runs == 2:
		return ui.Duration(g.least) + " and " + ui.Duration(g.most)
	}
	return "min " + ui.Duration(g.least) + ", median " + ui.Duration(g.median) + ", max " + ui.Duration(g.most)
}

// edgeWords stand above the wait before a leg: how long, what by, and what is odd
// about it.
func (m *threadMap) edgeWords(l *graph.Leg) string {
	var words []string
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	if l.Cause < 0 {
		if m.t.Origin == nil && m.t.Circle {
			return "◂ no beginning: it leads round in a circle"
		}
		if m.t.Origin == nil && m.t.Status == graph.Unknown {
			return "◂ its cause is " + unknownWords(m.t.Reason)
		}
		if l.Expired {
			return "spans expired, kept as a summary"
		}
		return m.batchWords(l)
	}
	add(waited(l.WaitNano))
	add(edgeKind(l))
	add(m.batchWords(l))
	if l.SkewNano > 0 && !m.st.raw {
		add("clock " + ui.Duration(l.SkewNano) + " behind, drawn later")
	}
	if l.Expired {
		add("spans expired")
	}
	return strings.Join(words, " · ")
}

func (m *threadMap) batchWords(l *graph.Leg) string {
	var words []string
	if l.Batch > 0 {
		text := "batch of " + ui.Count(l.Batch)
		if l.Work == graph.WorkJob {
			text = ui.Count(l.Batch) + " causes"
			if l.BatchHere < l.Batch {
				text = ui.Count(l.BatchHere) + " of " + text
			}
		} else if l.BatchHere > 0 {
			text = ui.Count(l.BatchHere) + " of a " + text
		}
		words = append(words, text)
	}
	if l.Links != nil {
		words = append(words, linkWords(l.Links))
	}
	return strings.Join(words, " · ")
}

// linkWords say what became of links beyond what an SDK keeps.
func linkWords(c *graph.LinkCount) string {
	text := ui.Count(c.Recorded) + " of " + ui.Count(c.Recorded+c.Dropped) + " links"
	switch {
	case c.Inferred >= c.Dropped:
		text += ", ids recovered the rest as inferred"
	case c.Inferred > 0:
		text += ", ids recovered " + ui.Count(c.Inferred) + " as inferred"
	default:
		text += ", the rest is lost"
	}
	return text
}

// edgeKind is how a hop is known, in short; nothing for a plain call.
func edgeKind(l *graph.Leg) string {
	if l.By == graph.KindParent && l.Rule == graph.RuleParentID && l.Work == graph.WorkRequest {
		return ""
	}
	return strings.TrimPrefix(howKnown(l.By, l.Rule, l.Inferred), "recorded ")
}

func (m *threadMap) groupEdgeWords(g *threadGroup, l *graph.Leg) string {
	var words []string
	if g.waitNano > 0 {
		words = append(words, "waited up to "+ui.Duration(g.waitNano))
	}
	words = append(words, m.groupKinds(g)...)
	if b := m.batchWords(l); b != "" {
		words = append(words, b)
	}
	if g.skewNano > 0 && !m.st.raw {
		words = append(words, "clock up to "+ui.Duration(g.skewNano)+" behind, drawn later")
	}
	if g.expired > 0 {
		words = append(words, ui.Count(g.expired)+" expired")
	}
	return strings.Join(words, " · ")
}

// groupKinds says how the legs of a group are known, and if that is not the same
// for all, how many are inferred.
func (m *threadMap) groupKinds(g *threadGroup) []string {
	counts := map[string]int{}
	var kinds []string
	for _, i := range g.legs {
		if k := edgeKind(&m.t.Legs[i]); k != "" {
			if counts[k]++; counts[k] == 1 {
				kinds = append(kinds, k)
			}
		}
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return counts[b] - counts[a] })
	if len(kinds) < 2 || g.inferred == 0 {
		return kinds
	}
	recorded := slices.DeleteFunc(kinds, func(k string) bool { return strings.HasPrefix(k, "inferred") })
	return append(recorded, ui.Count(g.inferred)+" inferred")
}

// loopTo names what a leg leads back to, "" if it does not.
func (m *threadMap) loopTo(leg int) string {
	for _, l := range m.t.Loops {
		if l.From == leg {
			return legName(&m.t.Legs[l.To])
		}
	}
	return ""
}

// busy is when any leg of a group ran, as stretches of its bar.
func (m *threadMap) busy(g *threadGroup) []views.Stretch {
	type stretch struct{ a, b float64 }
	var all []stretch
	for _, i := range g.legs {
		l := &m.t.Legs[i]
		begin := m.begin(l)
		if m.outside(begin, begin+l.DurationNano) == 0 {
			a := m.scale.x(begin)
			all = append(all, stretch{a, max(m.scale.x(begin+l.DurationNano), a+0.2)})
		}
	}
	for _, i := range g.folds {
		f := &m.t.Folds[i]
		if m.outside(f.StartUnixNano, f.EndUnixNano) == 0 {
			all = append(all, stretch{m.scale.x(f.StartUnixNano), m.scale.x(f.EndUnixNano)})
		}
	}
	slices.SortFunc(all, func(a, b stretch) int {
		if a.a < b.a {
			return -1
		}
		return boolInt(a.a > b.a)
	})
	var parts []stretch
	for _, s := range all {
		if n := len(parts); n > 0 && s.a <= parts[n-1].b+(mapRight-mapLeft)/maxBusyParts/4 {
			parts[n-1].b = max(parts[n-1].b, s.b)
		} else {
			parts = append(parts, s)
		}
	}
	list := make([]views.Stretch, 0, len(parts))
	for _, p := range parts {
		list = append(list, views.Stretch{X: xPercent(p.a), Width: xPercent(p.b - p.a)})
	}
	return list
}
