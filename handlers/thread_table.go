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

// tableRow is a leg of the thread, or a fold.
type tableRow struct {
	leg  int // -1: a fold
	fold int
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
	add := func(r tableRow, service string, failed bool) {
		services[service] = true
		if (st.service == "" || st.service == service) && (!st.failed || failed) {
			rows = append(rows, r)
		}
	}
	for i := range t.Legs {
		add(tableRow{leg: i, fold: -1}, t.Legs[i].Service, t.Legs[i].Errors > 0)
		for _, f := range folds[i] {
			add(tableRow{leg: -1, fold: f}, t.Folds[f].Service, t.Folds[f].Failed > 0)
		}
	}
	for s := range services {
		v.Services = append(v.Services, s)
	}
	slices.Sort(v.Services)
	g.sortRows(rows, st.sort)
	v.Columns = tableColumns(st)
	filtered := st
	filtered.service, filtered.failed, filtered.row = "", false, 0
	if filtered.query() != st.query() {
		v.ClearHref = filtered.href()
	}
	v.Hidden = hiddenParams(filtered.query())

	v.All, v.Of = len(rows), len(t.Legs)+len(t.Folds)
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
			v.Rows = append(v.Rows, foldRow(&t.Folds[r.fold], st, start))
			continue
		}
		v.Rows = append(v.Rows, g.legRow(r.leg, st, start, r.leg == selected))
	}
	return v
}

func (g *grouping) legRow(i int, st threadState, start int64, selected bool) views.ThreadRow {
	l := &g.t.Legs[i]
	r := views.ThreadRow{
		Depth: l.Depth, Name: legName(l), Service: l.Service, Work: string(l.Work), Href: st.selecting(l.Ref), TraceHref: spanHref(l.Ref), Runs: "1",
		Offset: plusDuration(g.begin(l) - start), Duration: ui.Duration(l.DurationNano),
		Spans: l.Spans, Errors: l.Errors, Inferred: l.Inferred, Selected: selected,
	}
	if l.Work != graph.WorkJob && !strings.Contains(l.Name, l.Topic) {
		r.Topic = l.Topic
	}
	if l.WaitNano > 0 {
		r.Wait = ui.Duration(l.WaitNano)
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

func foldRow(f *graph.Fold, st threadState, start int64) views.ThreadRow {
	ref := trace.Ref{TraceID: f.Slowest}
	r := views.ThreadRow{Depth: f.Depth, Name: foldName(f), Service: f.Service, Work: string(f.Work), Href: st.selecting(ref), TraceHref: spanHref(ref), Runs: "×" + ui.Count(f.Traces),
		Offset: plusDuration(f.StartUnixNano - start), Duration: "median " + ui.Duration(f.MedianNano) + ", max " + ui.Duration(f.MaxNano), Spans: f.Spans, Errors: f.Errors, How: "folded, from summaries"}
	if f.MaxWaitNano > 0 {
		r.Wait = "up to " + ui.Duration(f.MaxWaitNano)
	}
	return r
}

// tableColumns are the heads of the table, each with the address that sorts by
// it: up, down, and back to the order of causes.
func tableColumns(st threadState) []views.ThreadColumn {
	titles := map[string]string{"name": "What", "service": "Service", "kind": "Kind", "start": "Start", "waited": "Waited", "took": "Took", "runs": "Runs", "spans": "Spans", "errors": "Errors"}
	list := make([]views.ThreadColumn, 0, len(threadSorts))
	for i, key := range threadSorts {
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
func (g *grouping) sortRows(rows []tableRow, by string) {
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
		if r.leg < 0 {
			f := &g.t.Folds[r.fold]
			k.text, k.number = column(key, foldName(f), f.Service, f.Work, f.StartUnixNano, f.MaxWaitNano, f.MaxNano, f.Traces, f.Spans, f.Errors)
		} else {
			l := &g.t.Legs[r.leg]
			k.text, k.number = column(key, legName(l), l.Service, l.Work, g.begin(l), l.WaitNano, l.DurationNano, 1, l.Spans, l.Errors)
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
func column(key, name, service string, work graph.Work, start, waited, took int64, runs, spans, errors int) (string, int64) {
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
