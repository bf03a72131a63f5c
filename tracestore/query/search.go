package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Limits of a search.
const (
	MaxSearchRows    = 1_000
	maxSearchColumns = 100
)

// SearchPlan is a compiled search. It may be run any number of times and at once.
type SearchPlan struct {
	// Lease is the plan's place in a [Pool], for one run; nil: none.
	Lease *Lease
	// Threads is as in [Plan].
	Threads Threads

	where    where
	columns  []string
	scoped   []string // columns of other spans that the columns read
	slowest  bool
	perTrace bool
	limit    int
	after    *rowKey
	anywhere *anywhere     // nil: not asked for
	within   time.Duration // 0: no bound
}

// Window is as [Plan.Window].
func (p *SearchPlan) Window() (from, to int64) { return p.where.from, p.where.to }

// LooksAround is as [Plan.LooksAround].
func (p *SearchPlan) LooksAround() bool { return p.where.looksAround() || len(p.scoped) > 0 }

// CompileSearch checks the search and binds it to now. Errors are
// *[InvalidError].
func CompileSearch(s Search, now time.Time) (*SearchPlan, error) {
	p := &SearchPlan{columns: s.Columns, perTrace: s.PerTrace, limit: s.Limit, anywhere: newAnywhere(s.Anywhere), within: s.Within}
	if err := p.where.compile(s.Filters, s.FilterCombination, s.Environment, s.CalculatedFields); err != nil {
		return nil, err
	}
	if s.AnyTime && (s.TimeRange != nil || s.StartTime != nil || s.EndTime != nil) {
		return nil, &InvalidError{"any_time", "Leave out the times, or any_time: it means all of time."}
	}
	if s.AnyTime {
		p.where.from, p.where.to = minTime, maxTime
	} else {
		var err error
		if p.where.from, p.where.to, err = window(s.TimeRange, s.StartTime, s.EndTime, now); err != nil {
			return nil, err
		}
	}
	switch s.Order {
	case "", "newest":
	case "slowest":
		p.slowest = true
	default:
		return nil, &InvalidError{"order", fmt.Sprintf("Want newest or slowest, got %q.", s.Order)}
	}
	if p.limit == 0 {
		p.limit = DefaultLimit
	}
	if p.limit < 1 || p.limit > MaxSearchRows {
		return nil, &InvalidError{"limit", fmt.Sprintf("Want 1 to %d.", MaxSearchRows)}
	}
	if len(p.columns) > maxSearchColumns {
		return nil, &InvalidError{"columns", fmt.Sprintf("At most %d.", maxSearchColumns)}
	}
	for i, name := range p.columns {
		if err := checkColumn(fmt.Sprintf("columns[%d]", i), name); err != nil {
			return nil, err
		}
	}
	if err := p.where.look(append(p.where.columns(), p.columns...)); err != nil {
		return nil, err
	}
	// The rows of a page are looked around when they are found.
	p.scoped = scopedOf(p.where.fields.reads(p.columns))
	p.where.scoped = scopedOf(p.where.fields.reads(p.where.columns()))
	if s.After != "" {
		key, err := parseRowKey(s.After)
		if err != nil || s.PerTrace {
			return nil, &InvalidError{"after", "Want the next of an earlier page of this same search."}
		}
		p.after = &key
	}
	return p, nil
}

// rowKey places a row in the order of a search: the greater Rank first, then by
// identity, so that pages neither repeat nor leave out a row.
type rowKey struct {
	Rank    int64        `json:"r"` // start, or duration
	Trace   trace.ID     `json:"t"`
	Span    trace.SpanID `json:"s"`
	Kind    int64        `json:"k"`
	Service string       `json:"v"`
}

func (k *rowKey) compare(o *rowKey) int {
	if c := cmp.Compare(o.Rank, k.Rank); c != 0 {
		return c
	}
	if c := bytes.Compare(k.Trace[:], o.Trace[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(k.Span[:], o.Span[:]); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Kind, o.Kind); c != 0 {
		return c
	}
	return strings.Compare(k.Service, o.Service)
}

func (k *rowKey) String() string {
	b, err := json.Marshal(k)
	if err != nil { // ids, numbers and a string always marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseRowKey(s string) (k rowKey, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	return k, err
}

// found is a row with its place. Of few rows of a block the whole span is read
// at once, of many only what places them.
type found struct {
	key  rowKey
	view *view
	row  int32
	span *trace.Span // nil: not read
}

// maxWhole is up to how many rows of a block are read as whole spans: reading so
// few touches less than decoding columns does.
const maxWhole = 64

// firstRows keeps the first rows in order, at most limit and one more, which tells
// that there is a next page.
type firstRows struct {
	plan *SearchPlan

	mu   sync.Mutex
	best []found
}

// RunSearch finds the rows of one page, reading the blocks in parallel, the
// newest first, and no more of them than needed.
func RunSearch(ctx context.Context, p *SearchPlan, blocks []column.Block) (*SearchResult, error) {
	started := time.Now()
	live := p.where.live(blocks)
	slices.SortStableFunc(live, func(a, b column.Block) int { return cmp.Compare(p.most(b), p.most(a)) })
	var (
		pg = &firstRows{plan: p}
		mu sync.Mutex
		st Stats

		read []column.Block
		cut  bool // some block was not looked at, or not all of it
	)
	resolved, err := p.where.resolve(ctx, p.Threads, p.Lease, blocks, live, p.Lease.hold)
	if err != nil {
		return nil, err
	}
	if resolved != nil {
		of := *p
		of.where.resolved = resolved
		p, pg.plan = &of, &of
	}
	p.Lease.expect(live)
	limited := ctx
	if p.within > 0 {
		var done context.CancelFunc
		limited, done = context.WithTimeout(ctx, p.within)
		defer done()
	}
	err = p.Lease.eachBlock(limited, p.Lease.workers(len(live)), live, func(_ int, b column.Block) error {
		if pg.skips(b) {
			return nil
		}
		rows, matched, partly, err := p.searchBlock(limited, b, pg.bound())
		if err != nil {
			return err
		}
		pg.add(rows)
		mu.Lock()
		defer mu.Unlock()
		read, cut = append(read, b), cut || partly
		st.RowsScanned += int64(b.Rows())
		st.RowsMatched += int64(matched)
		return nil
	})
	if err != nil && errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil {
		cut, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	r := &SearchResult{Rows: []Row{}, Warnings: []string{}, Partial: cut}
	best := pg.best
	if len(best) > p.limit {
		best = best[:p.limit]
		if !p.perTrace {
			r.Next = best[p.limit-1].key.String()
		}
	}
	page, err := p.read(ctx, best, blocks)
	if err != nil {
		return nil, err
	}
	r.Rows = page.rows
	r.Warnings = append(r.Warnings, p.where.missing(append(p.where.columns(), p.columns...), inWindow(&p.where, blocks))...)
	r.Warnings = append(r.Warnings, resolved.told()...)
	for _, w := range page.resolved.told() {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
	st.Segments = segments(read)
	st.ElapsedNano = time.Since(started).Nanoseconds()
	r.Stats = st
	return r, nil
}

// most is a rank that no row of the block is above.
func (p *SearchPlan) most(b column.Block) int64 {
	if !p.slowest {
		_, newest := b.Bounds()
		return newest
	}
	st, ok := b.Stats(column.Duration, trace.TypeInt)
	if !ok || st.Min > st.Max || st.Max >= 1<<53 {
		return math.MaxInt64
	}
	return int64(st.Max)
}

// bound is the rank below which no row is wanted any more.
func (pg *firstRows) bound() int64 {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if len(pg.best) <= pg.plan.limit {
		return math.MinInt64
	}
	return pg.best[pg.plan.limit].key.Rank
}

// skips reports whether no row of the block can be on the page.
func (pg *firstRows) skips(b column.Block) bool {
	minStart, _ := b.Bounds()
	return pg.plan.most(b) < pg.bound() || !pg.plan.slowest && pg.plan.after != nil && minStart > pg.plan.after.Rank
}

func (pg *firstRows) add(rows []found) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.best = pg.plan.first(append(pg.best, rows...))
}

// first sorts rows and keeps those that can be on the page.
func (p *SearchPlan) first(rows []found) []found {
	slices.SortFunc(rows, func(a, b found) int { return a.key.compare(&b.key) })
	if p.perTrace {
		seen := make(map[trace.ID]bool, p.limit)
		rows = slices.DeleteFunc(rows, func(f found) bool {
			was := seen[f.key.Trace]
			seen[f.key.Trace] = true
			return was
		})
	}
	return rows[:min(len(rows), p.limit+1)]
}

// searchBlock returns the block's rows that can be on the page, given that rows
// ranked below bound cannot; cut says that ctx ended before the whole block was
// looked at.
func (p *SearchPlan) searchBlock(ctx context.Context, b column.Block, bound int64) (page []found, matched int, cut bool, err error) {
	v := p.where.view(ctx, b, p.Lease.hold)
	defer v.release()
	sel, err := p.where.choose(v)
	if err == nil && p.anywhere != nil {
		cut, err = p.anywhere.pick(ctx, v, sel)
	}
	if err != nil {
		return nil, 0, cut, err
	}
	matched = sel.count()
	if matched == 0 {
		return nil, 0, cut, nil
	}
	by := column.Start
	if p.slowest {
		by = column.Duration
	}
	ranks, err := v.fixed(by)
	if err != nil {
		return nil, 0, cut, err
	}
	rows := sel.bitmap()
	if p.after != nil {
		// Rows of the rank where the last page ended may follow its last row.
		between(ranks.Ints, math.MinInt64, p.after.Rank, rows)
	}
	for n := p.limit + 1; ; n *= 4 {
		first, all := firstRanks(rows, ranks.Ints, bound, n)
		if !all {
			enough, err := p.fillPage(v, ranks.Ints, first)
			if err != nil {
				return nil, 0, cut, err
			}
			if !enough {
				continue
			}
		}
		out, err := p.place(v, ranks, first)
		if err != nil {
			return nil, 0, cut, err
		}
		if p.after != nil {
			out = slices.DeleteFunc(out, func(f found) bool { return f.key.compare(p.after) <= 0 })
		}
		return p.first(out), matched, cut, nil
	}
}

// fillPage reports whether the rows fill a page and one more, whatever follows
// them.
func (p *SearchPlan) fillPage(v *view, ranks []int64, rows []int32) (bool, error) {
	n := len(rows)
	if p.after != nil {
		n = 0
		for _, row := range rows {
			n += int(b2u(ranks[row] < p.after.Rank)) // others may be of the last page
		}
	}
	if p.perTrace {
		var err error
		if n, err = v.countTraces(rows); err != nil {
			return false, err
		}
	}
	return n > p.limit, nil
}

// firstRanks returns the rows with the n greatest ranks, none below bound, and all
// others of the least of these ranks; all: there are no more rows of such a rank
// or a lower one.
func firstRanks(sel column.Bitmap, ranks []int64, bound int64, n int) (rows []int32, all bool) {
	all = true
	least, enough := bound, 4*n+64
	cut := func() {
		slices.SortFunc(rows, func(a, b int32) int { return cmp.Compare(ranks[b], ranks[a]) })
		if len(rows) < n {
			return
		}
		least = ranks[rows[n-1]]
		end := n
		for end < len(rows) && ranks[rows[end]] == least {
			end++
		}
		all = all && end == len(rows)
		rows = rows[:end]
		enough = max(enough, 2*end)
	}
	for w := len(sel) - 1; w >= 0; w-- { // the newest rows are likely last
		for word := sel[w]; word != 0; {
			b := bits.Len64(word) - 1
			word &^= 1 << b
			row := int32(w<<6 | b)
			switch rank := ranks[row]; {
			case rank >= least:
				if rows = append(rows, row); len(rows) >= enough {
					cut()
				}
			case rank >= bound:
				all = false
			}
		}
	}
	cut()
	return rows, all
}

// countTraces is the number of different traces of the rows.
func (v *view) countTraces(rows []int32) (int, error) {
	vec, err := v.fixed(column.TraceID)
	if err != nil {
		return 0, err
	}
	seen := make(map[trace.ID]bool)
	for _, row := range rows {
		seen[trace.ID(vec.Fixed[16*int(row):16*int(row)+16])] = true
	}
	return len(seen), nil
}

// place reads what places the rows.
func (p *SearchPlan) place(v *view, ranks *column.Vector, rows []int32) ([]found, error) {
	out := make([]found, len(rows))
	if len(rows) <= maxWhole {
		spans, err := v.spans(rows)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			s := &spans[i]
			out[i] = found{rowKey{ranks.Ints[row], s.TraceID, s.SpanID, int64(s.Kind), s.Service}, v, row, s}
		}
		return out, nil
	}
	keys, err := v.rowKeys(ranks, rows)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		out[i] = found{keys[i], v, row, nil}
	}
	return out, nil
}

// spans reads whole spans of rows in any order.
func (v *view) spans(rows []int32) ([]trace.Span, error) {
	inOrder := make([]int, len(rows))
	for i, row := range rows {
		inOrder[i] = int(row)
	}
	slices.Sort(inOrder)
	got, err := v.block.Spans(inOrder, make([]trace.Span, 0, len(rows)))
	if err != nil {
		return nil, err
	}
	out := make([]trace.Span, len(rows))
	for i, row := range rows {
		at, _ := slices.BinarySearch(inOrder, int(row))
		out[i] = got[at]
	}
	return out, nil
}

func (v *view) rowKeys(ranks *column.Vector, rows []int32) ([]rowKey, error) {
	var vecs [4]*column.Vector
	for i, name := range [...]string{column.TraceID, column.SpanID, column.Kind, column.Service} {
		vec, err := v.fixed(name)
		if err != nil {
			return nil, err
		}
		vecs[i] = vec
	}
	keys := make([]rowKey, len(rows))
	for i, r := range rows {
		k := &keys[i]
		k.Rank = ranks.Ints[r]
		copy(k.Trace[:], vecs[0].Fixed[16*int(r):])
		copy(k.Span[:], vecs[1].Fixed[8*int(r):])
		k.Kind = vecs[2].Ints[r]
		k.Service = strings.Clone(vecs[3].Value(int(r)).Str)
	}
	return keys, nil
}

// searchPage is the rows of a page, and what was found around them.
type searchPage struct {
	rows     []Row
	resolved *resolution
}

// lookAround finds what the columns ask of the spans around the rows of a page.
func (p *SearchPlan) lookAround(ctx context.Context, best []found, blocks []column.Block) (*resolution, error) {
	if len(p.scoped) == 0 {
		return nil, nil
	}
	w := &where{fields: p.where.fields, scoped: p.scoped, from: p.where.from, to: p.where.to}
	r := w.newResolution(p.Threads, p.Lease, blocks, p.Lease.hold)
	r.loose = true
	s := &seen{}
	for i := range best {
		s.add(r, best[i].span.TraceID, best[i].span.SpanID, best[i].span.ParentID)
		r.page = append(r.page, trace.Ref{TraceID: best[i].span.TraceID, SpanID: best[i].span.SpanID})
	}
	if err := r.take(s); err != nil {
		return nil, r.explain(err)
	}
	if err := r.lookUp(ctx); err != nil {
		return nil, r.explain(err)
	}
	return r, nil
}

// read makes rows of what was found, in order.
func (p *SearchPlan) read(ctx context.Context, best []found, blocks []column.Block) (*searchPage, error) {
	missing := make(map[*view][]int) // places in best without a span
	for i := range best {
		if best[i].span == nil {
			missing[best[i].view] = append(missing[best[i].view], i)
		}
	}
	for v, places := range missing {
		rows := make([]int32, len(places))
		for k, i := range places {
			rows[k] = best[i].row
		}
		spans, err := v.spans(rows)
		if err != nil {
			return nil, err
		}
		for k, i := range places {
			best[i].span = &spans[k]
		}
	}
	around, err := p.lookAround(ctx, best, blocks)
	if err != nil {
		return nil, err
	}
	out := make([]Row, len(best))
	for i := range best {
		s := best[i].span
		out[i] = Row{
			TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID,
			Name: s.Name, Service: s.Service, Environment: s.Environment, Kind: s.Kind, Error: s.Error,
			StartUnixNano: s.StartUnixNano, DurationNano: s.DurationNano,
			Values: make([]trace.Value, len(p.columns)),
		}
		if p.anywhere != nil {
			out[i].Column = p.anywhere.columnOf(s)
		}
		values := spanFields{fields: p.where.fields, span: s, around: around}
		for k, name := range p.columns {
			var err error
			if out[i].Values[k], err = values.value(name); err != nil {
				return nil, err
			}
		}
	}
	return &searchPage{out, around}, nil
}
