package query

import (
	"cmp"
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Calls asks which services call which inside traces: how often a span of one
// service has a span of another as its parent, how long such spans took, and how
// many failed.
type Calls struct {
	// Filters, all of which a span has to pass, say what counts as called. The
	// parent may be any span, also one that began before the window.
	Filters            []Filter
	CalculatedFields   []CalculatedField
	Environment        string
	StartTime, EndTime *float64 // as in [Spec]
	// SampleRows is about how many rows are joined: of more, some traces are
	// looked at, chosen by their ids, and what is counted stands for the others
	// too. 0: DefaultCallRows.
	SampleRows int
}

// DefaultCallRows is how many rows one question joins: 30 bytes each, and a
// fifth of a second on one processor.
const DefaultCallRows = 750_000

// CallsResult answers [Calls].
type CallsResult struct {
	Calls []Call // the most frequent first
	// Every is of how many traces one was looked at: 1, all of them, or a power of
	// two. Counts are multiplied by it.
	Every int
	// Missing counts the spans whose parent is not there.
	Missing float64
	Stats   Stats
}

// Call is the calls of one service by another. Times are milliseconds.
type Call struct {
	Caller, Callee string
	Count, Errors  float64
	P50, P95, P99  float64
}

// CallsPlan is a compiled [Calls].
type CallsPlan struct {
	// Lease is the plan's place in a [Pool], for one run; nil: none.
	Lease *Lease

	where      where
	sampleRows int
}

// CompileCalls checks the question and binds it to now. Errors are *[InvalidError].
func CompileCalls(c Calls, now time.Time) (*CallsPlan, error) {
	p := &CallsPlan{sampleRows: c.SampleRows}
	if p.sampleRows <= 0 {
		p.sampleRows = DefaultCallRows
	}
	if err := p.where.compile(c.Filters, "", c.Environment, c.CalculatedFields); err != nil {
		return nil, err
	}
	var err error
	p.where.from, p.where.to, err = window(nil, c.StartTime, c.EndTime, now)
	return p, err
}

// Window is the plan's time window in Unix nanoseconds.
func (p *CallsPlan) Window() (from, to int64) { return p.where.from, p.where.to }

// callSpan is a span that may be a call: it has a parent and passes the filters.
type callSpan struct {
	parent  uint64
	service uint32
	error   bool
	weight  float32
	nano    int64
}

// callPart is what one goroutine found.
type callPart struct {
	keys     []uint64 // of all spans: trace and span id, mixed
	services []uint32
	calls    []callSpan
	scanned  int64
}

const (
	callKeyBytes  = 12
	callSpanBytes = 32
)

// callRun is one run of a plan.
type callRun struct {
	plan  *CallsPlan
	every uint64

	mu     sync.Mutex
	number map[string]uint32
	names  []string
}

// RunCalls answers the plan from the blocks. It reads ids and services of all rows
// in parallel, keeps those of the chosen traces in a hash table and looks up the
// parents there. It stops soon after ctx ends.
func RunCalls(ctx context.Context, p *CallsPlan, blocks []column.Block) (*CallsResult, error) {
	started := time.Now()
	rows := 0
	for _, b := range blocks {
		rows += b.Rows()
	}
	r := &callRun{plan: p, every: 1, number: map[string]uint32{}}
	if rows > p.sampleRows {
		r.every = 1 << bits.Len(uint((rows-1)/p.sampleRows))
	}
	parts := make([]callPart, p.Lease.workers(len(blocks)))
	p.Lease.expect(blocks)
	err := p.Lease.eachBlock(ctx, len(parts), blocks, func(worker int, b column.Block) error {
		return r.read(ctx, b, &parts[worker])
	})
	if err != nil {
		return nil, err
	}
	out := &CallsResult{Every: int(r.every), Calls: []Call{}}
	table, err := r.table(parts)
	if err != nil {
		return nil, err
	}
	pairs := map[[2]uint32]*callSum{}
	for i := range parts {
		out.Stats.RowsScanned += parts[i].scanned
		out.Stats.RowsMatched += int64(len(parts[i].calls))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for k := range parts[i].calls {
			c := &parts[i].calls[k]
			caller, found := table.caller(c.parent, c.service)
			switch {
			case !found:
				out.Missing += float64(c.weight)
				continue
			case caller == c.service:
				continue
			}
			sum := pairs[[2]uint32{caller, c.service}]
			if sum == nil {
				sum = &callSum{}
				pairs[[2]uint32{caller, c.service}] = sum
			}
			sum.add(c)
		}
	}
	scale := float64(r.every)
	out.Missing *= scale
	for at, sum := range pairs {
		c := Call{Caller: r.names[at[0]], Callee: r.names[at[1]], Count: sum.count * scale, Errors: sum.errors * scale}
		c.P50, _ = sum.times.quantile(0.50, false)
		c.P95, _ = sum.times.quantile(0.95, false)
		c.P99, _ = sum.times.quantile(0.99, false)
		out.Calls = append(out.Calls, c)
	}
	slices.SortFunc(out.Calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee))
	})
	out.Stats.Segments = segments(blocks)
	out.Stats.ElapsedNano = time.Since(started).Nanoseconds()
	return out, nil
}

// callSum measures the calls of one pair of services.
type callSum struct {
	count, errors float64
	times         histogram
}

func (s *callSum) add(c *callSpan) {
	s.count += float64(c.weight)
	if c.error {
		s.errors += float64(c.weight)
	}
	s.times.add(float64(c.nano)/1e6, float64(c.weight), nil)
}

// read takes what it needs of the rows of a block.
func (r *callRun) read(ctx context.Context, b column.Block, into *callPart) error {
	p := r.plan
	v := p.where.view(ctx, b, p.Lease.hold)
	defer v.release()
	sel, err := p.where.selectRows(v)
	if err != nil {
		return err
	}
	var ids [3]*column.Vector
	for i, name := range [...]string{column.TraceID, column.SpanID, column.ParentID} {
		if ids[i], err = v.fixed(name); err != nil {
			return err
		}
	}
	service, err := v.fixed(column.Service)
	if err != nil {
		return err
	}
	nanos, err := v.fixed(column.Duration)
	if err != nil {
		return err
	}
	failed, err := v.fixed(column.Error)
	if err != nil {
		return err
	}
	signal, err := v.fixed(column.Signal)
	if err != nil {
		return err
	}
	var weights weightReader
	if err := weights.open(v); err != nil {
		return err
	}
	weight := weights.read(rowSet{from: 0, to: v.rows})
	number := r.services(service)
	keys, calls := len(into.keys), len(into.calls)
	for row := range v.rows {
		t := traceHash(ids[0].Fixed[16*row:])
		if t&(r.every-1) != 0 || signal.Ints[row] != int64(trace.SignalSpan) {
			continue
		}
		into.keys = append(into.keys, spanKey(t, ids[1].Fixed[8*row:]))
		into.services = append(into.services, number(row))
		parent := ids[2].Fixed[8*row : 8*row+8]
		if !sel.Has(row) || allZero(parent) {
			continue
		}
		c := callSpan{parent: spanKey(t, parent), service: number(row), error: failed.Ints[row]&1 != 0, nano: nanos.Ints[row], weight: 1}
		if weight != nil {
			c.weight = float32(weight[row])
		}
		into.calls = append(into.calls, c)
	}
	into.scanned += int64(v.rows)
	return p.Lease.hold(int64(len(into.keys)-keys)*callKeyBytes + int64(len(into.calls)-calls)*callSpanBytes)
}

// services numbers the services of a block's rows across all blocks.
func (r *callRun) services(vec *column.Vector) func(row int) uint32 {
	memo := make([]uint32, vec.Dict.Len())
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range memo {
		name := vec.Dict.At(uint32(id))
		n, ok := r.number[name]
		if !ok {
			n = uint32(len(r.names))
			name = strings.Clone(name) // the block's text may go away
			r.number[name] = n
			r.names = append(r.names, name)
		}
		memo[id] = n
	}
	return func(row int) uint32 { return memo[vec.IDs[row]] }
}

// traceHash mixes a trace id: often only a part of it is random.
func traceHash(id []byte) uint64 {
	return mix(binary.LittleEndian.Uint64(id) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(id[8:]), 29))
}

func spanKey(traceHash uint64, span []byte) uint64 {
	return max(mix(bits.RotateLeft64(traceHash, 17)^binary.LittleEndian.Uint64(span)), 1)
}

// callTable finds the service of a span by its key. 64 bits of hash mistake one of
// a million spans for another with a chance of 1 in 37 million.
type callTable struct {
	keys     []uint64 // 0: free; len is a power of two
	services []uint32
}

func (r *callRun) table(parts []callPart) (*callTable, error) {
	n := 0
	for i := range parts {
		n += len(parts[i].keys)
	}
	size := 16
	for size < 2*n {
		size *= 2
	}
	if err := r.plan.Lease.hold(int64(size) * callKeyBytes); err != nil {
		return nil, err
	}
	t := &callTable{keys: make([]uint64, size), services: make([]uint32, size)}
	mask := uint64(size - 1)
	for i := range parts {
	next:
		for k, key := range parts[i].keys {
			at := key & mask
			for ; t.keys[at] != 0; at = (at + 1) & mask {
				if t.keys[at] == key && t.services[at] == parts[i].services[k] {
					continue next
				}
			}
			t.keys[at], t.services[at] = key, parts[i].services[k]
		}
	}
	return t, nil
}

// caller is the service of the parent; own if one of several spans that share the
// id is of the span's own service (Zipkin's halves do).
func (t *callTable) caller(parent uint64, own uint32) (service uint32, found bool) {
	mask := uint64(len(t.keys) - 1)
	for at := parent & mask; t.keys[at] != 0; at = (at + 1) & mask {
		if t.keys[at] != parent {
			continue
		}
		if t.services[at] == own {
			return own, true
		}
		if !found {
			service, found = t.services[at], true
		}
	}
	return service, found
}
