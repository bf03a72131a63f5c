package query

import (
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// scope is which other spans a column speaks of, see the package comment.
type scope uint8

const (
	noScope scope = iota
	scopeRoot
	scopeParent
	scopeCause
	scopeOrigin
	scopeRipple
	// The others stand in filters only.
	scopeAny
	scopeAny2
	scopeAny3
	scopeChild
	scopeNone
)

// scopePrefixes are the prefixes of scopes.
var scopePrefixes = [...]string{
	scopeRoot: "root.", scopeParent: "parent.", scopeCause: "cause.", scopeOrigin: "origin.", scopeRipple: "ripple.",
	scopeAny: "any.", scopeAny2: "any2.", scopeAny3: "any3.", scopeChild: "child.", scopeNone: "none.",
}

// CutScope splits the scope, as "origin.", off the beginning of a column's name.
func CutScope(name string) (prefix, rest string) {
	for _, p := range scopePrefixes[scopeRoot:] {
		if rest, ok := strings.CutPrefix(name, p); ok && name != "parent.trace_id" {
			return p, rest
		}
	}
	return "", name
}

// ScopedColumns describes columns as they are called behind a scope; those of
// ripple. are the measures that begin with the prefix.
func ScopedColumns(scope, prefix string, columns []ColumnInfo) []ColumnInfo {
	switch scope {
	case "":
		return columns
	case scopePrefixes[scopeRipple]:
		columns = []ColumnInfo{}
		for _, m := range RippleMeasures() {
			if strings.HasPrefix(m.Name, scope+prefix) {
				columns = append(columns, m)
			}
		}
		slices.SortFunc(columns, func(a, b ColumnInfo) int { return strings.Compare(a.Name, b.Name) })
		return columns
	}
	out := slices.Clone(columns)
	for i := range out {
		out[i].Name = scope + out[i].Name
	}
	return out
}

// rippleNotes say what the measures of a thread mean, by RippleColumns.
var rippleNotes = []string{
	"traces of the thread, its own among them", "spans of these traces", "messages that were sent", "runs of jobs",
	"requests that services answered, the first one aside", "spans that failed",
	"how long its traces took from start to end, added up", "from its begin to the end of its last effect",
}

// RippleMeasures describes the measures of the thread that a row began.
func RippleMeasures() []ColumnInfo {
	out := make([]ColumnInfo, len(RippleColumns))
	for i, name := range RippleColumns {
		t := trace.TypeInt
		if strings.HasSuffix(name, "_ms") {
			t = trace.TypeFloat
		}
		out[i] = ColumnInfo{Name: name, Types: []string{t.String()}, Top: []ValueCount{}, Note: rippleNotes[i]}
	}
	return out
}

// cutScope splits a column's name into its scope and the name there.
func cutScope(name string) (scope, string) {
	if name == "" || strings.IndexByte("rpcoan", name[0]) < 0 || name == "parent.trace_id" {
		return noScope, name // honeykiq, the Sidekiq tracer, sends an attribute of that very name
	}
	for s := scopeRoot; s <= scopeNone; s++ {
		if rest, ok := strings.CutPrefix(name, scopePrefixes[s]); ok && rest != "" {
			return s, rest
		}
	}
	return noScope, name
}

// isScoped reports whether a column speaks of other spans than the row.
func isScoped(name string) bool {
	s, _ := cutScope(name)
	return s != noScope
}

// scopedOf returns those of the names that speak of other spans.
func scopedOf(names []string) []string {
	var out []string
	for _, name := range names {
		if isScoped(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// inFilters reports whether the scope asks for the existence of a span.
func (s scope) inFilters() bool { return s >= scopeAny }

// checkScope reports a scoped column that no filter can use.
func checkScope(at, name string) error {
	s, rest := cutScope(name)
	if s == noScope {
		return nil
	}
	if inner, _ := cutScope(rest); inner != noScope {
		return &InvalidError{at, fmt.Sprintf("%s of %s is more than one step: a column has one scope at most.", scopePrefixes[inner], scopePrefixes[s])}
	}
	if s == scopeRipple && !slices.Contains(RippleColumns, name) {
		return &InvalidError{at, fmt.Sprintf("A thread has no measure %q. Use one of %s.", name, strings.Join(RippleColumns, ", "))}
	}
	return nil
}

// exists is a condition on the spans around a row: that one of them passes all
// filters. Rows refer to it by its place among those of the query.
type exists struct {
	scope scope
	where where
}

// bind makes one filter of all filters of a scope that asks for the existence of a
// span, so that one span has to pass them together; of an OR each stands for
// itself.
func (q *where) bind(list []filter, or bool) []filter {
	out := make([]filter, 0, len(list))
	at := make(map[scope]int) // place in q.exists
	for _, f := range list {
		if f.exists == noScope {
			out = append(out, f)
			continue
		}
		s := f.exists
		f.exists = noScope
		i, ok := at[s]
		if !ok || or {
			i = len(q.exists)
			at[s] = i
			q.exists = append(q.exists, &exists{scope: s, where: where{fields: q.fields, from: minTime, to: maxTime}})
			out = append(out, filter{around: i + 1, negate: s == scopeNone})
		}
		w := &q.exists[i].where
		w.filters = append(w.filters, f)
		w.anySignal = slices.Contains(w.fields.reads(w.columns()), column.Signal)
	}
	return out
}

// plain reports whether a filter can be answered from the row alone.
func (q *where) plain(f *filter) bool {
	return f.around == 0 && len(scopedOf(q.fields.reads([]string{f.column}))) == 0
}

// look notes the columns that the query reads of other spans, and has the filters
// that need none of them go first.
func (q *where) look(names []string) error {
	q.scoped = scopedOf(q.fields.reads(names))
	for _, name := range q.scoped {
		if _, rest := cutScope(name); q.fields.field(rest) != nil {
			if inner := scopedOf(q.fields.reads([]string{rest})); len(inner) > 0 {
				return &InvalidError{"calculated_fields", fmt.Sprintf("%s is more than one step: the calculated field %q reads %s.", name, rest, inner[0])}
			}
		}
	}
	for _, e := range q.exists {
		if inner := scopedOf(q.fields.reads(e.where.columns())); len(inner) > 0 {
			return &InvalidError{"filters", fmt.Sprintf("A filter on %s looks at single spans: it cannot read %s through a calculated field.", scopePrefixes[e.scope], inner[0])}
		}
	}
	slices.SortStableFunc(q.filters, func(a, b filter) int { return int(b2u(!q.plain(&a))) - int(b2u(!q.plain(&b))) })
	return nil
}

// looksAround reports whether the query looks at other spans than its rows.
func (q *where) looksAround() bool { return len(q.scoped) > 0 || len(q.exists) > 0 }

// looksNear reports whether it looks at spans of the traces of its rows.
func (q *where) looksNear() bool {
	return len(q.exists) > 0 || slices.ContainsFunc(q.scoped, func(name string) bool {
		s, _ := cutScope(name)
		return s == scopeRoot || s == scopeParent || s == scopeCause
	})
}

// first selects the rows that the filters keep which need no other spans; all
// rows if one filter is enough.
func (q *where) first() *where {
	w := *q
	w.filters, w.or = nil, false
	if !q.or {
		for i := range q.filters {
			if q.plain(&q.filters[i]) {
				w.filters = append(w.filters, q.filters[i])
			}
		}
	}
	return &w
}

// told are the warnings of what could not be resolved.
func (r *resolution) told() []string {
	if r == nil {
		return nil
	}
	return r.warnings
}

// missing warns of the columns that no span has at any time.
func (r *resolution) missing(names []string) []string {
	var out []string
	for _, name := range scopedOf(names) {
		s, rest := cutScope(name)
		if s == scopeRipple || r.where.fields.field(rest) != nil || inEveryRow(rest) ||
			r.values[s] != nil && len(r.values[s].vectors(rest)) > 0 || // kept of spans that are gone
			slices.ContainsFunc(r.blocks, func(b column.Block) bool { return newView(b).has(rest) }) {
			continue
		}
		out = append(out, fmt.Sprintf("No span has the column %q, so %q is empty.", rest, name))
	}
	return out
}
