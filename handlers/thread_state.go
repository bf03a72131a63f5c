package handlers

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadState is what the address of a thread page says: all that is on screen.
type threadState struct {
	trace string // the thread is that of this trace,
	span  string // or of this span of it, which is selected too
	sel   string // what is selected instead: TRACE, TRACE.SPAN or "none"
	open  []openGroup
	// Times are drawn as they were sent, and not corrected.
	raw      bool
	critical bool
	from, to int64 // zoom, nanoseconds from the start of the thread; both 0: all

	table   bool
	sort    string // column, with "-" before it for the largest first
	service string
	failed  bool
	row     int

	// unread says of what of the address could not be read what was wanted.
	unread []string
}

// openGroup is a group that is unfolded: its members from one on, in an order.
type openGroup struct {
	id    string
	from  int
	order graph.FoldOrder
}

const noSelection = "none"

// threadSorts are the columns that the table can be sorted by.
var threadSorts = []string{"name", "service", "kind", "start", "waited", "took", "runs", "messages", "spans", "errors"}

// leaveOut notes a value of the address that cannot be read.
func (st *threadState) leaveOut(name, value, want string) {
	value, _ = clipCell(shown(cleanText(value)))
	st.unread = append(st.unread, "The address says "+name+"="+value+", which is left out: want "+want+".")
}

// parseThreadState reads the state. What it cannot read it leaves out and notes: an
// old or mangled link still opens the thread.
func parseThreadState(id, span string, q url.Values) threadState {
	st := threadState{trace: id, span: span, raw: q.Get("skew") == "off", critical: q.Get("critical") == "1",
		table: q.Get("view") == "table", service: q.Get("service"), failed: q.Get("failed") == "1"}
	if sel := q.Get("sel"); sel == noSelection {
		st.sel = sel
	} else if ref, ok := parseSelection(sel); ok {
		st.sel = selection(ref)
	} else if sel != "" {
		st.leaveOut("sel", sel, "a trace id, or TRACE.SPAN")
	}
	for _, text := range splitKeys(q.Get("open")) {
		part := strings.Split(text, "~")
		g, good := openGroup{id: part[0], order: graph.ByStart}, len(part) <= 3
		if len(part) > 1 {
			n, err := strconv.Atoi(part[1])
			good = good && err == nil && n >= 0
			g.from = max(n, 0)
		}
		if len(part) > 2 {
			if g.order = graph.FoldOrder(part[2]); !slices.Contains([]graph.FoldOrder{graph.ByStart, graph.BySlowest, graph.ByFailed}, g.order) {
				good, g.order = false, graph.ByStart
			}
		}
		if !good {
			st.leaveOut("open", text, "the id of a group, or GROUP~FIRST~ORDER with an order of "+string(graph.ByStart)+", "+string(graph.BySlowest)+" or "+string(graph.ByFailed))
		}
		if g.id != "" && st.opened(g.id) == nil {
			st.open = append(st.open, g)
		}
	}
	if zoom := q.Get("zoom"); zoom != "" {
		a, b, _ := strings.Cut(zoom, "~")
		from, err1 := strconv.ParseInt(a, 10, 64)
		to, err2 := strconv.ParseInt(b, 10, 64)
		if err1 == nil && err2 == nil && from < to {
			st.from, st.to = from, to
		} else {
			st.leaveOut("zoom", zoom, "two times in nanoseconds from the start of the thread, as in 0~5000000")
		}
	}
	if s := q.Get("sort"); slices.Contains(threadSorts, strings.TrimPrefix(s, "-")) {
		st.sort = s
	} else if s != "" {
		st.leaveOut("sort", s, wordList(threadSorts)+", with - before it for the largest first")
	}
	if row := q.Get("row"); row != "" {
		if n, err := strconv.Atoi(row); err == nil && n > 0 {
			st.row = n
		} else {
			st.leaveOut("row", row, "the number of a row, from 1")
		}
	}
	return st
}

// parseSelection reads TRACE or TRACE.SPAN.
func parseSelection(s string) (ref trace.Ref, ok bool) {
	id, span, both := strings.Cut(s, ".")
	var err error
	if ref.TraceID, err = trace.ParseID(id); err != nil {
		return ref, false
	}
	if both {
		if ref.SpanID, err = trace.ParseSpanID(span); err != nil {
			return trace.Ref{}, false
		}
	}
	return ref, true
}

func selection(r trace.Ref) string {
	if r.SpanID.IsZero() {
		return r.TraceID.String()
	}
	return r.TraceID.String() + "." + r.SpanID.String()
}

// opened is how a group is unfolded, nil if it is folded.
func (st *threadState) opened(id string) *openGroup {
	for i := range st.open {
		if st.open[i].id == id {
			return &st.open[i]
		}
	}
	return nil
}

// zoomed reports whether a part of the time is shown.
func (st *threadState) zoomed() bool { return st.to != st.from }

// query is the state as the parameters of an address.
func (st *threadState) query() string {
	var q []string
	add := func(name, value string, ok bool) {
		if ok {
			q = append(q, name+"="+value)
		}
	}
	add("span", st.span, st.span != "")
	add("sel", st.sel, st.sel != "")
	open := make([]string, len(st.open))
	for i, g := range st.open {
		open[i] = g.id
		if g.order != graph.ByStart && g.order != "" {
			open[i] += "~" + strconv.Itoa(g.from) + "~" + string(g.order)
		} else if g.from > 0 {
			open[i] += "~" + strconv.Itoa(g.from)
		}
	}
	add("open", strings.Join(open, ","), len(open) > 0)
	add("skew", "off", st.raw)
	add("critical", "1", st.critical)
	add("zoom", strconv.FormatInt(st.from, 10)+"~"+strconv.FormatInt(st.to, 10), st.zoomed())
	add("view", "table", st.table)
	add("sort", st.sort, st.sort != "")
	add("service", url.QueryEscape(st.service), st.service != "")
	add("failed", "1", st.failed)
	add("row", strconv.Itoa(st.row), st.row > 0)
	return strings.Join(q, "&")
}

// href is the address of the state.
func (st threadState) href() string {
	if q := st.query(); q != "" {
		return "/thread/" + st.trace + "?" + q
	}
	return "/thread/" + st.trace
}

// with is the address of a changed copy of the state.
func (st threadState) with(change func(*threadState)) string {
	st.open = slices.Clone(st.open)
	change(&st)
	return st.href()
}

// selecting is the address with another span selected.
func (st threadState) selecting(r trace.Ref) string {
	return st.with(func(st *threadState) { st.choose(r) })
}

func (st *threadState) choose(r trace.Ref) {
	st.row = 0
	st.sel = selection(r)
	if r.TraceID.String() == st.trace && r.SpanID.String() == st.span {
		st.sel = ""
	}
}

// toggled is the state after folding or unfolding a group.
func (st threadState) toggled(group string) threadState {
	st.open = slices.Clone(st.open)
	if i := slices.IndexFunc(st.open, func(g openGroup) bool { return g.id == group }); i >= 0 {
		st.open = slices.Delete(st.open, i, i+1)
	} else if len(st.open) < maxStateKeys {
		st.open = append(st.open, openGroup{id: group, order: graph.ByStart})
	}
	return st
}

// paged is the address with other members of an unfolded group.
func (st threadState) paged(group string, from int, order graph.FoldOrder) string {
	return st.with(func(st *threadState) {
		if g := st.opened(group); g != nil {
			g.from, g.order = from, order
		}
	})
}
