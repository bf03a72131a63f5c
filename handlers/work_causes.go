package handlers

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/tracestore/traffic"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// maxCauseSample is of how many runs or messages it is looked up one by one why
	// their origin is not known.
	maxCauseSample = 1000
	// maxApart is of how many of these their traces are read (a millisecond each).
	maxApart      = 100
	maxOriginRows = 12
)

// causes is what is known of where some runs or messages came from.
type causes struct {
	handled float64 // all of them
	tookMS  float64 // all of them together
	origins []originStat
	unknown map[string]float64 // how many have no origin, by the reason
	// waited is how many have a known sender, and waits from its end to their start,
	// in milliseconds.
	waited  float64
	waits   *spread
	senders []senderCount
}

// originStat is what one endpoint set off.
type originStat struct {
	Service string  `json:"service"`
	Name    string  `json:"name"`
	Count   float64 `json:"count"`
	TimeMS  float64 `json:"time_ms"` // of the runs together
	filters []query.Filter
	example trace.Ref // one that it set off; zero: none was looked at
}

// endpoint is what origins are grouped by.
type endpoint struct{ service, name string }

// causesOf finds where the spans that pass the filters came from.
func (w *work) causesOf(ctx context.Context, filters ...query.Filter) (*causes, error) {
	var origins, senders *query.Result
	var sample *originSample
	ask := func(into **query.Result, order query.Calculation, st exploreState) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			*into, err = w.run(ctx, st, query.MaxLimitNoSeries, order, false)
			return err
		}
	}
	var waits []query.Calculation
	for _, op := range []string{"P50", "P95", "P99"} {
		waits = append(waits, query.Calculation{Op: op, Column: traffic.SentWaitMS})
	}
	err := askAll(ctx,
		ask(&origins, calculationNamed("SUM"), w.ask(originColumns, calculations("SUM"), filters...)),
		ask(&senders, calculationNamed("COUNT"), w.ask([]string{traffic.SenderService, traffic.SenderName}, append(calculations(), waits...), filters...)),
		func(ctx context.Context) (err error) { sample, err = w.sampleOrigins(ctx, filters...); return err },
	)
	if err != nil {
		return nil, err
	}
	c := &causes{unknown: map[string]float64{}, origins: []originStat{}, senders: []senderCount{}}
	c.addOrigins(origins, sample)
	for _, g := range allGroups(senders) {
		n, _ := numberOf(g.Data["COUNT"])
		service, none := valueText(g.Data[traffic.SenderService])
		name, nameless := valueText(g.Data[traffic.SenderName])
		if none && nameless {
			continue
		}
		c.waited += n
		if none {
			service = ""
		}
		if !nameless {
			c.senders = append(c.senders, senderCount{service, name, n})
		}
	}
	if senders.Total != nil && c.waited > 0 {
		c.waits = spreadOf(*senders.Total, traffic.SentWaitMS)
	}
	return c, nil
}

// allGroups are the groups of an answer with what its limit left out.
func allGroups(res *query.Result) []query.Group {
	if res.Other == nil {
		return res.Results
	}
	return append(slices.Clone(res.Results), *res.Other)
}

// originColumns tell an endpoint.
var originColumns = []string{"origin.service.name", "origin.name", "origin.http.route"}

// addOrigins groups the answer by endpoint, those first that caused the most time.
func (c *causes) addOrigins(res *query.Result, sample *originSample) {
	at := map[endpoint]int{}
	none := 0.0 // not known, or of several requests that begin elsewhere each
	for _, g := range allGroups(res) {
		n, _ := numberOf(g.Data["COUNT"])
		c.handled += n
		took, _ := numberOf(g.Data["SUM(duration_ms)"])
		c.tookMS += took
		service, name, route := textOf(g.Data[originColumns[0]]), textOf(g.Data[originColumns[1]]), textOf(g.Data[originColumns[2]])
		if _, missing := valueText(g.Data[originColumns[1]]); missing || service == "" && name == "" {
			none += n
			continue
		}
		key := endpoint{service, graph.EndpointName(name, route)}
		i, ok := at[key]
		if !ok {
			i = len(c.origins)
			at[key] = i
			c.origins = append(c.origins, originStat{Service: service, Name: key.name, filters: endpointFilters(key, name, route), example: sample.examples[key]})
		}
		c.origins[i].Count += n
		c.origins[i].TimeMS += took
	}
	if none > 0 {
		all := 0.0
		for _, n := range sample.reasons {
			all += n
		}
		for reason, n := range sample.reasons {
			c.unknown[reason] = none * n / all
		}
		if all == 0 { // those of the sample happen to be known
			c.unknown[graph.NotArrived] = none
		}
	}
	slices.SortStableFunc(c.origins, func(a, b originStat) int {
		return cmp.Or(cmp.Compare(b.TimeMS, a.TimeMS), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
}

// endpointFilters find what an endpoint set off, whatever ids its names had.
func endpointFilters(e endpoint, name, route string) []query.Filter {
	list := []query.Filter{equals("origin.service.name", nameOrNil(e.service))}
	if name == e.name {
		return append(list, equals("origin.name", nameOrNil(name)))
	}
	list = append(list, equals("origin.http.route", route))
	if method, ok := strings.CutSuffix(e.name, " "+route); ok {
		list = append(list, query.Filter{Column: "origin.name", Op: "contains", Value: method})
	}
	return list
}

// originSample is what was looked up of some runs one by one.
type originSample struct {
	examples map[endpoint]trace.Ref // of each endpoint that set one off
	reasons  map[string]float64     // of those whose origin is not known
}

func (w *work) sampleOrigins(ctx context.Context, filters ...query.Filter) (*originSample, error) {
	st := w.ask(nil, calculations(), filters...)
	search := st.search()
	search.Limit = maxCauseSample
	sample, err := w.spans.Sample(ctx, search)
	if err != nil {
		return nil, err
	}
	traces := make([]trace.ID, len(sample.Spans))
	for i := range sample.Spans {
		traces[i] = sample.Spans[i].TraceID
	}
	found, err := w.graph.Origins(ctx, traces)
	if err != nil {
		return nil, fmt.Errorf("origins of %d runs: %w", len(traces), err)
	}
	if err := w.apart(ctx, sample.Spans, found); err != nil {
		return nil, err
	}
	var ids []trace.ID
	for i := range found {
		if found[i].Status == graph.Found {
			ids = append(ids, found[i].Origin.TraceID)
		}
		for _, o := range found[i].Origins {
			ids = append(ids, o.TraceID)
		}
	}
	slices.SortFunc(ids, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	sums, err := w.spans.Summaries(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("summaries of origins: %w", err)
	}
	of := make(map[trace.ID]*graph.Summary, len(ids))
	for i := range sums {
		of[ids[i]] = &sums[i]
	}
	begun := func(id trace.ID) endpoint {
		sum := of[id]
		return endpoint{sum.Service, graph.EndpointName(sum.Name, sum.Route)}
	}
	out := &originSample{examples: map[endpoint]trace.Ref{}, reasons: map[string]float64{}}
	for i := range found {
		o := &found[i]
		at := endpoint{}
		switch {
		case o.Status == "": // left out
			continue
		case o.Status == graph.Found:
			if at = begun(o.Origin.TraceID); at == (endpoint{}) {
				out.reasons[graph.NotArrived]++
			}
		case len(o.Origins) > 0: // of one endpoint, maybe
			at = begun(o.Origins[0].TraceID)
			if slices.ContainsFunc(o.Origins, func(r trace.Ref) bool { return begun(r.TraceID) != at }) {
				at = endpoint{}
			}
			if at == (endpoint{}) {
				out.reasons[ambiguous]++
			}
		case o.Status == graph.Ambiguous:
			out.reasons[ambiguous]++
		default:
			out.reasons[o.Reason]++
		}
		if at != (endpoint{}) && out.examples[at] == (trace.Ref{}) {
			out.examples[at] = sample.Spans[i].Ref
		}
	}
	return out, nil
}

// apart replaces the origins of runs that stand in one trace with others, which were
// caused apart from them: as the messages of a batch. Of many, some are looked at and
// the others left out.
func (w *work) apart(ctx context.Context, spans []query.SampledSpan, found []graph.TraceOrigin) error {
	var at []int
	var refs []trace.Ref
	for i := range found {
		if !found[i].Apart {
			continue
		}
		if len(at) == maxApart {
			found[i] = graph.TraceOrigin{}
			continue
		}
		at, refs = append(at, i), append(refs, spans[i].Ref)
	}
	origins, err := w.graph.SpanOrigins(ctx, refs)
	if err != nil {
		return fmt.Errorf("origins of %d messages: %w", len(refs), err)
	}
	for k, i := range at {
		found[i] = origins[k]
	}
	return nil
}

// wait is the waits as the page shows them.
func (c *causes) wait(what string) (views.WorkWait, bool) {
	of := "from all " + views.FormatNumber(c.handled) + " " + what
	if c.waited < c.handled {
		of = "from " + views.FormatNumber(c.waited) + " of " + views.FormatNumber(c.handled) + " " + what
	}
	return views.WorkWait{Spread: spreadText(c.waits), How: "from the end of what sent it to its start", Of: of}, c.waits != nil
}

const ambiguous = "ambiguous"

// originReasons say why the origin of a run is not known.
var originReasons = map[string]string{
	ambiguous:          "several requests may be behind it, as in a batch of messages or by an id that they share",
	graph.NotArrived:   "what caused it has not arrived",
	graph.SampledOut:   "what caused it was sampled out",
	graph.LinksDropped: "the sender dropped links",
	graph.NotRecorded:  "nothing says for certain what caused it",
	graph.Expired:      "what caused it has expired",
	graph.TooMany:      "too many spans share the value of the correlation that joins it",
	graph.Cut:          "the search was cut",
}

// originTable is the table of the endpoints behind runs.
func (g *workPage) originTable(c *causes) *views.WorkOrigins {
	if c.handled == 0 {
		return nil
	}
	t := &views.WorkOrigins{Of: "of all " + views.FormatNumber(c.handled) + " " + g.runsWord()}
	took := c.tookMS // shares are of all, as those of the count are
	for _, o := range c.origins[:min(len(c.origins), maxOriginRows)] {
		st := g.ask([]string{"name"}, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...), g.handled(o.filters...)...)
		row := views.WorkOrigin{Service: g.service(workEnd{Service: o.Service}), Name: rowName(o.Name), URL: st.address(nil), Count: views.FormatNumber(o.Count), Share: shareOf(o.Count, c.handled),
			Time: views.FormatUnit(o.TimeMS, views.UnitMilliseconds), TimeShare: shareOf(o.TimeMS, took), Percent: percentText(o.TimeMS, took)}
		if !o.example.TraceID.IsZero() {
			row.Example = "/thread/" + o.example.TraceID.String() + "?span=" + o.example.SpanID.String()
		}
		t.Rows = append(t.Rows, row)
	}
	if rest := c.origins[min(len(c.origins), maxOriginRows):]; len(rest) > 0 {
		n, time := 0.0, 0.0
		for i := range rest {
			n, time = n+rest[i].Count, time+rest[i].TimeMS
		}
		st := g.ask(originColumns[:2], calculations("SUM", "P95"), g.handled()...)
		t.Rest = &views.WorkRest{Words: countOf(len(rest), "further endpoint", "further endpoints"), URL: st.address(nil), Count: views.FormatNumber(n), Share: shareOf(n, c.handled),
			Time: views.FormatUnit(time, views.UnitMilliseconds), TimeShare: shareOf(time, took)}
	}
	for _, reason := range slices.Sorted(maps.Keys(c.unknown)) {
		words := originReasons[reason]
		if words == "" {
			words = reason
		}
		n := c.unknown[reason]
		t.Unknown = append(t.Unknown, views.WorkUnknown{Count: c.about(n) + " " + g.runsWord(), Share: shareOf(n, c.handled), Reason: words})
	}
	return t
}

// about is a count that is estimated where there are several reasons and more runs
// than were looked at.
func (c *causes) about(n float64) string {
	if c.handled <= maxCauseSample || len(c.unknown) == 1 {
		return views.FormatNumber(n)
	}
	return "≈ " + views.FormatNumber(float64(int64(n+0.5)))
}

// senderRows stand where no span of the sending says who sends.
func (g *workPage) senderRows(c *causes) []views.WorkEndRow {
	var out []views.WorkEndRow
	for _, s := range c.senders[:min(len(c.senders), maxEndRows)] {
		out = append(out, views.WorkEndRow{Service: g.service(workEnd{Service: s.Service}), Span: s.Name, Count: views.FormatNumber(s.Count), Rate: rateOf(s.Count, g.window.length()), Failed: missingText,
			Run: spreadText(nil), Inferred: "by the causes of what it handled"})
	}
	return out
}

// Sends are looked at that are older than what nearly all wait, at least this old.
const (
	pendingAge    = time.Minute
	maxSendSample = 200
	// pendingTime bounds the search: of a sample the first ones are as good.
	pendingTime = 300 * time.Millisecond
	// maxSentEffects and maxSentSpans are what is read of a trace to find what handled
	// its sends: as much as a thread reads of effects, and a moment's worth of spans.
	// Sends of larger traces that these do not show to be handled are left out.
	maxSentEffects = 250_000
	maxSentSpans   = 20_000
)

// pending looks for sends that nothing handled.
func (g *workPage) pending(ctx context.Context) (*views.WorkPending, error) {
	if g.stat.Sent == 0 || g.stat.received {
		return nil, nil
	}
	age := pendingAge
	if g.stat.WaitMS != nil {
		age = max(age, time.Duration(2*g.stat.WaitMS.P99*float64(time.Millisecond)))
	}
	old := *g.work
	if limit := g.now().Add(-age); limit.Before(old.window.To) {
		old.window = timeWindow{From: old.window.From, To: limit}
	}
	if old.window.length() <= 0 {
		return nil, nil
	}
	st := old.ask(nil, calculations(), g.sent()...)
	sends := st.search()
	sends.Limit = maxSendSample
	sample, err := g.spans.Sample(ctx, sends)
	if err != nil {
		return nil, err
	}
	search := sentSearch{store: g.spans, rules: g.graph.Rules(), traces: map[trace.ID]*sentTrace{}}
	until := time.Now().Add(pendingTime)
	looked := 0
	var lost []query.SampledSpan
	for i := range sample.Spans {
		if looked > 0 && time.Now().After(until) {
			break
		}
		handled, sure, err := search.isHandled(ctx, sample.Spans[i].Ref)
		if err != nil {
			return nil, err
		}
		if !sure {
			continue
		}
		looked++
		if !handled {
			lost = append(lost, sample.Spans[i])
		}
	}
	if looked == 0 || len(lost) == 0 {
		return nil, nil
	}
	p := &views.WorkPending{Of: fmt.Sprintf("%s of %s looked at, of %s sent", ui.Count(len(lost)), ui.Count(looked), ui.Count(sample.Matched)),
		Note: fmt.Sprintf("Sent more than %s ago, and no span that came since says that it was handled. It may wait, be scheduled for later, have died with its worker, or be handled by something that is not traced.", views.RangeLabel(formatRange(age.Truncate(time.Second))))}
	slices.SortFunc(lost, func(a, b query.SampledSpan) int { return cmp.Compare(a.StartUnixNano, b.StartUnixNano) })
	for i := range lost[:min(len(lost), maxRunRows)] {
		x := &lost[i]
		p.Rows = append(p.Rows, g.workRun(&query.Row{TraceID: x.TraceID, SpanID: x.SpanID, Service: x.Service, Name: x.Name, StartUnixNano: x.StartUnixNano, DurationNano: x.DurationNano, Error: x.Error}))
	}
	return p, nil
}
