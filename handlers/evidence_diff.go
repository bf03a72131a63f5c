package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/views/ui"
)

// part is one thing of a frozen copy that can come, go or change: a span, a
// group of an answer, an edge. Parts of two copies belong together by their key.
type part struct {
	key     string
	label   string
	summary string // what stands for it where the other copy does not have it
	facts   []fact
}

// fact is a named value of a part.
type fact struct{ name, value string }

// Compare implements collab.EvidenceSource: it takes both copies to pieces and
// lists those that differ.
func (e evidence) Compare(kind collab.BlockKind, frozen, live json.RawMessage) ([]collab.Difference, error) {
	was, err := evidenceParts(kind, frozen)
	if err != nil {
		return nil, err
	}
	is, err := evidenceParts(kind, live)
	if err != nil {
		return nil, err
	}
	if kind == collab.KindQuery && matchedRows(frozen) > 0 && matchedRows(live) == 0 {
		return nil, fmt.Errorf("no row is left: %w", collab.ErrNotFound)
	}
	list := compareParts(was, is)
	if len(list) == 0 && kind != collab.KindSpan {
		// The hashes say that something differs, and nobody may be told that it is
		// the same. A span's copy holds the measures of its trace as well: that
		// other spans came does not change the span.
		list = append(list, collab.Difference{What: "something in the copy that is not listed here"})
	}
	return list, nil
}

// matchedRows is how many rows an answer is made of.
func matchedRows(body json.RawMessage) int64 {
	var f struct{ Result struct{ Stats query.Stats } }
	if json.Unmarshal(body, &f) != nil {
		return 0
	}
	return int64(f.Result.Stats.RowsMatched)
}

func compareParts(was, is []part) []collab.Difference {
	byKey := make(map[string]*part, len(is))
	for i := range is {
		byKey[is[i].key] = &is[i]
	}
	var list []collab.Difference
	seen := make(map[string]bool, len(was))
	for i := range was {
		p := &was[i]
		seen[p.key] = true
		now := byKey[p.key]
		if now == nil {
			list = append(list, collab.Difference{What: p.label, Frozen: p.summary})
			continue
		}
		list = append(list, compareFacts(p, now)...)
	}
	for i := range is {
		if !seen[is[i].key] {
			list = append(list, collab.Difference{What: is[i].label, Live: is[i].summary})
		}
	}
	return list
}

func compareFacts(was, is *part) []collab.Difference {
	name := func(f fact) string {
		switch {
		case was.label == "":
			return f.name
		case f.name == "":
			return was.label
		}
		return was.label + ": " + f.name
	}
	now := make(map[string]string, len(is.facts))
	for _, f := range is.facts {
		now[f.name] = f.value
	}
	var list []collab.Difference
	had := make(map[string]bool, len(was.facts))
	for _, f := range was.facts {
		had[f.name] = true
		if v := now[f.name]; v != f.value {
			list = append(list, collab.Difference{What: name(f), Frozen: f.value, Live: v})
		}
	}
	for _, f := range is.facts {
		if !had[f.name] {
			list = append(list, collab.Difference{What: name(f), Live: f.value})
		}
	}
	return list
}

// evidenceParts takes a frozen copy to pieces.
func evidenceParts(kind collab.BlockKind, body json.RawMessage) ([]part, error) {
	var parts []part
	var err error
	switch kind {
	case collab.KindSpan:
		parts, err = spanParts(body)
	case collab.KindTrace:
		parts, err = traceParts(body)
	case collab.KindThread:
		parts, err = threadParts(body)
	case collab.KindQuery:
		parts, err = queryParts(body)
	default:
		err = fmt.Errorf("no such evidence")
	}
	if err != nil {
		return nil, fmt.Errorf("take %s to pieces: %w", kind, err)
	}
	return parts, nil
}

// wholeSpan is a frozen span with all that can change of it.
type wholeSpan struct {
	frozenSpan
	Environment string `json:"environment"`
	Events      []struct {
		Name       string
		Time       int64 `json:"time_unix_nano,string"`
		Attributes json.RawMessage
	}
	Links []struct {
		TraceID    string `json:"trace_id"`
		SpanID     string `json:"span_id"`
		Attributes json.RawMessage
	}
	Status struct{ Code, Message string }
}

func (s *wholeSpan) summary() string {
	return s.Service + ": " + s.Name + ", " + ui.Duration(s.Duration)
}

// facts are the values of a span, attributes by their names, events and links by
// their place.
func (s *wholeSpan) facts() []fact {
	list := []fact{{"name", s.Name}, {"service", s.Service}, {"environment", s.Environment}, {"kind", s.Kind}, {"parent", s.ParentID},
		{"status", strings.TrimSpace(s.Status.Code + " " + s.Status.Message)}, {"error", fmt.Sprint(s.Error)},
		{"start", nanoTime(s.Start).Format("2006-01-02 15:04:05.000000000")}, {"duration", exactDuration(s.Duration)}}
	keys := make([]string, 0, len(s.Attributes))
	for k := range s.Attributes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		list = append(list, fact{"attribute " + k, jsonAttribute(s.Attributes[k])})
	}
	for i, e := range s.Events {
		list = append(list, fact{fmt.Sprintf("event %d", i+1), fmt.Sprintf("%s at +%s %s", e.Name, exactDuration(e.Time-s.Start), e.Attributes)})
	}
	for i, l := range s.Links {
		list = append(list, fact{fmt.Sprintf("link %d", i+1), fmt.Sprintf("to %s:%s %s", l.TraceID, l.SpanID, l.Attributes)})
	}
	return list
}

// exactDuration is a duration to the nanosecond where the usual way of writing
// one would hide that two differ.
func exactDuration(nano int64) string {
	return fmt.Sprintf("%s (%d ns)", ui.Duration(nano), nano)
}

// chainPart is what a copy says of the causes behind it.
func chainPart(raw json.RawMessage) part {
	var c struct {
		Status  string
		Reason  string
		Origins []struct{ Service, Name string }
		Hops    []json.RawMessage
	}
	p := part{key: "chain", label: "the chain of causes"}
	if json.Unmarshal(raw, &c) != nil || c.Status == "" {
		return p
	}
	names := make([]string, 0, len(c.Origins))
	for _, o := range c.Origins {
		names = append(names, o.Service+": "+o.Name)
	}
	p.facts = []fact{{"origin", strings.TrimSpace(c.Status + " " + c.Reason + " " + strings.Join(names, ", "))}, {"hops", fmt.Sprint(len(c.Hops))}}
	return p
}

func spanParts(body json.RawMessage) ([]part, error) {
	var f struct {
		Span  wholeSpan
		Path  []wholeSpan
		Chain json.RawMessage
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, err
	}
	parts := []part{{key: "span", facts: f.Span.facts()}}
	for i := range f.Path {
		s := &f.Path[i]
		parts = append(parts, part{key: "path " + s.SpanID, label: "above it, " + s.Name, summary: s.summary(), facts: s.facts()})
	}
	return append(parts, chainPart(f.Chain)), nil
}

func traceParts(body json.RawMessage) ([]part, error) {
	var f struct {
		Trace frozenMeasures
		Spans []wholeSpan
		Chain json.RawMessage
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, err
	}
	parts := []part{{key: "trace", facts: []fact{{"spans", fmt.Sprint(f.Trace.Spans)}, {"services", fmt.Sprint(f.Trace.Services)},
		{"errors", fmt.Sprint(f.Trace.Errors)}, {"duration", exactDuration(f.Trace.Duration)}}}}
	times := map[string]int{} // two halves of one span share its id
	for i := range f.Spans {
		s := &f.Spans[i]
		times[s.SpanID]++
		parts = append(parts, part{key: fmt.Sprint(s.SpanID, " ", times[s.SpanID]), label: "span " + s.Name, summary: s.summary(), facts: s.facts()})
	}
	return append(parts, chainPart(f.Chain)), nil
}

func threadParts(body json.RawMessage) ([]part, error) {
	var f struct {
		Thread struct {
			Nodes  []frozenNode
			Edges  []map[string]any
			Origin *struct{ Service, Name string }
			Ripple map[string]any
		}
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, err
	}
	t := &f.Thread
	whole := part{key: "thread"}
	if t.Origin != nil {
		whole.facts = append(whole.facts, fact{"origin", t.Origin.Service + ": " + t.Origin.Name})
	}
	for _, k := range []string{"traces", "messages", "jobs", "requests", "errors"} {
		whole.facts = append(whole.facts, fact{k, fmt.Sprint(t.Ripple[k])})
	}
	parts := []part{whole}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		parts = append(parts, part{key: "node " + n.TraceID.String(), label: "trace " + n.Name, summary: n.Service + ": " + n.Name + ", " + ui.Duration(n.Duration),
			facts: []fact{{"spans", fmt.Sprint(n.Spans)}, {"errors", fmt.Sprint(n.Errors)}, {"duration", exactDuration(n.Duration)}}})
	}
	times := map[string]int{}
	for _, e := range t.Edges {
		ends, err := json.Marshal([]any{e["from"], e["to"]})
		if err != nil {
			return nil, err
		}
		times[string(ends)]++
		p := part{key: fmt.Sprint("edge ", string(ends), " ", times[string(ends)]), label: "edge of kind " + fmt.Sprint(e["kind"]), summary: "by " + fmt.Sprint(e["rule"])}
		for _, k := range []string{"kind", "rule", "inferred", "wait_nano"} {
			p.facts = append(p.facts, fact{k, fmt.Sprint(e[k])})
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func queryParts(body json.RawMessage) ([]part, error) {
	var f struct {
		Query  query.Spec
		Result struct {
			Results []struct{ Data map[string]any }
			Series  []struct {
				Time any
				Data map[string]any
			}
			Total, Other struct{ Data map[string]any }
			Stats        query.Stats
		}
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, err
	}
	group := func(data map[string]any) (key, label string) {
		var names []string
		for _, b := range f.Query.Breakdowns {
			text, _ := valueText(data[b])
			names = append(names, text)
		}
		return strings.Join(names, "\x00"), strings.Join(names, ", ")
	}
	values := func(data map[string]any) []fact {
		var list []fact
		for _, k := range sortedKeys(data) {
			if slices.Contains(f.Query.Breakdowns, k) {
				continue
			}
			if cells, many := data[k].([]any); many { // a heatmap: its cells are too many to list
				raw, err := json.Marshal(cells)
				if err != nil {
					raw = nil
				}
				list = append(list, fact{k, fmt.Sprintf("%d cells, hash %s", len(cells), hashWord(raw))})
				continue
			}
			text, _ := valueText(data[k])
			list = append(list, fact{k, text})
		}
		return list
	}
	parts := []part{{key: "rows", facts: []fact{{"rows matched", ui.Count(f.Result.Stats.RowsMatched)}}}}
	for _, g := range f.Result.Results {
		key, label := group(g.Data)
		p := part{key: "group " + key, label: label, summary: "a group of the answer", facts: values(g.Data)}
		if len(f.Query.Breakdowns) > 0 && label == "" {
			p.label = "(none)"
		}
		parts = append(parts, p)
	}
	// The points of the chart are compared one by one, and told as a number.
	points := part{key: "chart", label: "the chart"}
	var b strings.Builder
	for _, s := range f.Result.Series {
		raw, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		b.Write(raw)
	}
	points.facts = []fact{{"", fmt.Sprintf("%d points, hash %s", len(f.Result.Series), hashWord([]byte(b.String())))}}
	return append(parts, points), nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// hashWord tells apart what is too long to show.
func hashWord(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}
