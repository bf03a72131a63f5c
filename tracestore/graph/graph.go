// Package graph answers what caused a span and what a span caused, across
// traces: the causal graph over the rows of the span store.
package graph

import (
	"context"

	"redthread/tracestore/trace"
)

// Kind says what sort of record joins a cause and its effect.
type Kind string

// The kinds of DESIGN.md §6.
const (
	KindParent     Kind = "parent"
	KindLink       Kind = "link"
	KindChildTrace Kind = "child_trace"
	KindBatch      Kind = "batch"
	KindMessageID  Kind = "message_id"
	KindRequestID  Kind = "request_id"
	KindAttribute  Kind = "attribute"
)

// Link is one entry of the edge index: the span To carries a link to From, so
// From (usually a producer) caused To.
type Link struct {
	From trace.Ref // the link's target: the cause
	To   trace.Ref // the span that carries the link: the effect
}

// Summary is what stays known of a trace after its spans are gone.
type Summary struct {
	TraceID       trace.ID
	SpanID        trace.SpanID // the root, or the earliest span
	Root          bool         // whether SpanID is a true root
	Service       string
	Name          string
	Route         string
	Kind          trace.Kind
	Environment   string
	StartUnixNano int64
	DurationNano  int64
	Spans         int
	Errors        int
}

// Source is the store as the graph sees it. Every method may be called from
// several goroutines; an id that is not there is an empty answer, not an error.
type Source interface {
	// TraceSpans returns the spans of a trace, at most limit of them, by start.
	TraceSpans(ctx context.Context, id trace.ID, limit int) (spans []trace.Span, truncated bool, err error)
	// Effects returns the links whose target is a span of the trace.
	Effects(ctx context.Context, id trace.ID, limit int) (links []Link, truncated bool, err error)
	// TraceSummary returns what is known of a trace, or false.
	TraceSummary(ctx context.Context, id trace.ID) (Summary, bool, error)
}

// SpanInfo names a span to a person.
type SpanInfo struct {
	trace.Ref
	Service string `json:"service"`
	Name    string `json:"name"`
}

// OriginSpan is a span where a chain begins.
type OriginSpan struct {
	SpanInfo
	StartUnixNano int64 `json:"start_unix_nano,string"`
}

// Edge is one hop: From caused To. WaitNano runs from the end of the producer to
// the start of the consumer and is never negative.
type Edge struct {
	From     SpanInfo `json:"from"`
	To       SpanInfo `json:"to"`
	Kind     Kind     `json:"kind"`
	Rule     string   `json:"rule"`
	Inferred bool     `json:"inferred"`
	WaitNano int64    `json:"wait_nano,string"`
}

// Status of an origin.
type Status string

// The statuses of an origin.
const (
	Found     Status = "found"
	Ambiguous Status = "ambiguous"
	Unknown   Status = "unknown"
)

// Reasons why an origin is unknown.
const (
	NotArrived   = "not_arrived"
	SampledOut   = "sampled_out"
	LinksDropped = "links_dropped"
	NotRecorded  = "not_recorded"
	Expired      = "expired"
)

// Origin answers "what caused this?" (DESIGN.md §6 and §8). Hops run from the
// origin to the span; when ambiguous they are the tail all candidates share.
type Origin struct {
	Status     Status       `json:"status"`
	Reason     string       `json:"reason"`
	Incomplete bool         `json:"incomplete"`
	Expired    bool         `json:"expired"`
	Origins    []OriginSpan `json:"origins"`
	Furthest   *OriginSpan  `json:"furthest"`
	Hops       []Edge       `json:"hops"`
	Truncated  bool         `json:"truncated"`
}

// Node is one trace of a thread.
type Node struct {
	TraceID       trace.ID     `json:"trace_id"`
	SpanID        trace.SpanID `json:"span_id"` // its root, or earliest span
	Service       string       `json:"service"`
	Name          string       `json:"name"`
	Kind          trace.Kind   `json:"kind"`
	StartUnixNano int64        `json:"start_unix_nano,string"`
	DurationNano  int64        `json:"duration_nano,string"`
	Spans         int          `json:"spans"`
	Errors        int          `json:"errors"`
}

// Ripple measures a thread: what the origin set off.
type Ripple struct {
	Traces         int   `json:"traces"`
	Messages       int   `json:"messages"` // producer spans
	Jobs           int   `json:"jobs"`     // runs of jobs
	Requests       int   `json:"requests"` // server spans without the origin
	Errors         int   `json:"errors"`
	BusyNano       int64 `json:"busy_nano,string"`
	WaitingNano    int64 `json:"waiting_nano,string"`
	LastEffectNano int64 `json:"last_effect_nano,string"`
}

// Thread is an origin and everything it set off.
type Thread struct {
	Origin     *OriginSpan  `json:"origin"`
	Candidates []OriginSpan `json:"candidates"`
	Nodes      []Node       `json:"nodes"`
	Edges      []Edge       `json:"edges"`
	Ripple     Ripple       `json:"ripple"`
	Truncated  bool         `json:"truncated"`
}
