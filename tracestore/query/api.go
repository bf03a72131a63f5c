package query

import (
	"time"

	"redthread/tracestore/trace"
)

// InvalidError is a query that cannot be answered as written. Field names the
// part of the specification at fault ("filters[1].op"), Message is a sentence
// shown to the person.
type InvalidError struct{ Field, Message string }

// Error returns field and message.
func (e *InvalidError) Error() string {
	if e.Field == "" {
		return "query: " + e.Message
	}
	return "query: " + e.Field + ": " + e.Message
}

// Search asks for rows instead of aggregates: those that match the filters,
// newest first. The time window is as in [Spec], unless AnyTime is set.
type Search struct {
	Filters           []Filter          `json:"filters,omitempty"`
	FilterCombination string            `json:"filter_combination,omitempty"`
	CalculatedFields  []CalculatedField `json:"calculated_fields,omitempty"` // for filters and columns
	Environment       string            `json:"environment,omitempty"`
	TimeRange         *float64          `json:"time_range,omitempty"`
	StartTime         *float64          `json:"start_time,omitempty"`
	EndTime           *float64          `json:"end_time,omitempty"`
	AnyTime           bool              `json:"any_time,omitempty"`  // all of time; not beside a window
	Columns           []string          `json:"columns,omitempty"`   // further columns wanted of each row
	Order             string            `json:"order,omitempty"`     // newest (default) or slowest
	PerTrace          bool              `json:"per_trace,omitempty"` // only the first row, in that order, of each trace
	Limit             int               `json:"limit,omitempty"`     // 0: 100; at most MaxSearchRows
	After             string            `json:"after,omitempty"`     // Next of the page before

	// Anywhere keeps the rows that have this text as the value of some column. It is
	// for one box over all columns, however many there are, and needs no filter of
	// each. Within bounds how long to look, the newest rows first; 0: no bound.
	Anywhere string        `json:"-"`
	Within   time.Duration `json:"-"`
}

// SearchResult is one page of rows.
type SearchResult struct {
	Rows     []Row    `json:"rows"`
	Next     string   `json:"next"` // After of the next page; empty at the end, and always with PerTrace
	Warnings []string `json:"warnings"`
	Stats    Stats    `json:"stats"`
	Partial  bool     `json:"-"` // Within was over before all rows were looked at
}

// Row is one row found by a [Search].
type Row struct {
	TraceID       trace.ID      `json:"trace_id"`
	SpanID        trace.SpanID  `json:"span_id"`
	ParentID      trace.SpanID  `json:"parent_span_id"`
	Name          string        `json:"name"`
	Service       string        `json:"service"`
	Environment   string        `json:"environment"`
	Kind          trace.Kind    `json:"kind"`
	Error         bool          `json:"error"`
	StartUnixNano int64         `json:"start_unix_nano,string"`
	DurationNano  int64         `json:"duration_nano,string"`
	Values        []trace.Value `json:"values"` // one for each of Search.Columns; the zero Value where missing
	Column        string        `json:"-"`      // the one that has the text of Search.Anywhere
}

// ColumnInfo describes one column for completion.
type ColumnInfo struct {
	Name     string       `json:"name"`
	Types    []string     `json:"types"`
	Rows     int64        `json:"rows"`           // rows that have a value
	Distinct int64        `json:"distinct"`       // an estimate
	Top      []ValueCount `json:"top"`            // most frequent first
	Note     string       `json:"note,omitempty"` // what it means, of those that no sender has
}

// ValueCount is a value and the number of rows that have it.
type ValueCount struct {
	Value trace.Value `json:"value"`
	Rows  int64       `json:"rows"`
}
