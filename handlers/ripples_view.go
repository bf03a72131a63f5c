package handlers

import (
	"fmt"
	"strconv"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/views"
	"redthread/views/ui"
)

// maxUnknownWorks is how many sorts of work a line without an origin names.
const maxUnknownWorks = 4

// sortLabels are the orders of the page and the single threads shown with them.
var sortLabels = []struct{ sort, label, singles string }{
	{sortBiggest, "Biggest", "Biggest threads"},
	{sortGrowing, "Fastest growing", "Biggest threads"},
	{sortLongest, "Longest", "Longest threads"},
	{sortFailing, "Most failing", "Most failing threads"},
}

// ripplesView says a report as the page shows it.
func ripplesView(r *graph.RippleReport, st ripplesState) views.Ripples {
	m := views.Ripples{Window: windowLabel(st.window), Find: st.find, JSONURL: st.href("/api/v1/ripples")}
	if comparable(r, st) {
		m.Before = beforeLabel(st.window)
	}
	if r.Cut {
		m.Notices = append(m.Notices, "This is not all: there are more traces, or more batches of messages, than are counted at once. Choose a shorter time.")
	}
	if st.open != nil && r.Open == nil && r.Traces > 0 {
		m.Notices = append(m.Notices, "Nothing began at "+rowName(st.open.Name)+" of "+rowName(st.open.Service)+" in this time or the one before.")
	}
	list := sortRipples(r.Endpoints, st)
	threads, effects := 0, 0
	for i := range r.Endpoints {
		threads += r.Endpoints[i].Threads
		effects += r.Endpoints[i].Effects()
	}
	m.Totals = fmt.Sprintf("%s set off %s, in %s.", countOf(threads, "thread", "threads"), countOf(effects, "message, job or request", "messages, jobs and requests"),
		countOf(r.Traces, "trace", "traces"))
	singles := r.Largest
	for _, s := range sortLabels {
		to := st
		to.sort, to.line = s.sort, 0
		m.Sorts = append(m.Sorts, views.ExploreTab{Label: s.label, URL: to.href("/ripples"), Current: s.sort == st.sort})
		if s.sort == st.sort {
			m.SinglesTitle = s.singles
		}
	}
	switch st.sort {
	case sortLongest:
		singles = r.Longest
	case sortFailing:
		singles = r.Failing
	}
	if st.find == "" {
		m.Singles = threadRows(singles, st)
	}
	m.Rows, m.All = endpointRows(list, st), len(list)
	m.First, m.Last = min(st.line+1, len(list)), min(st.line+len(m.Rows), len(list))
	if st.line > 0 {
		to := st
		to.line = max(0, st.line-rippleLines)
		m.PrevURL = to.href("/ripples")
	}
	if m.Last < m.All {
		to := st
		to.line = m.Last
		m.NextURL = to.href("/ripples")
	}
	all := st
	all.find, all.line = "", 0
	m.AllURL = all.href("/ripples")
	if st.environment != "" {
		anywhere := all
		anywhere.environment, anywhere.open = "", nil
		m.AnywhereURL = anywhere.href("/ripples")
	}
	m.Keep = paramsOf(all.values())
	for i := range r.Unknown {
		if r.Unknown[i].Traces > 0 {
			m.Unknown = append(m.Unknown, unknownRow(&r.Unknown[i]))
		}
	}
	if m.Before == "" && st.sort == sortGrowing && r.Traces > 0 {
		m.Notices = append(m.Notices, "There is nothing to compare with: what is kept does not reach back through the whole time before.")
	}
	return m
}

// comparable reports whether the time before can be compared with: it is not if
// what is kept begins in the midst of it.
func comparable(r *graph.RippleReport, st ripplesState) bool {
	q := st.query()
	return r.BeforeFirst > 0 && r.BeforeFirst-q.Before < (q.From-q.Before)/10
}

// beforeLabel names the time of the same length before a window.
func beforeLabel(w timeWindow) string {
	if w.Range != "" {
		return "the " + views.RangeLabel(w.Range) + " before"
	}
	return "the same time before"
}

func rippleHref(t *graph.RippleThread) string {
	if t.TraceID.IsZero() {
		return ""
	}
	return "/thread/" + t.TraceID.String() + "?span=" + t.SpanID.String()
}

func rippleWords(r *graph.Ripple) string {
	words := ""
	add := func(n int, one, many string) {
		if n == 0 {
			return
		}
		if words != "" {
			words += " · "
		}
		words += countOf(n, one, many)
	}
	add(r.Jobs, "job", "jobs")
	add(r.Messages, "message", "messages")
	add(r.Requests, "request", "requests")
	if words == "" {
		return "nothing"
	}
	return words
}

// percentOf is a share as the width of a bar, "" for none.
func percentOf(n, most int) string {
	if n <= 0 || most <= 0 {
		return ""
	}
	return strconv.FormatFloat(max(float64(n)*100/float64(most), 1), 'f', 1, 64) + "%"
}

// threadRows are single threads as lines: those an order is about.
func threadRows(list []graph.RippleThread, st ripplesState) []views.RippleThread {
	most := 0
	for i := range list {
		most = max(most, list[i].Effects())
	}
	var out []views.RippleThread
	for i := range list {
		t := &list[i]
		if t.Effects() == 0 && (st.sort != sortFailing || t.Errors == 0) {
			continue
		}
		row := views.RippleThread{Service: rowName(t.Service), Class: views.ServiceClass(t.Service), Name: rowName(t.Name), URL: rippleHref(t),
			Start: time.Unix(0, t.StartUnixNano).UTC(), Earlier: t.StartUnixNano < st.window.From.UnixNano(), Effects: ui.Count(t.Effects()),
			Bar: percentOf(t.Effects(), most), Words: rippleWords(&t.Ripple), Last: ui.Duration(t.LastEffectNano)}
		if t.Errors > 0 {
			row.Errors = ui.Count(t.Errors)
		}
		if st.environment == "" {
			row.Environment = t.Environment
		}
		out = append(out, row)
	}
	return out
}

func floats(list []int) []float64 {
	out := make([]float64, len(list))
	for i, n := range list {
		out[i] = float64(n)
	}
	return out
}

// endpointRows are the lines of one page of endpoints.
func endpointRows(list []*graph.RippleEndpoint, st ripplesState) []views.RippleRow {
	list = list[min(st.line, len(list)):]
	list = list[:min(rippleLines, len(list))]
	out := make([]views.RippleRow, 0, len(list))
	for _, e := range list {
		to := st
		to.open = &e.Endpoint
		r := views.RippleRow{Service: rowName(e.Service), Class: views.ServiceClass(e.Service), Name: rowName(e.Name), URL: to.href("/ripples") + "#open",
			Open: st.open != nil && *st.open == e.Endpoint, Threads: ui.Count(e.Threads), Effects: ui.Count(e.Effects()),
			Over: views.Spark{Values: floats(e.Over), Label: "what " + e.Name + " set off over time"}, Jobs: ui.Count(e.Jobs), Messages: ui.Count(e.Messages),
			Requests: ui.Count(e.Requests), Busy: ui.Duration(e.BusyNano), P50: missingText, P95: missingText, Max: missingText, Largest: missingText}
		if st.environment == "" {
			r.Environment = e.Environment
		}
		if e.Spreading < e.Threads && e.Spreading > 0 {
			r.Spreading = ui.Count(e.Spreading) + " with effects"
		}
		r.Change, r.ChangeTitle = changeOf(e.Effects(), e.Before.Effects())
		if e.Errors > 0 {
			r.HasErrors, r.Errors = true, ui.Count(e.Errors)
		}
		if e.Failed > 0 { // else all errors are in work of several threads
			r.FailedShare, r.FailingURL = shareOf(float64(e.Failed), float64(e.Threads)), rippleHref(&e.Failing)
		}
		if e.Spreading > 0 {
			r.P50, r.P95, r.Max = ui.Duration(e.LastP50Nano), ui.Duration(e.LastP95Nano), ui.Duration(e.Longest.LastEffectNano)
			r.LongestURL, r.Largest, r.LargestURL = rippleHref(&e.Longest), ui.Count(e.Largest.Effects()), rippleHref(&e.Largest)
		}
		out = append(out, r)
	}
	return out
}

// changeOf says how a count changed, and from what.
func changeOf(now, then int) (text, title string) {
	title = ui.Count(then) + " before, " + ui.Count(now) + " now"
	switch {
	case now == then:
		return "±0", title
	case then == 0:
		return "new", title
	case now == 0:
		return "none left", title
	}
	return changeText(float64(now), float64(then)), title
}

// changeText is a change in percent, or as a factor where it is large.
func changeText(now, then float64) string {
	switch f := now / then; {
	case then <= 0 || now == then:
		return "±0"
	case f >= 10:
		return "×" + strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 1:
		return "+" + strconv.FormatFloat((f-1)*100, 'f', 0, 64) + " %"
	default:
		return "−" + strconv.FormatFloat((1-f)*100, 'f', 0, 64) + " %"
	}
}

func unknownRow(u *graph.RippleUnknown) views.RippleUnknown {
	row := views.RippleUnknown{Title: "Origin unknown", Words: unknownWords(u.Reason), Advice: whatToDo(u.Reason), Traces: ui.Count(u.Traces),
		Effects: ui.Count(u.Effects()), Jobs: ui.Count(u.Jobs), Messages: ui.Count(u.Messages), Errors: ui.Count(u.Errors), HasErrors: u.Errors > 0,
		Over: views.Spark{Values: floats(u.Over), Label: "these traces over time"}}
	if u.Status == graph.Ambiguous {
		row.Title, row.Words, row.Advice = "Several possible origins", "work on a batch of messages that came from requests of different endpoints", ""
	}
	by := u.By[:min(len(u.By), maxUnknownWorks)]
	row.By, row.More = workRows(by), len(u.By)-len(by)
	return row
}

var workWords = map[graph.Work]string{graph.WorkJob: "job", graph.WorkMessage: "message", graph.WorkRequest: "request", graph.WorkOther: "other"}

func workRows(list []graph.RippleWork) []views.RippleWork {
	most := 0
	for i := range list {
		most = max(most, list[i].Traces)
	}
	out := make([]views.RippleWork, 0, len(list))
	for i := range list {
		w := &list[i]
		out = append(out, views.RippleWork{Service: rowName(w.Service), Class: views.ServiceClass(w.Service), Name: rowName(w.Name), Kind: workWords[w.Work],
			URL: "/t/" + w.Slowest.String(), Traces: ui.Count(w.Traces), Bar: percentOf(w.Traces, most), Errors: ui.Count(w.Errors), HasErrors: w.Errors > 0,
			Busy: ui.Duration(w.BusyNano), Median: ui.Duration(w.MedianNano), P95: ui.Duration(w.P95Nano), Max: ui.Duration(w.MaxNano)})
	}
	return out
}

// rippleOpen says more of one endpoint.
func rippleOpen(d *graph.RippleDetail, deploys []deploy, st ripplesState) *views.RippleOpen {
	closed := st
	closed.open = nil
	o := &views.RippleOpen{Service: rowName(d.Service), Class: views.ServiceClass(d.Service), Name: rowName(d.Name), Environment: d.Environment,
		CloseURL: closed.href("/ripples"), ExploreURL: originQuery(d.Endpoint, st).address(nil)}
	fact := func(name, value, warn string) {
		o.Facts = append(o.Facts, views.ThreadFact{Name: name, Value: value, Warn: warn})
	}
	threads := ui.Count(d.Threads)
	if d.Earlier > 0 {
		threads += ", " + ui.Count(d.Earlier) + " begun earlier"
	}
	fact("Threads", threads, "")
	fact("Set off", rippleWords(&d.Ripple), "")
	failed := ""
	if d.Failed > 0 {
		failed = "in " + countOf(d.Failed, "thread", "threads") + ", " + shareOf(float64(d.Failed), float64(d.Threads))
	}
	fact("Errors", ui.Count(d.Errors), failed)
	fact("Traces", ui.Count(d.RippleEndpoint.Traces), "")
	if d.Several > 0 {
		o.Note = countOf(d.Several, "trace is", "traces are") + " work on batches of messages from several of its threads: counted once in these sums, and in none of the threads below."
	}
	fact("Trace time", ui.Duration(d.BusyNano), "")
	if d.Spreading > 0 {
		fact("Last effect p50, p95, max", ui.Duration(d.LastP50Nano)+", "+ui.Duration(d.LastP95Nano)+", "+ui.Duration(d.Longest.LastEffectNano), "")
	}
	rippleCharts(o, d, st)
	threadsOf := d.LargestN
	o.ThreadsTitle = "Its largest threads"
	switch st.sort {
	case sortLongest:
		threadsOf, o.ThreadsTitle = d.LongestN, "Its longest threads"
	case sortFailing:
		threadsOf, o.ThreadsTitle = d.FailingN, "Its most failing threads"
	}
	o.Threads = threadRows(threadsOf, st)
	o.SetsOff = workRows(d.SetsOff)
	deployRows(o, deploys)
	return o
}

// originQuery asks for the spans of the threads of an endpoint.
func originQuery(e graph.Endpoint, st ripplesState) *exploreState {
	h := home{window: st.window, environment: st.environment}
	asked := h.state([]string{"service.name", "name"}, append(calculations("P95"), query.Calculation{Op: "COUNT_DISTINCT", Column: "trace.trace_id"}),
		query.Filter{Column: "origin.service.name", Op: "=", Value: e.Service},
		query.Filter{Column: "origin.name", Op: "=", Value: e.Name})
	return &asked
}

// rippleCharts draws the threads by when they began.
func rippleCharts(o *views.RippleOpen, d *graph.RippleDetail, st ripplesState) {
	n := len(d.Parts)
	threads, effects, errors, last := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	var most [4]int64
	for i := range d.Parts {
		p := &d.Parts[i]
		threads[i], effects[i], errors[i], last[i] = float64(p.Threads), float64(p.Effects()), float64(p.Errors), float64(p.LastP95Nano)
		most = [4]int64{max(most[0], int64(p.Threads)), max(most[1], int64(p.Effects())), max(most[2], int64(p.Errors)), max(most[3], p.LastP95Nano)}
		if p.Threads > 0 {
			start := st.window.From.Add(time.Duration(float64(st.window.length()) * float64(i) / float64(n))).UTC()
			o.Parts = append(o.Parts, views.RipplePart{Start: start, Threads: ui.Count(p.Threads), Effects: ui.Count(p.Effects()), Median: ui.Count(p.MedianEffects),
				Max: ui.Count(p.MaxEffects), Errors: ui.Count(p.Errors), Last: ui.Duration(p.LastP95Nano)})
		}
	}
	add := func(title, top string, values []float64, failed bool) {
		o.Charts = append(o.Charts, views.RippleChart{Title: title, Top: top, Errors: failed, From: st.window.From.UTC(), To: st.window.To.UTC(),
			Values: views.Spark{Values: values, Label: title + ", by when its thread began; up to " + top}})
	}
	if most[0] == 0 {
		return
	}
	add("Threads", ui.Count(most[0]), threads, false)
	if most[1] > 0 {
		add("Set off", ui.Count(most[1]), effects, false)
		add("Last effect p95", ui.Duration(most[3]), last, false)
	}
	if most[2] > 0 {
		add("Errors", ui.Count(most[2]), errors, true)
	}
}

// deployRows compares each version with the one before it.
func deployRows(o *views.RippleOpen, list []deploy) {
	each := func(d *deploy) float64 { return float64(d.Effects()) / float64(d.Threads) }
	for i := range list {
		d := &list[i]
		row := views.RippleDeploy{Version: d.Version, First: time.Unix(0, d.FirstNano).UTC(), Threads: ui.Count(d.Threads), Each: views.FormatNumber(each(d)),
			P50: ui.Count(d.EffectsP50), P95: ui.Count(d.EffectsP95), Max: ui.Count(d.EffectsMax), LastP50: missingText, LastP95: missingText}
		row.Failed, row.HasErrors = "0 %", d.Failed > 0
		if d.Failed > 0 {
			row.Failed = shareOf(float64(d.Failed), float64(d.Threads))
		}
		if d.Spreading > 0 {
			row.LastP50, row.LastP95 = ui.Duration(d.LastP50), ui.Duration(d.LastP95)
		}
		if len(list) > 1 {
			row.Role = map[int]string{0: "this deploy", 1: "the last"}[i]
		}
		if i+1 < len(list) {
			if then := each(&list[i+1]); then > 0 {
				row.Change = changeText(each(d), then)
				row.ChangeTitle = views.FormatNumber(then) + " before, " + views.FormatNumber(each(d)) + " now"
			}
		}
		o.Deploys = append(o.Deploys, row)
		o.DeployColumn = d.Column
	}
	switch {
	case len(list) == 1:
		o.DeployWords = "One version in this time: choose a longer one to compare."
	case len(list) > 1 && list[0].FirstNano < list[1].LastNano:
		o.DeployWords = "By the version of the origin. They ran side by side for a while."
	default:
		o.DeployWords = "By the version of the origin."
	}
}
