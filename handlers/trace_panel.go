package handlers

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// maxPanelCauses, maxPanelEffects and maxPanelLinks are how many causes, kinds of
	// effect and links of a span its panel names.
	maxPanelCauses  = 10
	maxPanelEffects = 10
	maxPanelLinks   = 10
	// maxFilterText is the longest value, in bytes, that an address of Explore
	// carries: proxies let 8 kB through.
	maxFilterText = 1024
	// exploreMargin is how far before and after a span Explore looks when it is
	// opened from one of the span's attributes, in seconds.
	exploreMargin = 1800
)

// panel builds the panel of the selected row, nil if none is selected.
func (v *traceView) panel(n *graph.Neighbours) *views.SpanPanel {
	if v.selected < 0 {
		return nil
	}
	t := v.tree
	r := &t.rows[v.selected]
	none := v.state
	none.span = ""
	p := &views.SpanPanel{
		TraceID: v.state.trace, SpanID: r.id().String(), Href: v.state.href(), Close: none.href(), Filter: v.state.fields,
		ThreadHref: "/thread/" + v.state.trace + "?span=" + r.id().String(), AllHref: "/t/" + v.state.trace + "/causes?span=" + r.id().String(),
	}
	if r.span == nil {
		p.Missing, p.Name = true, "Parent that never arrived"
		return p
	}
	s := r.span
	p.Name, p.Service, p.Kind, p.Environment = rowName(s.Name), s.Service, s.Kind.String(), s.Environment
	if len(s.Name) > maxRowName {
		p.FullName = s.Name
	}
	p.Offset = "starts +" + ui.Duration(r.startNano-t.startNano)
	if side, words := t.far(v.selected); side != 0 {
		p.Offset = strings.Trim(words, "◂▸ ") + " than the part of the trace on the axis"
	}
	p.Start, p.Duration, p.Self = unixTime(s.StartUnixNano), ui.Duration(s.DurationNano), ui.Duration(t.selfNano(v.selected))
	p.Status, p.StatusMessage, p.Error = s.Status.String(), s.StatusMessage, s.Error
	p.Notes = v.panelNotes(r)
	unfiltered := v.state
	unfiltered.fields = ""
	p.FilterAction, p.FilterHidden = formAction(unfiltered), formParams(unfiltered)
	p.Attributes = attributeViews(s, v.state.fields)
	for _, a := range p.Attributes {
		if !a.Hidden {
			p.AttributesShown++
		}
	}
	for i := range s.Events {
		e := &s.Events[i]
		p.Events = append(p.Events, views.EventView{
			Name: rowName(e.Name), Offset: eventOffset(e.TimeUnixNano - r.startNano), Error: isErrorEvent(e), Attributes: plainAttributes(e.Attributes),
		})
	}
	v.panelLinks(p, s, n)
	return p
}

func eventOffset(nano int64) string {
	if nano < 0 {
		return ui.Duration(-nano) + " before the span"
	}
	return "+" + ui.Duration(nano)
}

// panelNotes say what is odd about a span.
func (v *traceView) panelNotes(r *treeRow) []string {
	var notes []string
	if r.circle {
		notes = append(notes, "Its parents form a circle, which is cut here.")
	}
	if r.half > 0 {
		notes = append(notes, "It shares its span id with the span above it: the two sides of one call.")
	}
	if r.parent >= 0 && v.tree.rows[r.parent].span != nil {
		p := &v.tree.rows[r.parent]
		if early := p.startNano - r.startNano; early > 0 {
			notes = append(notes, "It starts "+ui.Duration(early)+" before its parent: the clocks of "+p.span.Service+" and "+r.span.Service+" may differ.")
		} else if r.startNano > p.endNano {
			notes = append(notes, "It starts "+ui.Duration(r.startNano-p.endNano)+" after its parent ended.")
		}
	}
	return notes
}

// panelLinks fills causes and effects of the span in other traces.
func (v *traceView) panelLinks(p *views.SpanPanel, s *trace.Span, n *graph.Neighbours) {
	if n == nil {
		return
	}
	inferred := 0
	for _, c := range distinctCauses(n, func(to trace.Ref) bool { return to == s.Ref() }) {
		v.causes = append(v.causes, c.Edge.From.Ref)
		if c.Edge.Inferred {
			inferred++
		}
		if len(p.CausedBy) == maxPanelCauses {
			p.CausedByMore++
			continue
		}
		p.CausedBy = append(p.CausedBy, causeView(c))
	}
	if dropped := graph.DroppedLinks(s); dropped > 0 {
		p.LinksKept = keptLinks(len(s.Links), dropped, inferred)
	}
	for i := range n.Effects {
		e := &n.Effects[i]
		if e.From != s.SpanID {
			continue
		}
		if len(p.Caused) == maxPanelEffects {
			p.CausedMore += e.Count
			continue
		}
		p.Caused = append(p.Caused, effectView(e))
	}
}

// attributeViews lists the attributes of a span by key, each with its ways into
// Explore; those in which the filter does not occur are marked hidden.
func attributeViews(s *trace.Span, filter string) []views.AttributeView {
	words := strings.Fields(strings.ToLower(filter))
	list := make([]views.AttributeView, 0, len(s.Attributes))
	for i := range s.Attributes {
		a := &s.Attributes[i]
		text := a.Value.Text()
		view := attributeView(a, text)
		view.Hidden = slices.ContainsFunc(words, func(w string) bool { return !containsFold(a.Key, w) && !containsFold(text, w) })
		if len(a.Key)+len(text) <= maxFilterText {
			view.FilterHref = exploreHref(s, query.Filter{Column: a.Key, Op: "=", Value: filterValue(a.Value)}, "")
		}
		if len(a.Key)+len(s.Name) <= maxFilterText {
			view.GroupHref = exploreHref(s, query.Filter{Column: "name", Op: "=", Value: s.Name}, a.Key)
		}
		list = append(list, view)
	}
	slices.SortStableFunc(list, func(a, b views.AttributeView) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

func plainAttributes(attributes []trace.Attribute) []views.AttributeView {
	list := make([]views.AttributeView, 0, len(attributes))
	for i := range attributes {
		list = append(list, attributeView(&attributes[i], attributes[i].Value.Text()))
	}
	return list
}

func attributeView(a *trace.Attribute, text string) views.AttributeView {
	warn := strings.HasPrefix(a.Key, "exception.") || strings.HasPrefix(a.Key, "error.")
	if strings.HasSuffix(a.Key, "status_code") && a.Value.Type == trace.TypeInt && a.Value.Int() >= 500 && a.Value.Int() < 600 {
		warn = true
	}
	return views.AttributeView{Key: a.Key, Value: text, Type: a.Value.Type.String(), Warn: warn}
}

// filterValue is the value as a filter of a query takes it.
func filterValue(v trace.Value) any {
	switch v.Type {
	case trace.TypeInt:
		return json.Number(v.Text())
	case trace.TypeBool:
		return v.Bool()
	}
	return v.Text()
}

// exploreHref opens Explore on the rows that a filter keeps around the time of
// a span, by a column if one is named.
func exploreHref(s *trace.Span, f query.Filter, by string) string {
	from := float64(s.StartUnixNano/1e9 - exploreMargin)
	to := float64(s.EndUnixNano()/1e9 + exploreMargin)
	granularity := int64(0)
	spec := query.Spec{Calculations: []query.Calculation{{Op: "COUNT"}}, Filters: []query.Filter{f}, StartTime: &from, EndTime: &to, Granularity: &granularity}
	if by != "" {
		spec.Breakdowns = []string{by}
		spec.Calculations = append(spec.Calculations, query.Calculation{Op: "P95", Column: "duration_ms"})
	}
	return exploreSpec(spec)
}

// exploreSpec is the address of a query in Explore.
func exploreSpec(spec query.Spec) string {
	text, err := json.Marshal(spec)
	if err != nil {
		return "/explore" // a value that JSON cannot hold: leave the filter to the person
	}
	return "/explore?q=" + url.QueryEscape(string(text))
}
