package handlers

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
)

// causesPageRows is how many causes, and how many effects, one page lists.
const causesPageRows = 100

// showTraceCauses lists everything that caused spans of a trace, or one of them,
// from elsewhere, and everything that they caused.
func (s *Server) showTraceCauses(c echo.Context) error {
	ctx := c.Request().Context()
	id, st, err := traceOfPath(c)
	if err != nil {
		return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
	}
	var only trace.SpanID
	if q := c.QueryParam("span"); q != "" {
		if only, err = trace.ParseSpanID(q); err != nil {
			return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
		}
		st.span = only.String()
	}
	spans, _, err := s.Store.TraceSpans(ctx, id, maxTracePageSpans)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, Href: st.href()})
	}
	near, err := s.Graph.Neighbours(ctx, id)
	if err != nil {
		return err
	}
	tree := newTraceTree(spans)
	v := views.CausesPage{TraceID: st.trace, SpanID: st.span, Href: st.href(), AllHref: "/t/" + st.trace + "/causes", Truncated: near.Truncated}
	at := tree.main()
	if st.span != "" {
		if at = tree.rowOf(st.span); at < 0 || tree.rows[at].span == nil {
			return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, SpanID: st.span, Href: st.href(), Rest: len(spans)})
		}
	}
	v.Name, v.Service = rowName(tree.rows[at].span.Name), clip(tree.rows[at].span.Service, maxRowName)
	o := near.Origin
	if st.span != "" {
		if o, err = s.Graph.Origin(ctx, id, only); err != nil {
			return err
		}
	}
	v.Origin = originStatus(o)
	s.tellApart(ctx, &v.Origin, o)
	l := causesList{tree: tree, only: only, address: v.AllHref, by: rowParam(c, "by"), caused: rowParam(c, "caused")}
	l.fill(&v, near, func(causes []*graph.Cause) { s.lookUp(ctx, tree, causes) })
	p, err := s.page(c, "Causes and effects of "+v.Name, "")
	if err != nil {
		return err
	}
	p.Styles = traceStyles
	return render(c, http.StatusOK, views.Causes(p, v))
}

// rowParam reads the first row of a list, from 1.
func rowParam(c echo.Context, name string) int {
	n, err := strconv.Atoi(c.QueryParam(name))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// causesList is one page of the lists of causes and effects.
type causesList struct {
	tree       *traceTree
	only       trace.SpanID // zero: of all spans
	address    string
	by, caused int // first rows, from 1
}

// fill lists a page of the causes and effects. lookUp is given the causes of the
// page before they are shown.
func (l *causesList) fill(v *views.CausesPage, n *graph.Neighbours, lookUp func([]*graph.Cause)) {
	var causes []*graph.Cause
	for i := range n.Causes {
		if c := &n.Causes[i]; l.only.IsZero() || c.To.SpanID == l.only {
			causes = append(causes, c)
		}
	}
	var effects []*graph.Effect
	for i := range n.Effects {
		if e := &n.Effects[i]; l.only.IsZero() || e.From == l.only {
			effects = append(effects, e)
			v.CausedSpans += e.Count
		}
	}
	v.ByAll, v.CausedAll = len(causes), len(effects)
	from, to := l.rows(l.by, len(causes))
	lookUp(causes[from:to])
	for _, c := range causes[from:to] {
		w := causeView(c)
		w.Here, w.HereHref = l.here(c.To.SpanID)
		v.By = append(v.By, w)
	}
	v.ByEarlier, v.ByLater = l.more(from, to, len(causes), func(row int) string { return l.href(row, l.caused) })
	from, to = l.rows(l.caused, len(effects))
	for _, e := range effects[from:to] {
		w := effectView(e)
		w.Here, w.HereHref = l.here(e.From)
		v.Caused = append(v.Caused, w)
	}
	v.CausedEarlier, v.CausedLater = l.more(from, to, len(effects), func(row int) string { return l.href(l.by, row) })
}

// rows are those of the page that begins with a row.
func (l *causesList) rows(first, all int) (from, to int) {
	from = min(first-1, max(all-1, 0))
	return from, min(from+causesPageRows, all)
}

func (l *causesList) more(from, to, all int, href func(row int) string) (earlier, later *views.MoreRows) {
	if from > 0 {
		earlier = &views.MoreRows{Count: from, Href: href(max(from-causesPageRows, 0) + 1)}
	}
	if to < all {
		later = &views.MoreRows{Count: all - to, Href: href(to + 1)}
	}
	return earlier, later
}

func (l *causesList) href(by, caused int) string {
	sep, address := "?", l.address
	add := func(name, value string) {
		address += sep + name + "=" + value
		sep = "&"
	}
	if !l.only.IsZero() {
		add("span", l.only.String())
	}
	if by > 1 {
		add("by", strconv.Itoa(by))
	}
	if caused > 1 {
		add("caused", strconv.Itoa(caused))
	}
	return address
}

// here names a span of the trace.
func (l *causesList) here(id trace.SpanID) (name, href string) {
	i := l.tree.rowOf(id.String())
	if i < 0 || l.tree.rows[i].span == nil {
		return "span " + id.String(), ""
	}
	return rowName(l.tree.rows[i].span.Name), spanHref(l.tree.rows[i].span.Ref())
}
