// Package graph answers what caused a span and what a span caused, across
// traces: the causal graph over the rows of the span store.
//
// Inside a trace it walks parents. Where a span was caused from elsewhere (it
// carries a link, its parent never arrived, it stands in a batch of messages),
// the walk crosses to the trace of the cause and goes on there, any number of
// times, until it reaches spans that nothing caused. Forward it is the same
// graph turned round: a span belongs to a thread exactly if its own walk back
// would reach the thread's origin. shape.go says what the spans of real
// libraries look like, causes.go which causes a span has.
//
// # Edges across traces
//
// What one span tells of its edges are its halves ([Half]), found by a table of
// rules (rules.go) when it arrives and, by the same rules, whenever it is read.
// A recorded half names its cause: a link, in any of the forms that senders have
// for it, or the trace of the cause. A half with a key has an id in common with
// its other end: of a message, a job, a request, or of what the settings say.
// The edge index ([EdgeSource]) keeps both sorts, by the trace of the cause, by
// the trace of the effect and by key; either end may come first, and halves
// outlive the spans, as the summaries of traces do.
//
// Nothing is guessed: what the sender recorded outranks what ids say, which is
// marked as inferred; an id that is only unique in its queue counts within that
// queue; of several possible causes all are candidates (join.go).
//
// # Large threads
//
// Up to [Options].MaxTraceSpans spans of a trace are read (in a larger one, also
// what leads to the span asked about), and of more than FoldAbove effects of one
// kind a few; the others are counted from their summaries ([Fold]). What does
// not even count says that it was cut.
//
// A [Graph] has no state but its rules and takes no locks; every answer reads the
// [Source] as it is at that moment and is bounded by [Options].
package graph

import (
	"context"
	"errors"
	"sync/atomic"

	"redthread/tracestore/trace"
)

// ErrNotFound is a trace or span that the source knows nothing about.
var ErrNotFound = errors.New("graph: not found")

// Options bound the answers of a [Graph]. Zero values take the defaults.
type Options struct {
	// MaxTraceSpans is how many spans of one trace are read (default 120,000: a
	// request that enqueued 100,000 jobs one by one fits, and takes about 60 MB
	// while it is walked).
	MaxTraceSpans int
	// MaxReads is how many traces one origin may pass through (default 4,096:
	// chains of a thousand hops and batches of a thousand messages fit).
	MaxReads int
	// MaxNodes is how many traces a thread shows (default 2,000).
	MaxNodes int
	// MaxThreadSpans is how many spans a thread reads in all (default 250,000).
	MaxThreadSpans int
	// MaxLinks is how many effects of one trace are read (default 250,000, of 48
	// bytes each).
	MaxLinks int
	// FoldAbove is how many effects of one leg in other traces are read; of more
	// that have one service and name a few are read and the others counted from
	// their summaries, see [Fold] (default 200).
	FoldAbove int
	// MaxFolded is how many traces of a thread are counted so (default 1,000,000:
	// about 40 bytes each while the thread is read).
	MaxFolded int
	// MaxLegs is how many legs a thread lists (default 20,000).
	MaxLegs int
	// MaxEnds is how many spans of the other side an id is joined to: an id that
	// more share names none of them (default 1,000).
	MaxEnds int
	// Rules find the ends of edges in spans; nil: those without correlations.
	// They have to be the rules of the edge index. See [Graph.UseRules].
	Rules *Rules
	// Workers is how many traces are read at once (default 4).
	Workers int
}

// Graph answers questions about causes and effects. Its methods may be called
// from several goroutines.
type Graph struct {
	src   Source
	edges EdgeSource // nil if the source has no whole edge index
	o     Options
	rules atomic.Pointer[Rules]
}

// New returns a graph over the source.
func New(src Source, o Options) *Graph {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&o.MaxTraceSpans, 120_000)
	set(&o.MaxReads, 4096)
	set(&o.MaxNodes, 2000)
	set(&o.MaxThreadSpans, 250_000)
	set(&o.MaxLinks, 250_000)
	set(&o.FoldAbove, 200)
	set(&o.MaxFolded, 1_000_000)
	set(&o.MaxLegs, 20_000)
	set(&o.MaxEnds, 1000)
	set(&o.Workers, 4)
	g := &Graph{src: src, o: o}
	g.UseRules(o.Rules)
	g.edges, _ = src.(EdgeSource)
	return g
}

// UseRules has questions from now on answered by other rules, which have to be
// those of the edge index; nil: those without correlations.
func (g *Graph) UseRules(rules *Rules) {
	if rules == nil {
		rules = defaultRules
	}
	g.rules.Store(rules)
}

// Rules are the rules that questions are answered by.
func (g *Graph) Rules() *Rules { return g.rules.Load() }

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

// Link is one recorded entry of the edge index: the span To says that From
// (usually a producer) caused it.
type Link struct {
	From trace.Ref // the cause; without a span id if only its trace was recorded
	To   trace.Ref // the span that says so: the effect
}

// Summary is what stays known of a trace after its spans are gone.
type Summary struct {
	TraceID trace.ID
	SpanID  trace.SpanID // the root, or the earliest span
	Root    bool         // whether SpanID is a true root
	// RootStartUnixNano is when SpanID started.
	RootStartUnixNano int64
	Service           string
	Name              string
	Route             string
	Kind              trace.Kind
	Environment       string
	StartUnixNano     int64
	DurationNano      int64
	Spans             int
	Errors            int
	// Caused says that the root is the receipt of messages or the run of a job,
	// whatever its kind, and not begun by a clock: something caused it.
	Caused bool
	// Run says that the span SpanID is one run of a job.
	Run bool
	// Batch says that the span SpanID, a root, is the receipt of a batch as kafkajs
	// writes it: without a link, which the spans of the messages right below it have,
	// each of them, and nothing else in the trace says of causes of its own. Of a trace
	// between whose spans a flush came it is not said.
	Batch bool
	// Messages, Jobs and Requests count producer spans, runs of jobs and server
	// spans, for threads whose traces are too many to be read. A run that two spans
	// tell of counts once, for the trace of which a span came first, see [Runs]; it
	// counts twice if two flushes came between them, or a flush and a start.
	Messages, Jobs, Requests int
	// Kept are those attributes of the span SpanID that the settings keep, see
	// [DefaultKept]; of a trace that nothing caused, what that span does not say is
	// taken from the first span of its service that does: frameworks put the user on
	// the handler of a route, inside the span of the server. Where a flush came between
	// the spans of a trace, each part knows those of the service that its own first span
	// has. A value is text of at most [MaxKeptBytes].
	Kept []trace.Attribute
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

// EdgeSource is a [Source] with a whole edge index. A graph over a mere Source
// knows parents, links and batches, and nothing of what ids join or of what
// caused a trace whose spans are gone.
type EdgeSource interface {
	Source
	// Ends returns the halves on a side that have one of the keys, at most limit
	// of each; a half that stands on both sides is on either. They outlive the
	// spans.
	Ends(ctx context.Context, side Side, keys []Key, limit int) (ends []Half, truncated bool, err error)
	// Causes returns the halves on the effect side of the spans of some traces, at
	// most limit in all. They outlive the spans.
	Causes(ctx context.Context, ids []trace.ID, limit int) (halves []Half, truncated bool, err error)
	// Summaries is TraceSummary for many traces: in their order, without a trace
	// id where nothing is known.
	Summaries(ctx context.Context, ids []trace.ID) ([]Summary, error)
	// SpansOf returns spans by their ids, in any order; those that are not there
	// are left out. It is asked for spans of traces too large to be read whole.
	SpansOf(ctx context.Context, refs []trace.Ref) ([]trace.Span, error)
	// EffectsOf is Effects for many traces, at most limit in all.
	EffectsOf(ctx context.Context, ids []trace.ID, limit int) (links []Link, truncated bool, err error)
}

// WindowSource is an [EdgeSource] that can be asked for all traces of a time.
type WindowSource interface {
	EdgeSource
	// SummariesBetween calls fn with each trace that starts in from ≤ t < to, once,
	// in no order, some at a time, and with how many may follow at most. fn must not
	// keep the summaries; its error ends the walk.
	SummariesBetween(ctx context.Context, from, to int64, fn func(sums []Summary, left int) error) error
}

// KeySource is an [EdgeSource] that can tell cheaply which ids say nothing: most
// requests have one that nobody else has.
type KeySource interface {
	EdgeSource
	// Shared leaves of some keys those that more than one half may have, in order.
	Shared(ctx context.Context, keys []Key) ([]Key, error)
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
	// TooMany is that more spans than [Options.MaxEnds] share the value of a correlation.
	TooMany = "too_many"
	// Cut is not about the data: the chain is longer than [Options.MaxReads].
	Cut = "cut"
)

// Origin answers "what caused this?" (DESIGN.md §6 and §8). Hops run from the
// origin to the span; when ambiguous they are the tail all candidates share.
type Origin struct {
	Status     Status       `json:"status"`
	Reason     string       `json:"reason"`
	Incomplete bool         `json:"incomplete"`
	Expired    bool         `json:"expired"`
	Origins    []OriginSpan `json:"origins"`
	// Candidates are, while the status is unknown, the beginnings of those
	// branches that are known; the true one may be missing.
	Candidates []OriginSpan `json:"candidates"`
	Furthest   *OriginSpan  `json:"furthest"`
	Hops       []Edge       `json:"hops"`
	Truncated  bool         `json:"truncated"`
	// Links says, of a batch on the way whose sender dropped links, how many
	// there were; nil if none were dropped.
	Links *LinkCount `json:"links,omitempty"`

	// Circle says that the way back has no end: it leads round.
	Circle bool `json:"circle,omitempty"`
}

// LinkCount says what became of the links of a span that had more than its SDK
// keeps.
type LinkCount struct {
	Of       SpanInfo `json:"of"`
	Recorded int      `json:"recorded"`
	Dropped  int      `json:"dropped"`
	Inferred int      `json:"inferred"` // of the dropped, those that ids brought back
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

// Ripple measures a thread: what the origin set off, itself included. What may be
// other threads' too, as work on a batch of messages of several, is counted whole
// for each of them, and Shared says so: then the measures are an upper bound, and
// those of several threads add up to more than there was.
type Ripple struct {
	Traces         int   `json:"traces"`
	Spans          int   `json:"spans"`
	Messages       int   `json:"messages"` // producer spans
	Jobs           int   `json:"jobs"`     // runs of jobs
	Requests       int   `json:"requests"` // server spans without the origin
	Errors         int   `json:"errors"`
	BusyNano       int64 `json:"busy_nano,string"`              // from the start to the end of each trace, added up
	WaitingNano    int64 `json:"waiting_nano,string,omitempty"` // known of a thread that was read: summaries do not tell it
	LastEffectNano int64 `json:"last_effect_nano,string"`
	Cut            bool  `json:"cut"`    // more was there than was counted
	Shared         int   `json:"shared"` // of the traces, those with work that may be of other threads
}

// Thread is an origin and everything it set off: traces as nodes, the edges
// between them, and within and between the traces the legs. Origin is nil when
// it is ambiguous (see Candidates) or unknown; the thread then starts at Start,
// the earliest trace that all of it shares.
type Thread struct {
	Origin     *OriginSpan  `json:"origin"`
	Status     Status       `json:"status"`
	Reason     string       `json:"reason"`
	Start      *OriginSpan  `json:"start"`
	Candidates []OriginSpan `json:"candidates"`
	Nodes      []Node       `json:"nodes"`
	Edges      []Edge       `json:"edges"`
	Legs       []Leg        `json:"legs"`
	Folds      []Fold       `json:"folds"`
	Selected   int          `json:"selected"` // the leg of the span asked about, -1 if it is in none
	Ripple     Ripple       `json:"ripple"`   // of all, folded traces by their summaries
	Folded     int          `json:"folded"`   // traces that are counted and not among the nodes
	// Truncated says that nodes, edges and legs are not all of the thread: some
	// are folded, or Cut.
	Truncated bool `json:"truncated"`
	// Cut says that more was there than is even counted, Cuts what of it.
	Cut  bool   `json:"cut"`
	Cuts []Part `json:"cuts"`
	// Incomplete, Expired and Links are those of the way back, as in [Origin];
	// Circle says that it leads round in a circle.
	Incomplete bool       `json:"incomplete"`
	Expired    bool       `json:"expired"`
	Circle     bool       `json:"circle"`
	Links      *LinkCount `json:"links,omitempty"`
	Loops      []Loop     `json:"loops"`
	Ends       []End      `json:"ends"`
	// Critical is the way to the last effect, see [Step].
	Critical []Step `json:"critical"`
}

// Work says what a leg does.
type Work string

// The works.
const (
	WorkRequest Work = "request" // a server span
	WorkMessage Work = "message" // the handling of a message, or of a batch of them
	WorkJob     Work = "job"     // one run of a job
	WorkOther   Work = "other"   // a root that is none of these: a script, a cron tick, a client
)

// Leg is the way between two hops: one request, the handling of one message, or
// one run of a job, with the spans that its own process added. A workload gives
// the same legs whether its senders record parents or links, so they are what
// the picture of a thread is drawn from. Legs stand after their cause, those of
// one cause by their start, each before what it caused.
type Leg struct {
	SpanInfo            // its first span
	Kind     trace.Kind `json:"kind"`
	Work     Work       `json:"work"`
	Cause    int        `json:"cause"` // index of the leg that caused it, -1 for the first
	From     SpanInfo   `json:"from"`  // the span there that caused it
	By       Kind       `json:"by"`    // how that is known; "" for the first
	Rule     string     `json:"rule"`
	Inferred bool       `json:"inferred"`
	Topic    string     `json:"topic"` // topic, queue or job class it came by, or ""
	Depth    int        `json:"depth"`
	// Attempt counts from 1 where a message or job was handled several times by
	// one service, Attempts is how often; 0 where it was not, or has no id.
	// FirstAttempt is the leg that was the first, -1 where there are no others.
	Attempt       int   `json:"attempt"`
	Attempts      int   `json:"attempts"`
	FirstAttempt  int   `json:"first_attempt"`
	Spans         int   `json:"spans"`
	Errors        int   `json:"errors"`
	WaitNano      int64 `json:"wait_nano,string"`
	StartUnixNano int64 `json:"start_unix_nano,string"` // as sent
	// SkewNano is how much later its clock has to be drawn, so that it does not
	// begin before the span that caused it: an effect never does. 0 if none.
	SkewNano     int64 `json:"skew_nano,string"`
	DurationNano int64 `json:"duration_nano,string"` // to the end of its last span
	BusyNano     int64 `json:"busy_nano,string"`     // time covered by its spans
	// Batch is how many spans caused it, if several: the messages of a batch.
	// BatchHere of them are in this thread.
	Batch     int `json:"batch"`
	BatchHere int `json:"batch_here"`
	// Messages is how many messages of this thread a leg that handles messages took:
	// those of its batch, or 1. 0 for other work.
	Messages int `json:"messages"`
	// Shared says that this is work on a batch, or follows from it, some of whose
	// messages are of other threads: it may be theirs.
	Shared  bool       `json:"shared,omitempty"`
	Links   *LinkCount `json:"links,omitempty"` // if its sender dropped links
	Expired bool       `json:"expired"`         // its spans are gone: this is what the summary of its trace says
	Fold    int        `json:"fold"`            // the fold that counts it too, -1 if none does
}

// Cause is one cause of a span in another trace, as far as it is known.
type Cause struct {
	To            trace.Ref // the span that was caused
	Edge          Edge
	Known         bool   // whether the causing span is there
	Reason        string // why it is not
	StartUnixNano int64  // of the causing span
	RootService   string // of the causing trace, when known
	RootName      string
}

// Effect is what one span caused in other traces: spans of one service and
// name, counted.
type Effect struct {
	From               trace.SpanID // the causing span, of the trace asked about
	Service            string
	Name               string
	Kind               trace.Kind
	Work               Work
	Count              int
	Errors             int       // how many of them failed
	First              trace.Ref // the earliest
	FirstStartUnixNano int64
	MaxWaitNano        int64
}

// Neighbours are the next causes and effects of a trace, for its page.
type Neighbours struct {
	Origin  *Origin  // of the trace's root
	Causes  []Cause  // by the start of the caused span
	Effects []Effect // by causing span's start, then by count
	Caused  int      // spans caused in other traces, in all
	Traces  int      // other traces they are in
	// Truncated says that there are more effects than were read.
	Truncated bool
}
