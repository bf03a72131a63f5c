package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
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
	where    where
	columns  []string
	slowest  bool
	perTrace bool
	limit    int
	after    *rowKey
}

// Window is as [Plan.Window].
func (p *SearchPlan) Window() (from, to int64) { return p.where.from, p.where.to }

// CompileSearch checks the search and binds it to now. Errors are
// *[InvalidError].
func CompileSearch(s Search, now time.Time) (*SearchPlan, error) {
	p := &SearchPlan{columns: s.Columns, perTrace: s.PerTrace, limit: s.Limit}
	if err := p.where.compile(s.Filters, s.FilterCombination, s.Environment); err != nil {
		return nil, err
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

// found is a row with its place.
type found struct {
	key  rowKey
	view *view
	row  int32
}

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
	slices.SortStableFunc(live, func(a, b column.Block) int {
		_, x := a.Bounds()
		_, y := b.Bounds()
		return cmp.Compare(y, x)
	})
	var (
		pg = &firstRows{plan: p}
		mu sync.Mutex
		st Stats
	)
	err := eachBlock(ctx, max(1, min(runtime.GOMAXPROCS(0), len(live))), live, func(_ int, b column.Block) error {
		if pg.skips(b) {
			return nil
		}
		rows, matched, err := p.searchBlock(b, pg.bound())
		if err != nil {
			return err
		}
		pg.add(rows)
		mu.Lock()
		defer mu.Unlock()
		st.Segments++
		st.RowsScanned += int64(b.Rows())
		st.RowsMatched += int64(matched)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &SearchResult{Rows: []Row{}, Warnings: []string{}}
	best := pg.best
	if len(best) > p.limit {
		best = best[:p.limit]
		if !p.perTrace {
			r.Next = best[p.limit-1].key.String()
		}
	}
	if r.Rows, err = p.read(best); err != nil {
		return nil, err
	}
	r.Warnings = append(r.Warnings, missing(append(p.where.columns(), p.columns...), inWindow(&p.where, blocks))...)
	st.ElapsedNano = time.Since(started).Nanoseconds()
	r.Stats = st
	return r, nil
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
	if pg.plan.slowest {
		return false
	}
	minStart, maxStart := b.Bounds()
	return maxStart < pg.bound() || pg.plan.after != nil && minStart > pg.plan.after.Rank
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
// ranked below bound cannot.
func (p *SearchPlan) searchBlock(b column.Block, bound int64) ([]found, int, error) {
	v := newView(b)
	sel, err := p.where.selectRows(v)
	if err != nil {
		return nil, 0, err
	}
	rows := rowsOf(sel, nil)
	matched := len(rows)
	if matched == 0 {
		return nil, 0, nil
	}
	by := column.Start
	if p.slowest {
		by = column.Duration
	}
	ranks, err := v.fixed(by)
	if err != nil {
		return nil, 0, err
	}
	if p.after != nil {
		rows = slices.DeleteFunc(rows, func(r int32) bool { return ranks.Ints[r] > p.after.Rank })
	}
	if !p.perTrace && p.after == nil && len(rows) > 4*p.limit {
		sorted := make([]int64, len(rows))
		for i, r := range rows {
			sorted[i] = ranks.Ints[r]
		}
		slices.Sort(sorted)
		bound = max(bound, sorted[len(sorted)-1-p.limit])
	}
	rows = slices.DeleteFunc(rows, func(r int32) bool { return ranks.Ints[r] < bound })
	keys, err := v.rowKeys(ranks, rows)
	if err != nil {
		return nil, 0, err
	}
	out := make([]found, 0, len(rows))
	for i, r := range rows {
		if p.after == nil || keys[i].compare(p.after) > 0 {
			out = append(out, found{keys[i], v, r})
		}
	}
	return p.first(out), matched, nil
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
		k.Service = vecs[3].Value(int(r)).Str
	}
	return keys, nil
}

// read makes rows of what was found, in order.
func (p *SearchPlan) read(best []found) ([]Row, error) {
	out := make([]Row, len(best))
	for i := range best {
		if err := p.readRow(&best[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *SearchPlan) readRow(f *found, r *Row) error {
	v := f.view
	*r = Row{
		TraceID: f.key.Trace,
		SpanID:  f.key.Span,
		Service: strings.Clone(f.key.Service),
		Kind:    trace.Kind(f.key.Kind),
		Values:  make([]trace.Value, len(p.columns)),
	}
	row := int(f.row)
	for _, name := range [...]string{column.ParentID, column.Name, column.Environment, column.Error, column.Start, column.Duration} {
		vec, err := v.fixed(name)
		if err != nil {
			return err
		}
		switch name {
		case column.ParentID:
			copy(r.ParentID[:], vec.Fixed[8*row:])
		case column.Name:
			r.Name = strings.Clone(vec.Value(row).Str)
		case column.Environment:
			r.Environment = strings.Clone(vec.Value(row).Str)
		case column.Error:
			r.Error = vec.Value(row).Num != 0
		case column.Start:
			r.StartUnixNano = vec.Value(row).Int()
		case column.Duration:
			r.DurationNano = vec.Value(row).Int()
		}
	}
	for i, name := range p.columns {
		vecs, err := v.vectors(name)
		if err != nil {
			return err
		}
		r.Values[i] = own(valueAt(vecs, row))
	}
	return nil
}
