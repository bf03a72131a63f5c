package handlers

import (
	"cmp"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// threadTableRows is how many rows one page of the table has.
const threadTableRows = 500

// tableRow is a leg of the thread, or those of a fold that are no legs: all of them,
// or one.
type tableRow struct {
	leg    int // -1: of a fold
	fold   int
	member *graph.FoldTrace // nil: all of them
}

// foldRest are the traces of a fold that are not among the legs, which are examples
// of it.
type foldRest struct {
	name                          string
	group                         string // where it is unfolded
	listed                        map[trace.ID]bool
	traces, failed, spans, errors int
}

// rests works out what of the folds is not among the legs.
func (g *grouping) rests() []foldRest {
	list := make([]foldRest, len(g.t.Folds))
	for i := range g.t.Folds {
		f, grp := &g.t.Folds[i], &g.groups[g.ofFold[i]]
		list[i] = foldRest{name: foldName(f), group: grp.id, listed: map[trace.ID]bool{}, traces: f.Traces, failed: f.Failed, spans: f.Spans, errors: f.Errors}
		if len(grp.legs) > 0 {
			list[i].name = grp.name // jobs are called by their class, whatever their spans say
		}
	}
	for i := range g.t.Legs {
		l := &g.t.Legs[i]
		if l.Fold < 0 || list[l.Fold].listed[l.TraceID] {
			continue
		}
		r := &list[l.Fold]
		r.listed[l.TraceID] = true
		r.traces--
		r.spans -= l.Spans
		r.errors -= l.Errors
		if l.Errors > 0 {
			r.failed--
		}
	}
	for i := range list {
		r := &list[i]
		r.traces, r.failed, r.spans, r.errors = max(r.traces, 0), max(r.failed, 0), max(r.spans, 0), max(r.errors, 0)
	}
	return list
}

// threadTable fills the table with one page of legs, each after its cause unless
// it is sorted otherwise.
func threadTable(g *grouping, st threadState, selected int) *views.ThreadTable {
	t := g.t
	v := &views.ThreadTable{Action: "/thread/" + st.trace, Service: st.service, Failed: st.failed}
	services := map[string]bool{}
	var rows []tableRow
	folds := map[int][]int{} // by the leg after which they stand
	for i := range t.Folds {
		f := &t.Folds[i]
		for f.Cause < 0 && f.Parent >= 0 {
			f = &t.Folds[f.Parent]
		}
		folds[f.Cause] = append(folds[f.Cause], i)
	}
	add := func(r tableRow, service string, runs, failed int) {
		services[service] = true
		v.Of += runs
		if st.failed {
			runs = failed
		}
		if runs > 0 && (st.service == "" || st.service == service) {
			rows = append(rows, r)
			v.All += runs
		}
	}
	rests := g.rests()
	for i := range t.Legs {
		add(tableRow{leg: i, fold: -1}, t.Legs[i].Service, 1, min(t.Legs[i].Errors, 1))
		for _, f := range folds[i] {
			rest := &rests[f]
			if st.opened(rest.group) == nil {
				add(tableRow{leg: -1, fold: f}, t.Folds[f].Service, rest.traces, rest.failed)
				continue
			}
			members := t.Folds[f].List(graph.ByStart, 0, t.Folds[f].Traces)
			for k := range members {
				if m := &members[k]; !rest.listed[m.TraceID] {
					add(tableRow{leg: -1, fold: f, member: m}, t.Folds[f].Service, 1, min(m.Errors, 1))
				}
			}
		}
	}
	for s := range services {
		v.Services = append(v.Services, s)
	}
	slices.Sort(v.Services)
	g.sortRows(rows, rests, st.sort)
	v.Messages = strings.HasSuffix(st.sort, "messages") || slices.ContainsFunc(t.Legs, func(l graph.Leg) bool { return l.Messages > 0 })
	v.Columns = tableColumns(st, v.Messages)
	filtered := st
	filtered.service, filtered.failed, filtered.row = "", false, 0
	if filtered.query() != st.query() {
		v.ClearHref = filtered.href()
	}
	v.Hidden = hiddenParams(filtered.query())

	v.Matching = len(rows)
	first := min(max(st.row-1, 0), max(len(rows)-1, 0))
	if at := slices.Index(rows, tableRow{leg: selected, fold: -1}); st.row == 0 && at >= threadTableRows {
		first = at - threadTableRows/2
	}
	last := min(first+threadTableRows, len(rows))
	page := func(row int) string { return st.with(func(st *threadState) { st.row = row + 1 }) }
	if first > 0 {
		v.Earlier = &views.MoreRows{Count: first, Href: page(max(first-threadTableRows, 0))}
	}
	if last < len(rows) {
		v.Later = &views.MoreRows{Count: len(rows) - last, Href: page(last)}
	}
	start := threadStart(t)
	for _, r := range rows[first:last] {
		if r.leg < 0 {
			v.Rows = append(v.Rows, foldRow(&t.Folds[r.fold], &rests[r.fold], r.member, st, start))
			continue
		}
		v.Rows = append(v.Rows, g.legRow(r.leg, st, start, r.leg == selected))
	}
	return v
}

func (g *grouping) legRow(i int, st threadState, start int64, selected bool) views.ThreadRow {
	l := &g.t.Legs[i]
	r := views.ThreadRow{
		Depth: l.Depth, Name: legName(l), Service: shown(l.Service), Work: string(l.Work), Href: st.selecting(l.Ref), TraceHref: spanHref(l.Ref), Runs: "1",
		Offset: plusDuration(g.begin(l) - start), Duration: ui.Duration(l.DurationNano),
		Spans: l.Spans, Errors: l.Errors, Inferred: l.Inferred, Selected: selected,
	}
	if l.Work != graph.WorkJob && !strings.Contains(l.Name, l.Topic) {
		r.Topic = shown(l.Topic)
	}
	if l.WaitNano > 0 {
		r.Wait = ui.Duration(l.WaitNano)
	}
	if l.Messages > 0 {
		r.Messages = ui.Count(l.Messages)
	}
	var notes []string
	if l.Cause >= 0 {
		notes = append(notes, howKnown(l.By, l.Rule, l.Inferred))
	}
	if l.Attempts > 1 {
		notes = append(notes, "attempt "+ui.Count(l.Attempt)+" of "+ui.Count(l.Attempts))
	}
	if l.SkewNano > 0 {
		notes = append(notes, "clock "+ui.Duration(l.SkewNano)+" behind")
	}
	if l.Expired {
		notes = append(notes, "spans expired")
	}
	r.How = strings.Join(notes, " · ")
	return r
}

// foldRow is the row of what is left of a fold, or of one member of it.
func foldRow(f *graph.Fold, rest *foldRest, member *graph.FoldTrace, st threadState, start int64) views.ThreadRow {
	r := views.ThreadRow{Depth: f.Depth, Name: rest.name, Service: shown(f.Service), Work: string(f.Work), OpenHref: st.toggled(rest.group).with(func(st *threadState) { st.row = 0 })}
	if m := member; m != nil {
		ref := trace.Ref{TraceID: m.TraceID}
		r.Href, r.TraceHref, r.Runs = st.selecting(ref), spanHref(ref), "1"
		r.Offset, r.Duration, r.Spans, r.Errors = plusDuration(m.StartUnixNano-start), ui.Duration(m.DurationNano), m.Spans, m.Errors
		r.How, r.OpenText = "from its summary", "fold"
		if m.WaitNano > 0 {
			r.Wait = ui.Duration(m.WaitNano)
		}
		return r
	}
	ref := trace.Ref{TraceID: f.Slowest}
	r.Href, r.TraceHref, r.Runs = st.selecting(ref), spanHref(ref), "×"+ui.Count(rest.traces)
	r.Offset, r.Duration, r.Spans, r.Errors = plusDuration(f.StartUnixNano-start), "median "+ui.Duration(f.MedianNano)+", max "+ui.Duration(f.MaxNano), rest.spans, rest.errors
	r.How, r.OpenText = "from summaries", "list them"
	if st.failed {
		r.Runs, r.How = "×"+ui.Count(rest.failed), "those of "+ui.Count(rest.traces)+" that failed, from summaries"
	}
	if f.MaxWaitNano > 0 {
		r.Wait = "up to " + ui.Duration(f.MaxWaitNano)
	}
	return r
}

// tableColumns are the heads of the table, each with the address that sorts by
// it: up, down, and back to the order of causes. That of messages stands only where
// any were handled.
func tableColumns(st threadState, messages bool) []views.ThreadColumn {
	titles := map[string]string{"name": "What", "service": "Service", "kind": "Kind", "start": "Start", "waited": "Waited", "took": "Took", "runs": "Runs", "messages": "Messages", "spans": "Spans", "errors": "Errors"}
	list := make([]views.ThreadColumn, 0, len(threadSorts))
	for i, key := range threadSorts {
		if key == "messages" && !messages {
			continue
		}
		c := views.ThreadColumn{Title: titles[key], Number: i > 2}
		next := key
		if c.Number {
			next = "-" + key
		}
		switch st.sort {
		case key:
			c.Sorted, next = "ascending", "-"+key
			if c.Number {
				next = ""
			}
		case "-" + key:
			c.Sorted, next = "descending", ""
			if c.Number {
				next = key
			}
		}
		c.Href = st.with(func(st *threadState) { st.sort, st.row = next, 0 })
		list = append(list, c)
	}
	return list
}

// sortRows puts rows in the order of a column; rows that are equal in it stay
// after their causes.
func (g *grouping) sortRows(rows []tableRow, rests []foldRest, by string) {
	key := strings.TrimPrefix(by, "-")
	if key == "" {
		return
	}
	type keyed struct {
		row    tableRow
		text   string
		number int64
	}
	list := make([]keyed, len(rows))
	for i, r := range rows {
		k := &list[i]
		k.row = r
		switch m := r.member; {
		case m != nil:
			f := &g.t.Folds[r.fold]
			k.text, k.number = column(key, rests[r.fold].name, f.Service, f.Work, m.StartUnixNano, m.WaitNano, m.DurationNano, 1, 0, m.Spans, m.Errors)
		case r.leg < 0:
			f, rest := &g.t.Folds[r.fold], &rests[r.fold]
			k.text, k.number = column(key, rest.name, f.Service, f.Work, f.StartUnixNano, f.MaxWaitNano, f.MaxNano, rest.traces, 0, rest.spans, rest.errors)
		default:
			l := &g.t.Legs[r.leg]
			k.text, k.number = column(key, legName(l), l.Service, l.Work, g.begin(l), l.WaitNano, l.DurationNano, 1, l.Messages, l.Spans, l.Errors)
		}
	}
	sign := 1
	if strings.HasPrefix(by, "-") {
		sign = -1
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		return sign * cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(a.number, b.number))
	})
	for i := range list {
		rows[i] = list[i].row
	}
}

// column is what a row is sorted by: a text or a number.
func column(key, name, service string, work graph.Work, start, waited, took int64, runs, messages, spans, errors int) (string, int64) {
	switch key {
	case "name":
		return name, 0
	case "service":
		return service, 0
	case "kind":
		return string(work), 0
	case "start":
		return "", start
	case "waited":
		return "", waited
	case "took":
		return "", took
	case "runs":
		return "", int64(runs)
	case "messages":
		return "", int64(messages)
	case "spans":
		return "", int64(spans)
	}
	return "", int64(errors)
}

// hiddenParams are the parameters that a form has to carry along.
func hiddenParams(query string) []views.Param {
	var list []views.Param
	for _, p := range strings.Split(query, "&") {
		if name, value, ok := strings.Cut(p, "="); ok {
			list = append(list, views.Param{Name: name, Value: value})
		}
	}
	return list
}
