package query

import (
	"errors"
	"slices"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// BubbleUp asks in what a selection of a query's rows differs from its other
// rows, the baseline, over every attribute, over where the rows began (AroundColumns),
// and over what the query reads of other spans. The selection is a box, or the rows
// that pass all of SelectionFilters, or both together.
//
// # Score
//
// Each column offers statements: "= v" for each of its values, "exists" or
// "does-not-exist", and for numbers "≥ x" or "< x" at the edges of its histogram.
// A statement's difference is the share of the selection's rows for which it
// holds minus that of the baseline's, rows without the key counting in both. Its
// score is what is certain of that: the end nearer to zero of the difference's
// confidence interval (Newcombe 1998, "Interval estimation for the difference
// between independent proportions", method 10, of Wilson intervals at two standard
// errors), or 0 where the interval has zero in it. The column's score, 0 to 1, is
// that of its best statement; columns of one score stand by their difference.
//
// So a selection of two rows cannot score high whatever they have in common, and
// one of ten thousand scores nearly the plain difference. Rows weigh as much as
// their sample rate says; the certainty comes from (Σw)²/Σw² rows (Kish, "Survey
// Sampling", 1965).
type BubbleUp struct {
	Query            Spec     `json:"query"`
	Selection        *Box     `json:"selection,omitempty"`
	SelectionFilters []Filter `json:"selection_filters,omitempty"`
	Exact            bool     `json:"exact,omitempty"` // read all rows, however many
	Limit            *int     `json:"limit,omitempty"` // columns in the answer: 200 if absent, at most 10,000
}

// Box is a part of a heatmap: start_time ≤ start < end_time (seconds since the
// epoch) and min ≤ column < max. What is absent does not bound.
type Box struct {
	StartTime *float64 `json:"start_time,omitempty"`
	EndTime   *float64 `json:"end_time,omitempty"`
	Column    string   `json:"column,omitempty"`
	Min       *float64 `json:"min,omitempty"`
	Max       *float64 `json:"max,omitempty"`
}

// BubbleUpResult answers a [BubbleUp].
type BubbleUpResult struct {
	Selection Side         `json:"selection"`
	Baseline  Side         `json:"baseline"`
	Columns   []Difference `json:"columns"`  // by falling score; those that the selection names last
	Compared  int          `json:"compared"` // columns compared; more than Columns if the limit cut them
	Warnings  []string     `json:"warnings"`
	Stats     Stats        `json:"stats"`
}

// Side is how many rows one side has. Sampled: the shares and counts below come
// from RowsRead of them, whole blocks spread evenly over time, scaled up.
type Side struct {
	Rows     int64   `json:"rows"`
	Count    float64 `json:"count"` // rows times their sample rates
	RowsRead int64   `json:"rows_read"`
	Sampled  bool    `json:"sampled"`
}

// Difference is how the two sides differ in one column.
type Difference struct {
	Name  string   `json:"name"`
	Types []string `json:"types"`
	Score float64  `json:"score"`
	// Best is the statement that gives the score; nil if no statement differs.
	Best *Statement `json:"best"`
	// Defines: the selection is made by this column, so that it differs by itself.
	Defines bool `json:"defines_selection"`
	// NearUnique: nearly every row has a value of its own.
	NearUnique bool        `json:"near_unique"`
	Present    Compared    `json:"present"`   // the rows that have the key
	Values     []ValuePair `json:"values"`    // the most frequent of both sides, most frequent in the selection first
	Other      Compared    `json:"other"`     // rows with any other value
	Histogram  []BarPair   `json:"histogram"` // of the finite numbers, if there are many different ones; else empty
}

// Statement holds for a row that the filter {Op, Value} on the column keeps.
type Statement struct {
	Op        string      `json:"op"`
	Value     trace.Value `json:"value"` // null with exists and does-not-exist
	Selection float64     `json:"selection"`
	Baseline  float64     `json:"baseline"`
}

// Compared is a count and a share of the rows of each side.
type Compared struct {
	Selection Share `json:"selection"`
	Baseline  Share `json:"baseline"`
}

// Share is a weighted count and its share of all rows of a side, 0 to 1.
type Share struct {
	Count float64 `json:"count"`
	Share float64 `json:"share"`
}

// ValuePair is a value on both sides.
type ValuePair struct {
	Value trace.Value `json:"value"`
	Compared
}

// BarPair is a bar of both histograms: min ≤ number < max.
type BarPair struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
	Compared
}

// Limits of the answer.
const (
	defaultBubbleColumns = 200
	maxBubbleColumns     = 10_000
)

// bubbleLimits bound the work of a run. Tests make them small.
type bubbleLimits struct {
	exactRows   int // rows of the blocks read: up to so many the answer is exact
	readRows    int // beyond, about as many are read for each side
	smallValues int // a block's column with no more distinct values counts them all
	tableValues int // distinct values kept of a column, in one goroutine
	tableBytes  int // texts kept of a column, in one goroutine
}

// A block's column is read in about 60 µs, 2 M rows of 400 columns in half a
// second on two cores: hence the first two.
var defaultBubbleLimits = bubbleLimits{
	exactRows: 4 << 20, readRows: 3 << 19, smallValues: 1 << 10, tableValues: 1 << 13, tableBytes: 1 << 20,
}

// BubblePlan is a compiled [BubbleUp]. It may be run any number of times and at
// once.
type BubblePlan struct {
	// MemoryBytes bounds what a run may hold, as in [Plan]. With a Lease the pool's
	// bounds count, its turns are taken and its progress told.
	MemoryBytes int64
	Lease       *Lease
	Threads     Threads // as in [Plan]

	where    where
	around   []string // columns of other spans to compare
	from, to int64    // of the selection, Unix nanoseconds
	filters  []filter // of the selection: it passes all
	defines  map[string]bool
	exact    bool
	limit    int
	limits   bubbleLimits
}

// Window is the plan's time window, as in [Plan].
func (p *BubblePlan) Window() (from, to int64) { return p.where.from, p.where.to }

// LooksAround is as [Plan.LooksAround].
func (p *BubblePlan) LooksAround() bool { return p.where.looksAround() }

// columns lists the columns that the plan names.
func (p *BubblePlan) columns() []string {
	names := p.where.columns()
	for name := range p.defines {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ParseBubbleUp reads a BubbleUp from JSON, as [ParseSpec] does.
func ParseBubbleUp(data []byte) (BubbleUp, error) {
	var s BubbleUp
	return s, parseJSON(data, &s)
}

// CompileBubbleUp checks the question and binds it to now. Errors are
// *[InvalidError]. Of the query only filters, environment, window and calculated
// fields count.
func CompileBubbleUp(s BubbleUp, now time.Time) (*BubblePlan, error) {
	q, err := Compile(s.Query, now)
	if err != nil {
		return nil, within("query", err)
	}
	p := &BubblePlan{
		MemoryBytes: DefaultMemoryBytes, where: q.where, exact: s.Exact, limit: defaultBubbleColumns,
		defines: make(map[string]bool), limits: defaultBubbleLimits,
	}
	p.from, p.to = minTime, maxTime
	if s.Selection == nil && len(s.SelectionFilters) == 0 {
		return nil, &InvalidError{"selection", "Say what is selected: a box as selection, or selection_filters."}
	}
	if s.Selection != nil {
		if err := p.compileBox(s.Selection); err != nil {
			return nil, err
		}
	}
	filters, err := compileFilters(s.SelectionFilters, "selection_filters")
	if err != nil {
		return nil, err
	}
	p.filters = p.where.bind(append(p.filters, filters...), false)
	for _, f := range p.filters {
		if f.around > 0 {
			continue
		}
		for _, name := range p.where.fields.reads([]string{f.column}) {
			p.defines[name] = true
		}
	}
	p.around = aroundColumns(q.columns())
	if p.defines[column.Duration] {
		p.defines[durationMS] = true
	}
	if err := p.where.look(p.columns()); err != nil {
		return nil, err
	}
	if s.Limit != nil {
		if *s.Limit < 1 || *s.Limit > maxBubbleColumns {
			return nil, &InvalidError{"limit", "Want 1 to 10000."}
		}
		p.limit = *s.Limit
	}
	return p, nil
}

// within puts the field of an *InvalidError under another.
func within(field string, err error) error {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	if invalid.Field != "" {
		field += "." + invalid.Field
	}
	out := InvalidError{field, invalid.Message}
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		return &SyntaxError{out, syntax.Offset}
	}
	return &out
}

func (p *BubblePlan) compileBox(b *Box) error {
	if b.StartTime != nil {
		p.from = nanos(*b.StartTime)
	}
	if b.EndTime != nil {
		p.to = nanos(*b.EndTime)
	}
	switch {
	case p.from >= p.to:
		return &InvalidError{"selection.start_time", "The start must be before the end."}
	case b.Column == "" && (b.Min != nil || b.Max != nil):
		return &InvalidError{"selection.column", "Name the column that min and max bound."}
	case b.Column != "" && b.Min == nil && b.Max == nil:
		return &InvalidError{"selection.min", "Give min, max or both: the numbers of the column that are selected."}
	case b.Min != nil && b.Max != nil && *b.Min >= *b.Max:
		return &InvalidError{"selection.min", "The least number must be below max, which is not selected itself."}
	case b.Column == "" && b.StartTime == nil && b.EndTime == nil:
		return &InvalidError{"selection", "The box is empty: give a time, or a column with min or max."}
	}
	for _, bound := range []struct {
		op    string
		value *float64
	}{{">=", b.Min}, {"<", b.Max}} {
		if bound.value == nil {
			continue
		}
		f, err := compileFilter(Filter{Column: b.Column, Op: bound.op, Value: *bound.value}, "selection")
		if err != nil {
			return err
		}
		p.filters = append(p.filters, f)
	}
	return nil
}
