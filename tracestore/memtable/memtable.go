// Package memtable holds the newest rows in memory, by column, until they are
// written to a segment.
//
// One goroutine writes: it calls [Table.AddRow] for each row and [Table.Publish]
// after each message of the log. Readers call the other methods from any
// goroutine; what they get is immutable and ends at the watermark of the last
// Publish. Writer and readers never wait for each other, but for the short lock
// over the index of traces and links.
//
// A table is a list of chunks of at most column.MaxBlockRows rows. Each has its
// own dictionaries (byte arenas with offsets: nothing for the garbage collector
// to scan) and becomes one row group of a segment, row for row.
//
// Memory per row is about 0.45 KB (reference measurement, 18 attributes a row).
package memtable

import (
	"fmt"
	"strings"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Table is one memtable.
type Table struct {
	// writer only
	current *chunk
	rows    int
	recent  *Recent
	prints  []uint64 // fingerprint of each row
	links   []graph.Link

	chunks atomic.Pointer[[]*chunk]
	bytes  atomic.Int64
	shown  atomic.Int64

	index index
}

// defaultRecent is how many rows a table on its own remembers.
const defaultRecent = 16 << 10

// New returns an empty table that drops the rows it has had lately.
func New() *Table { return NewAfter(nil, NewRecent(defaultRecent)) }

// NewAfter returns an empty table that drops the rows recent has already, and adds
// its own there. It makes room for as much as the table before it, if there is
// one, held in its last chunk.
func NewAfter(before *Table, recent *Recent) *Table {
	var expect *sizes
	if before != nil {
		expect = before.current.sizes()
		if chunks := *before.chunks.Load(); expect == nil && len(chunks) > 1 {
			expect = chunks[len(chunks)-2].sizes()
		}
	}
	t := &Table{current: newChunk(expect), recent: recent}
	t.chunks.Store(&[]*chunk{t.current})
	return t
}

// AddRow appends a row unless one with its hash was added lately, which it reports
// by false. The hash is the row's own ([column.Row.Hash]) or another that tells it
// from others. The row is not kept, and not visible before [Table.Publish].
func (t *Table) AddRow(r *column.Row, hash uint64) (bool, error) {
	if !t.recent.Add(hash, column.TraceHash(r.TraceID)) {
		return false, nil
	}
	if t.current.rows() == column.MaxBlockRows {
		t.current.publish()
		t.current = newChunk(t.current.sizes())
		chunks := append([]*chunk(nil), *t.chunks.Load()...)
		chunks = append(chunks, t.current)
		t.chunks.Store(&chunks)
	}
	if err := t.current.add(r); err != nil {
		return false, fmt.Errorf("memtable: add row: %w", err)
	}
	for i := range r.Links {
		t.links = append(t.links, graph.Link{
			From: trace.Ref{TraceID: r.Links[i].TraceID, SpanID: r.Links[i].SpanID},
			To:   r.Ref(),
		})
	}
	t.prints = append(t.prints, hash)
	t.rows++
	return true, nil
}

// Add is AddRow for a whole span.
func (t *Table) Add(s *trace.Span, hash uint64) (bool, error) {
	return t.AddRow(column.NewRow(s), hash)
}

// Publish makes all rows added so far visible.
func (t *Table) Publish() {
	shown := int(t.shown.Load())
	if t.rows == shown {
		return
	}
	t.current.publish()
	t.index.mu.Lock()
	for chunks := *t.chunks.Load(); shown < t.rows; {
		n := shown / column.MaxBlockRows
		base := n * column.MaxBlockRows
		to := min(t.rows, base+column.MaxBlockRows)
		t.index.addRows(&chunks[n].fixed, base, shown-base, to-base)
		shown = to
	}
	t.index.addLinks(t.links)
	t.index.mu.Unlock()
	t.links = t.links[:0]
	t.shown.Store(int64(t.rows))
}

// Measure counts the memory that the table holds. The writer calls it.
func (t *Table) Measure() int64 {
	var sum int64
	for _, c := range *t.chunks.Load() {
		sum += c.bytes()
	}
	sum += 8*int64(cap(t.prints)) + linkBytes*int64(cap(t.links)) + t.index.bytes()
	t.bytes.Store(sum)
	return sum
}

// Bytes is the last measure.
func (t *Table) Bytes() int64 { return t.bytes.Load() }

// Rows is the number of visible rows.
func (t *Table) Rows() int { return int(t.shown.Load()) }

// Fingerprints returns the fingerprint of each row, in order. Only for a table
// that is not written any more.
func (t *Table) Fingerprints() []uint64 { return t.prints }

// Blocks returns the visible rows.
func (t *Table) Blocks() []column.Source {
	chunks := *t.chunks.Load()
	out := make([]column.Source, 0, len(chunks))
	for _, c := range chunks {
		if v := c.view.Load(); v.n > 0 {
			out = append(out, block{c, v})
		}
	}
	return out
}

// TraceSpans returns the visible rows of a trace in the order of arrival, at
// most limit of them; truncated says there are more.
func (t *Table) TraceSpans(id trace.ID, limit int) (spans []trace.Span, truncated bool, err error) {
	rows, truncated := t.index.traceRows(id, limit)
	if len(rows) == 0 {
		return nil, false, nil
	}
	blocks := t.Blocks()
	for i := len(rows) - 1; i >= 0; i-- {
		b := blocks[rows[i]/column.MaxBlockRows]
		spans, err = b.Spans([]int{int(rows[i] % column.MaxBlockRows)}, spans)
		if err != nil {
			return nil, false, err
		}
	}
	return spans, truncated, nil
}

// Effects returns the links whose target is a span of the trace, at most limit.
func (t *Table) Effects(id trace.ID, limit int) (links []graph.Link, truncated bool) {
	return t.index.effects(id, limit)
}

// Summary returns what the table knows of a trace.
func (t *Table) Summary(id trace.ID) (graph.Summary, bool) {
	e, ok := t.index.trace(id)
	if !ok {
		return graph.Summary{}, false
	}
	sum := summarise(&e, rootBlock(t.Blocks()[e.root.row/column.MaxBlockRows]))
	sum.Service, sum.Name = strings.Clone(sum.Service), strings.Clone(sum.Name)
	sum.Route, sum.Environment = strings.Clone(sum.Route), strings.Clone(sum.Environment)
	return sum, true
}

// Summaries returns the summaries of all traces in no order. Their strings alias
// the table.
func (t *Table) Summaries() []graph.Summary {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	var blocks []roots
	for _, b := range t.Blocks() {
		blocks = append(blocks, rootBlock(b))
	}
	out := make([]graph.Summary, 0, len(t.index.entries))
	for i := range t.index.entries {
		if e := &t.index.entries[i]; e.spans > 0 {
			out = append(out, summarise(e, blocks[e.root.row/column.MaxBlockRows]))
		}
	}
	return out
}

// roots is a block with what a summary needs of its rows.
type roots struct {
	block
	routes []*attribute // http.route, by type
}

func rootBlock(b column.Source) roots {
	r := roots{block: b.(block)}
	for _, a := range r.v.all {
		if a.key == "http.route" {
			r.routes = append(r.routes, a)
		}
	}
	return r
}

// summarise joins what the index knows of a trace with what its root says. The
// strings alias the block.
func summarise(e *traceEntry, b roots) graph.Summary {
	row, f := int(e.root.row%column.MaxBlockRows), &b.v.fixed
	sum := graph.Summary{
		TraceID: e.id, SpanID: e.root.span, Root: e.root.isRoot, Kind: trace.Kind(f.kind[row]),
		Service: b.v.service.At(f.service[row]), Name: b.v.name.At(f.name[row]), Environment: b.v.environment.At(f.environment[row]),
		StartUnixNano: e.start, DurationNano: e.end - e.start,
		Spans: int(e.spans), Errors: int(e.errors),
	}
	for _, a := range b.routes {
		if v := b.value(a, row); v.Type != trace.TypeNone {
			sum.Route = v.Text()
		}
	}
	return sum
}

// Links returns all links in the order of arrival.
func (t *Table) Links() []graph.Link {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	return t.index.links[:len(t.index.links):len(t.index.links)]
}
