package handlers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// What caused runs and messages is looked up one by one, so a page does it for a
// sample: so many spans at most, in chunks, until the time is up.
const (
	maxCauseSample = 1000
	causeChunk     = 100
	causeTime      = 300 * time.Millisecond
	maxOriginRows  = 12
)

// caused is one run or message with what is known of where it came from.
type caused struct {
	query.SampledSpan
	origin trace.ID // zero: unknown
	reason string   // why
	cause  *trace.Span
}

// causes are those of a sample.
type causes struct {
	runs    []caused
	matched int64
}

// scale is how many spans one of the sample stands for.
func (c *causes) scale() float64 { return float64(c.matched) / float64(max(len(c.runs), 1)) }

// of says of how many the answer is.
func (c *causes) of(what string) string {
	if int64(len(c.runs)) == c.matched {
		return "from all " + ui.Count(c.matched) + " " + what
	}
	return "from " + ui.Count(len(c.runs)) + " of " + ui.Count(c.matched) + " " + what + ", chosen by their ids"
}

// causesOf finds the causes of a sample of the spans that pass the filters.
func (w *work) causesOf(ctx context.Context, most int, budget time.Duration, filters ...query.Filter) (*causes, error) {
	st := w.ask(nil, calculations(), filters...)
	search := st.search()
	search.Limit = most
	sample, err := w.spans.Sample(ctx, search)
	if err != nil {
		return nil, err
	}
	out := &causes{matched: sample.Matched}
	until := time.Now().Add(budget)
	for chunk := range slices.Chunk(sample.Spans, causeChunk) {
		if len(out.runs) > 0 && time.Now().After(until) {
			break
		}
		runs, err := w.findCauses(ctx, chunk)
		if err != nil {
			return nil, err
		}
		out.runs = append(out.runs, runs...)
	}
	return out, nil
}

func (w *work) findCauses(ctx context.Context, spans []query.SampledSpan) ([]caused, error) {
	out := make([]caused, len(spans))
	ids := make([]trace.ID, len(spans))
	for i := range spans {
		out[i].SampledSpan, ids[i] = spans[i], spans[i].TraceID
	}
	found, err := w.graph.Origins(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("origins of %d runs: %w", len(ids), err)
	}
	want := map[trace.Ref]*trace.Span{}
	refs := make([]trace.Ref, len(out))
	for i := range out {
		x := &out[i]
		switch o := &found[i]; o.Status {
		case graph.Found:
			x.origin = o.Origin.TraceID
		case graph.Ambiguous:
			x.reason = "ambiguous"
		default:
			x.reason = o.Reason
		}
		refs[i] = found[i].Cause
		if !x.ParentID.IsZero() {
			refs[i] = trace.Ref{TraceID: x.TraceID, SpanID: x.ParentID}
		}
		if !refs[i].SpanID.IsZero() {
			want[refs[i]] = nil
		}
	}
	all := make([]trace.Ref, 0, len(want))
	for ref := range want {
		all = append(all, ref)
	}
	senders, err := w.spans.SpansOf(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("causes of %d runs: %w", len(ids), err)
	}
	for i := range senders {
		want[senders[i].Ref()] = &senders[i]
	}
	for i := range out {
		s := want[refs[i]]
		// A parent of the same service that sends nothing is a part of the run.
		if s != nil && (s.TraceID != out[i].TraceID || s.Kind == trace.KindProducer || s.Service != out[i].Service) {
			out[i].cause = s
		}
	}
	return out, nil
}

// waits are how long runs waited, in milliseconds: from the end of what sent them to
// their start.
func (c *causes) waits() []float64 {
	var list []float64
	for i := range c.runs {
		if x := &c.runs[i]; x.cause != nil {
			list = append(list, float64(max(0, x.StartUnixNano-x.cause.StartUnixNano-x.cause.DurationNano))/1e6)
		}
	}
	return list
}

// spread is how the waits are spread, nil if none is known.
func (c *causes) spread() *spread {
	list := c.waits()
	if len(list) == 0 {
		return nil
	}
	return &spread{*quantileOf(list, 0.50), *quantileOf(list, 0.95), *quantileOf(list, 0.99)}
}

// wait is the waits as the page shows them.
func (c *causes) wait(what string) (views.WorkWait, bool) {
	s := c.spread()
	return views.WorkWait{Spread: spreadText(s), How: "from the end of what sent it to its start",
		Of: "from " + ui.Count(len(c.waits())) + " of " + ui.Count(c.matched) + " " + what}, s != nil
}

// originReasons say why the origin of a run is not known.
var originReasons = map[string]string{
	"ambiguous":        "several requests may be behind it, as in a batch of messages",
	graph.NotArrived:   "what caused it has not arrived",
	graph.SampledOut:   "what caused it was sampled out",
	graph.LinksDropped: "the sender dropped links",
	graph.NotRecorded:  "nothing recorded what caused it",
	graph.Expired:      "what caused it has expired",
	graph.Cut:          "the search was cut",
}

// originStat is what one endpoint set off.
type originStat struct {
	Service string  `json:"service"`
	Name    string  `json:"name"`
	Count   float64 `json:"count"`   // estimated from the sample
	TimeMS  float64 `json:"time_ms"` // of the runs together
	example trace.Ref
}

// origins groups the sample by the endpoint behind it, those first that caused the
// most time; and counts the others by the reason.
func (w *work) origins(ctx context.Context, c *causes) ([]originStat, map[string]float64, error) {
	ids := map[trace.ID]graph.Summary{}
	for i := range c.runs {
		if id := c.runs[i].origin; !id.IsZero() {
			ids[id] = graph.Summary{}
		}
	}
	list := slices.SortedFunc(maps.Keys(ids), func(a, b trace.ID) int { return cmp.Compare(a.String(), b.String()) })
	sums, err := w.spans.Summaries(ctx, list)
	if err != nil {
		return nil, nil, fmt.Errorf("summaries of origins: %w", err)
	}
	for i, id := range list {
		ids[id] = sums[i]
	}
	scale := c.scale()
	at := map[[2]string]*originStat{}
	unknown := map[string]float64{}
	for i := range c.runs {
		x := &c.runs[i]
		sum := ids[x.origin]
		if sum.TraceID.IsZero() {
			unknown[cmp.Or(x.reason, graph.NotArrived)] += scale
			continue
		}
		key := [2]string{sum.Service, sum.Name}
		o := at[key]
		if o == nil {
			o = &originStat{Service: sum.Service, Name: sum.Name, example: x.Ref}
			at[key] = o
		}
		o.Count += scale
		o.TimeMS += scale * float64(x.DurationNano) / 1e6
	}
	out := []originStat{}
	for _, o := range at {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b originStat) int {
		return cmp.Or(cmp.Compare(b.TimeMS, a.TimeMS), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	return out, unknown, nil
}

// originTable is the table of the endpoints behind runs.
func (g *workPage) originTable(ctx context.Context, c *causes) (*views.WorkOrigins, error) {
	list, unknown, err := g.work.origins(ctx, c)
	if err != nil || len(c.runs) == 0 {
		return nil, err
	}
	t := &views.WorkOrigins{Of: c.of(g.runsWord())}
	all, took := float64(c.matched), 0.0
	for i := range c.runs {
		took += c.scale() * float64(c.runs[i].DurationNano) / 1e6
	}
	for _, o := range list[:min(len(list), maxOriginRows)] {
		st := g.ask([]string{"name"}, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...),
			g.handled(equals("origin.service.name", o.Service), equals("origin.name", o.Name))...)
		id, span := o.example.TraceID.String(), o.example.SpanID.String()
		t.Rows = append(t.Rows, views.WorkOrigin{Service: g.service(workEnd{Service: o.Service}), Name: o.Name, URL: st.address(nil), Count: about(o.Count, c), Share: shareOf(o.Count, all),
			Time: views.FormatUnit(o.TimeMS, views.UnitMilliseconds), TimeShare: shareOf(o.TimeMS, took), Percent: percentText(o.TimeMS, took), Example: "/thread/" + id + "?span=" + url.QueryEscape(span)})
	}
	if rest := len(list) - maxOriginRows; rest > 0 {
		t.Unknown = append(t.Unknown, views.WorkUnknown{Count: ui.Count(rest) + " more endpoints", Share: "each less time than these", Reason: "not listed"})
	}
	for _, reason := range slices.Sorted(maps.Keys(unknown)) {
		words := originReasons[reason]
		if words == "" {
			words = reason
		}
		t.Unknown = append(t.Unknown, views.WorkUnknown{Count: about(unknown[reason], c) + " " + g.runsWord(), Share: shareOf(unknown[reason], all), Reason: words})
	}
	return t, nil
}

// about is an estimated count.
func about(n float64, c *causes) string {
	if int64(len(c.runs)) == c.matched {
		return views.FormatNumber(n)
	}
	return "≈ " + views.FormatNumber(float64(int64(n+0.5)))
}

// senders are what sent the runs of the sample, the busiest first.
func (c *causes) senders() []senderCount {
	counts := map[senderCount]float64{}
	for i := range c.runs {
		if s := c.runs[i].cause; s != nil {
			counts[senderCount{Service: s.Service, Name: s.Name}] += c.scale()
		}
	}
	var out []senderCount
	for s, n := range counts {
		s.Count = n
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b senderCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// senderRows stand where no span of the sending says who sends.
func (g *workPage) senderRows(c *causes) []views.WorkEndRow {
	var out []views.WorkEndRow
	for i, s := range c.senders() {
		if i == maxEndRows {
			break
		}
		out = append(out, views.WorkEndRow{Service: g.service(workEnd{Service: s.Service}), Span: s.Name, Count: about(s.Count, c), Rate: rateOf(s.Count, g.window.length()), Failed: missingText,
			Run: spreadText(nil), Inferred: "by the causes of what it handled"})
	}
	return out
}

// Sends are looked at that are older than what nearly all wait, at least this old.
const (
	pendingAge    = time.Minute
	maxSendSample = 200
	maxSentSpans  = 2000 // of a trace that are read to find what handled a send
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
	search := st.search()
	search.Limit = maxSendSample
	sample, err := g.spans.Sample(ctx, search)
	if err != nil {
		return nil, err
	}
	rules, err := graph.NewRules()
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(causeTime)
	looked := 0
	var lost []query.SampledSpan
	for i := range sample.Spans {
		if looked > 0 && time.Now().After(until) {
			break
		}
		handled, err := g.isHandled(ctx, rules, sample.Spans[i].Ref)
		if err != nil {
			return nil, err
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
		Note: fmt.Sprintf("Sent more than %s ago, and no span that came since says that it was handled. It may wait, be scheduled for later, have died with its worker, or be handled by something that is not traced.", ui.Duration(int64(age)))}
	slices.SortFunc(lost, func(a, b query.SampledSpan) int { return cmp.Compare(a.StartUnixNano, b.StartUnixNano) })
	for i := range lost[:min(len(lost), maxRunRows)] {
		x := &lost[i]
		p.Rows = append(p.Rows, g.workRun(&query.Row{TraceID: x.TraceID, SpanID: x.SpanID, Service: x.Service, Name: x.Name, StartUnixNano: x.StartUnixNano, DurationNano: x.DurationNano, Error: x.Error}))
	}
	return p, nil
}

// isHandled reports whether something says that a send caused it: by a link, by an
// id, or by the parent in its trace.
func (g *workPage) isHandled(ctx context.Context, rules *graph.Rules, ref trace.Ref) (bool, error) {
	links, _, err := g.spans.Effects(ctx, ref.TraceID, maxSentSpans)
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if l.From.SpanID == ref.SpanID || l.From.SpanID.IsZero() {
			return true, nil
		}
	}
	spans, _, err := g.spans.TraceSpans(ctx, ref.TraceID, maxSentSpans)
	if err != nil {
		return false, err
	}
	var keys []graph.Key
	for i := range spans {
		s := &spans[i]
		if s.ParentID == ref.SpanID && s.Kind != trace.KindProducer && s.Kind != trace.KindClient {
			return true, nil
		}
		if s.SpanID != ref.SpanID {
			continue
		}
		for _, h := range rules.Halves(nil, s) {
			if h.Side&graph.CauseSide != 0 && h.Key != 0 {
				keys = append(keys, h.Key)
			}
		}
	}
	if len(keys) == 0 {
		return false, nil
	}
	ends, _, err := g.spans.Ends(ctx, graph.EffectSide, keys, 1)
	return len(ends) > 0, err
}
