package handlers

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/collab"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// waterfallPageRows is how many rows one page of HTML holds; the page script
	// draws the others, and without it links lead to them.
	waterfallPageRows = 300
	// waterfallInlineRows is the largest waterfall whose data stands in the page
	// itself (about 100 bytes a row); a larger one is fetched after it is shown.
	waterfallInlineRows = 2000
	// maxRowEvents bounds the marks on one bar: more would be one smear.
	maxRowEvents = 20
)

// traceView builds the view models of one trace's page.
type traceView struct {
	tree     *traceTree
	state    traceState
	selected int            // row, -1: none
	path     map[int]bool   // rows from the top to the selected one
	marks    map[int]string // by row: "◀ POST /quotes", "▶ 3 consumers"
	matches  []int          // rows that the search found
	critical map[int][]stretch
	causes   []trace.Ref // of the selected span, in other traces
	// notes are the annotations on the trace that may be seen, by span.
	notes map[string][]collab.Annotation
}

// remarks is how many annotations hang on a row's span.
func (v *traceView) remarks(r *treeRow) int {
	if r.span == nil || len(v.notes) == 0 {
		return 0
	}
	return len(v.notes[r.span.SpanID.String()])
}

func newTraceView(t *traceTree, st traceState, marks map[trace.SpanID]string) *traceView {
	t.usePart(st.part)
	v := &traceView{tree: t, state: st, selected: -1, path: map[int]bool{}, marks: map[int]string{}}
	if st.span != "" {
		v.selected = t.rowOf(st.span)
	}
	if v.selected >= 0 {
		v.state = v.state.opened(t, v.selected)
		for _, i := range t.path(v.selected) {
			v.path[i] = true
		}
	}
	for i := range t.rows {
		if r := &t.rows[i]; r.span != nil && r.half == 0 && marks[r.span.SpanID] != "" {
			v.marks[i] = marks[r.span.SpanID]
		}
	}
	v.matches = searchRows(t, st.search)
	if st.critical {
		v.critical = t.criticalPath()
	}
	return v
}

// searchRows returns the rows in whose name, service, ids or attributes the
// text occurs, upper and lower case alike. Several words must all occur.
func searchRows(t *traceTree, text string) []int {
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 {
		return nil
	}
	found := []int{}
	for i := range t.rows {
		if rowMatches(&t.rows[i], words) {
			found = append(found, i)
		}
	}
	return found
}

func rowMatches(r *treeRow, words []string) bool {
	if r.span == nil {
		return len(words) == 1 && strings.Contains(r.missing.String(), words[0])
	}
	s := r.span
	for _, w := range words {
		if !spanContains(s, w) {
			return false
		}
	}
	return true
}

func spanContains(s *trace.Span, word string) bool {
	if containsFold(s.Name, word) || containsFold(s.Service, word) || containsFold(s.StatusMessage, word) ||
		strings.Contains(s.SpanID.String(), word) || word == s.Kind.String() || word == "error" && s.Error {
		return true
	}
	for i := range s.Attributes {
		if a := &s.Attributes[i]; containsFold(a.Key, word) || containsFold(a.Value.Text(), word) {
			return true
		}
	}
	for i := range s.Events {
		e := &s.Events[i]
		if containsFold(e.Name, word) {
			return true
		}
		for j := range e.Attributes {
			if containsFold(e.Attributes[j].Value.Text(), word) {
				return true
			}
		}
	}
	return false
}

// containsFold reports whether s contains word, which is in lower case.
func containsFold(s, word string) bool {
	if len(s) < len(word) {
		return false
	}
	return strings.Contains(strings.ToLower(s), word)
}

// window returns what the time column shows: from and to, as offsets.
func (v *traceView) window() (from, to int64) {
	if v.state.to > 0 && v.state.from < v.tree.extentNano {
		return v.state.from, min(v.state.to, v.tree.extentNano)
	}
	return 0, v.tree.extentNano
}

// waterfall builds the waterfall with the rows of one page.
func (v *traceView) waterfall() views.Waterfall {
	t := v.tree
	visible := v.state.visibleRows(t)
	first := 0
	switch at, _ := slices.BinarySearch(visible, v.selected); {
	case v.state.row > 0:
		first = min(v.state.row-1, max(len(visible)-1, 0))
	case v.selected >= 0 && at >= waterfallPageRows*2/3:
		first = at - waterfallPageRows/3
	}
	last := min(first+waterfallPageRows, len(visible))
	from, to := v.window()
	w := views.Waterfall{
		TraceID: v.state.trace, RowsHref: "/t/" + v.state.trace + "/rows", Total: len(visible),
		Ticks: timeTicks(from, to), Minimap: v.minimap(), Blank: views.WaterfallRow{X: "0", Width: "0"},
		Search: v.search(), Levels: v.levels(),
	}
	if v.selected >= 0 {
		w.Selected = t.rows[v.selected].key()
	}
	if len(t.rows) <= waterfallInlineRows {
		data := v.data()
		w.Data = &data
	}
	if from > 0 || to < t.extentNano {
		w.Zoomed, w.ZoomText = true, ui.Duration(from)+" to "+ui.Duration(to)
	}
	other := v.state
	other.critical = !other.critical
	w.CriticalHref, w.Critical = other.href(), v.state.critical
	whole := v.state
	whole.from, whole.to = 0, 0
	w.Unzoom = whole.href()
	matched := make(map[int]bool, len(v.matches))
	for _, i := range v.matches {
		matched[i] = true
	}
	for n := first; n < last; n++ {
		r := v.row(visible[n], from, to)
		r.Index, r.Match = n+1, matched[visible[n]]
		w.Rows = append(w.Rows, r)
	}
	if first > 0 {
		w.Earlier = &views.MoreRows{Count: first, Href: v.pageHref(max(first-waterfallPageRows, 0))}
	}
	if last < len(visible) {
		w.Later = &views.MoreRows{Count: len(visible) - last, Href: v.pageHref(last)}
	}
	return w
}

func (v *traceView) pageHref(first int) string {
	st := v.state
	st.row = first + 1
	return st.href()
}

// row builds one row of the waterfall.
func (v *traceView) row(i int, from, to int64) views.WaterfallRow {
	t := v.tree
	r := &t.rows[i]
	key := r.key()
	here := v.state
	here.span, here.row = key, 0
	w := views.WaterfallRow{
		Key: key, Depth: r.depth, Href: here.href() + "#r-" + key, Below: r.end - i - 1, ErrorsBelow: r.errors,
		Selected: i == v.selected, OnPath: v.path[i], Remarks: v.remarks(r),
	}
	start := r.startNano - t.startNano
	w.X, w.Width = barOf(start, r.endNano-t.startNano, from, to)
	if r.end > i+1 {
		w.Folded = v.state.folded(key, r.depth)
		toggled := v.state.toggled(key, r.depth)
		w.FoldHref = toggled.href() + "#r-" + key
	}
	if r.span == nil {
		w.Missing, w.Name = true, "parent "+r.missing.String()+" never arrived"
		w.Title = w.Name
		return w
	}
	s := r.span
	w.Name, w.Service, w.ServiceClass = rowName(s.Name), shown(s.Service), views.ServiceClass(s.Service)
	w.Duration, w.Error = ui.Duration(s.DurationNano), s.Error
	w.ShowService = r.parent < 0 || t.rows[r.parent].span == nil || t.rows[r.parent].span.Service != s.Service
	w.Title = fmt.Sprintf("%s · %s · starts +%s · %s", clip(s.Name, 500), clip(s.Service, maxRowName), ui.Duration(start), w.Duration)
	for n := range s.Events {
		at := s.Events[n].TimeUnixNano - t.startNano
		if len(w.Events) == maxRowEvents {
			break
		}
		if at >= from && at <= to {
			w.Events = append(w.Events, views.EventMark{X: percent(float64(at-from), to-from), Name: clip(s.Events[n].Name, 80), Error: isErrorEvent(&s.Events[n])})
		}
	}
	for _, c := range v.critical[i] {
		if a, b := max(c.from-t.startNano, from), min(c.to-t.startNano, to); a < b {
			x, width := barOf(a, b, from, to)
			w.Critical = append(w.Critical, views.Stretch{X: x, Width: width})
		}
	}
	switch side, words := t.far(i); {
	case side != 0:
		w.Note, w.NoteX, w.NoteEnd = words, "0", side > 0
		if side > 0 {
			w.NoteX = "100%"
		}
		w.Title = fmt.Sprintf("%s · %s · %s · %s", clip(s.Name, 500), clip(s.Service, maxRowName), strings.Trim(words, "◂▸ "), w.Duration)
	case v.marks[i] != "" && start <= to && r.endNano-t.startNano >= from:
		w.Note, w.NoteHref = v.marks[i], "/thread/"+v.state.trace+"?span="+s.SpanID.String()
		w.NoteX, w.NoteEnd = noteOf(start, r.endNano-t.startNano, from, to)
	}
	return w
}

func isErrorEvent(e *trace.Event) bool {
	return e.Name == "exception" || e.Name == "error" || e.Name == "job failed"
}

// barOf places a bar in the window, cut to a little beyond its edges: huge
// coordinates lose their precision in browsers. waterfall_layout.js does alike.
func barOf(start, end, from, to int64) (x, width string) {
	extent := float64(max(to-from, 1))
	a := min(max(float64(start-from)/extent, -0.01), 1.01)
	b := min(max(float64(end-from)/extent, -0.01), 1.01)
	return percent(a*extent, to-from), percent((b-a)*extent, to-from)
}

// noteOf places the words beside a bar: after it, or before it if that leaves
// no room.
func noteOf(start, end, from, to int64) (x string, ends bool) {
	extent := float64(max(to-from, 1))
	after := float64(end-from) / extent
	if after <= 0.82 {
		return percent(max(after, 0)*extent, to-from), false
	}
	before := float64(start-from) / extent
	if before >= 0.18 {
		return percent(min(before, 1)*extent, to-from), true
	}
	return "100%", true
}

// percent writes part of whole as an SVG percentage.
func percent(part float64, whole int64) string {
	p := part / float64(max(whole, 1)) * 100
	s := strconv.FormatFloat(p, 'f', 3, 64)
	s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		s = "0"
	}
	return s + "%"
}

// timeTicks are round marks in the window, at most six. waterfall_layout.js
// makes the same.
func timeTicks(from, to int64) []views.TimeTick {
	extent := max(to-from, 1)
	step := tickStep(extent)
	var ticks []views.TimeTick
	first := (from + step - 1) / step * step
	for at := first; at <= to; at += step {
		text := ui.Duration(at)
		if at == 0 {
			text = "0"
		}
		ticks = append(ticks, views.TimeTick{X: percent(float64(at-from), extent), Text: text, Last: float64(at-from)/float64(extent) > 0.92})
	}
	return ticks
}

// tickStep is the round step that gives at most six marks: 1, 2, 5, 10, 20, 50 …
func tickStep(extent int64) int64 {
	step := int64(1)
	for grow := 0; extent/step > 5; grow++ {
		if grow%3 == 1 {
			step = step / 2 * 5
		} else {
			step *= 2
		}
	}
	return step
}

// levels are the links that fold the waterfall to some levels.
func (v *traceView) levels() []views.LevelLink {
	deepest := 0
	for i := range v.tree.rows {
		deepest = max(deepest, v.tree.rows[i].depth+1)
	}
	list := []views.LevelLink{}
	for n := 1; n < min(deepest, 5); n++ {
		list = append(list, v.level(n, strconv.Itoa(n)))
	}
	if deepest == 1 {
		return nil
	}
	return append(list, v.level(0, "all"))
}

func (v *traceView) level(n int, text string) views.LevelLink {
	st := v.state
	st.levels, st.fold, st.open, st.row = n, nil, nil, 0
	return views.LevelLink{Text: text, Levels: n, Href: st.href(), Current: v.state.levels == n && len(v.state.fold) == 0 && len(v.state.open) == 0}
}

// search is the form that searches within the trace, and the way to the match
// before and after the selected row.
func (v *traceView) search() views.TraceSearch {
	st := v.state
	st.search, st.row = "", 0
	s := views.TraceSearch{Action: formAction(st), Hidden: formParams(st), Text: v.state.search, Matches: len(v.matches)}
	link := func(row int) string {
		to := v.state
		to.span, to.row = v.tree.rows[row].key(), 0
		return to.href() + "#r-" + to.span
	}
	at, found := slices.BinarySearch(v.matches, v.selected)
	if at > 0 {
		s.Prev = link(v.matches[at-1])
	}
	if found {
		at++
	}
	if at < len(v.matches) {
		s.Next = link(v.matches[at])
	}
	return s
}

// formAction and formParams split the state's address for a form.
func formAction(st traceState) string {
	path, _, _ := strings.Cut(st.href(), "?")
	return path
}

func formParams(st traceState) []views.Param {
	var list []views.Param
	add := func(name, value string) {
		if value != "" {
			list = append(list, views.Param{Name: name, Value: value})
		}
	}
	_, half, _ := strings.Cut(st.span, ".")
	add("half", half)
	if st.levels > 0 {
		add("levels", strconv.Itoa(st.levels))
	}
	add("fold", strings.Join(st.fold, ","))
	add("open", strings.Join(st.open, ","))
	if st.to > 0 {
		add("zoom", strconv.FormatInt(st.from, 10)+"-"+strconv.FormatInt(st.to, 10))
	}
	if st.part > 0 {
		add("part", strconv.Itoa(st.part))
	}
	if st.critical {
		add("critical", "1")
	}
	add("q", st.search)
	add("fields", st.fields)
	return list
}

// data lists every row for the page script.
func (v *traceView) data() views.WaterfallData {
	t := v.tree
	n := len(t.rows)
	d := views.WaterfallData{
		TraceID: v.state.trace, Extent: t.extentNano, Services: make([]string, len(t.services)), Names: []string{},
		Key: make([]string, n), Depth: make([]int, n), Name: make([]int, n), Service: make([]int, n),
		Start: make([]int64, n), Length: make([]int64, n), Flags: make([]int, n),
		Events: map[int][]views.RowMark{}, Notes: map[int]string{}, Far: map[int]string{}, Critical: map[int][]int64{}, Remarks: map[int]int{}, Matches: v.matches,
	}
	if d.Matches == nil {
		d.Matches = []int{}
	}
	names, services := map[string]int{}, map[string]int{}
	for i, s := range t.services {
		services[s], d.Services[i] = i, shown(s)
	}
	for i := range t.rows {
		r := &t.rows[i]
		name, service := "parent "+r.missing.String()+" never arrived", -1
		if n := v.remarks(r); n > 0 {
			d.Remarks[i] = n
		}
		if s := r.span; s != nil {
			name, service = rowName(s.Name), services[s.Service]
			if s.Error {
				d.Flags[i] |= views.RowError
			}
			for e := range s.Events {
				if e == maxRowEvents {
					break
				}
				d.Events[i] = append(d.Events[i], views.RowMark{At: s.Events[e].TimeUnixNano - t.startNano, Name: clip(s.Events[e].Name, 80), Error: isErrorEvent(&s.Events[e])})
			}
		} else {
			d.Flags[i] |= views.RowMissing
		}
		at, ok := names[name]
		if !ok {
			at = len(d.Names)
			names[name] = at
			d.Names = append(d.Names, name)
		}
		d.Key[i], d.Depth[i], d.Name[i], d.Service[i] = r.key(), r.depth, at, service
		d.Start[i], d.Length[i] = r.startNano-t.startNano, r.endNano-r.startNano
	}
	for i, mark := range v.marks {
		d.Notes[i] = mark
	}
	for i := range t.rows {
		if side, words := t.far(i); side != 0 {
			d.Far[i] = words
		}
	}
	for i, list := range v.critical {
		for _, c := range list {
			d.Critical[i] = append(d.Critical[i], c.from-t.startNano, c.to-t.startNano)
		}
	}
	return d
}

// notices are the sentences about what is not as one would expect.
func (t *traceTree) notices(truncated bool) []string {
	var list []string
	if truncated {
		list = append(list, fmt.Sprintf("Only the first %s spans of this trace are shown.", ui.Count(t.spans)))
	}
	switch n := len(t.missing); {
	case n == 1:
		list = append(list, "One parent never arrived. What hangs under it is shown below its row.")
	case n > 1:
		list = append(list, ui.Count(n)+" parents never arrived. What hangs under each is shown below its row.")
	}
	if words := t.timePartsNotice(); words != "" {
		list = append(list, words)
	}
	if t.roots > 1 {
		list = append(list, fmt.Sprintf("This trace has %s roots: they share the trace id, but none of them caused the others.", ui.Count(t.roots)))
	}
	circles := 0
	for i := range t.rows {
		if t.rows[i].circle {
			circles++
		}
	}
	if circles > 0 {
		list = append(list, "Some spans name each other as parent. The circle is cut at its earliest span.")
	}
	return list
}

// selfNano is the time of a span that none of its children covers.
func (t *traceTree) selfNano(i int) int64 {
	r := &t.rows[i]
	type stretch struct{ a, b int64 }
	var covered []stretch
	for j := i + 1; j < r.end; j = t.rows[j].end {
		c := &t.rows[j]
		if a, b := max(c.startNano, r.startNano), min(c.endNano, r.endNano); a < b {
			covered = append(covered, stretch{a, b})
		}
	}
	slices.SortFunc(covered, func(a, b stretch) int { return cmp.Compare(a.a, b.a) })
	self, at := r.endNano-r.startNano, r.startNano
	for _, c := range covered {
		if c.b <= at {
			continue
		}
		self -= c.b - max(c.a, at)
		at = c.b
	}
	return self
}

func unixTime(nano int64) time.Time { return time.Unix(0, nano).UTC() }
