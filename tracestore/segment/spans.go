package segment

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
	"redthread/tracestore/trace"
)

// Spans reads only pages that hold one of the rows: the shapes first, and then
// only the columns that these rows have.
func (b *block) Spans(rows []int, dst []trace.Span) ([]trace.Span, error) {
	if len(rows) == 0 {
		return dst, nil
	}
	for _, row := range rows {
		if row < 0 || row >= b.Rows() {
			return dst, fmt.Errorf("segment: row group %d of %s has no row %d", b.group, b.f.path, row)
		}
	}
	p := picked{b: b, rows: make([]uint32, len(rows))}
	for i, row := range rows {
		p.rows[i] = uint32(row)
	}
	sorted := slices.IsSorted(rows)
	if !sorted {
		slices.Sort(p.rows)
	}
	p.rows = slices.Compact(p.rows)
	base := len(dst)
	dst = slices.Grow(dst, len(p.rows))
	p.spans = dst[base : base+len(p.rows)]
	clear(p.spans)
	if err := p.read(); err != nil {
		return dst[:base], b.corrupt(err)
	}
	if sorted && len(p.rows) == len(rows) {
		return dst[:base+len(p.rows)], nil
	}
	out := make([]trace.Span, len(rows))
	for i, row := range rows {
		at, _ := slices.BinarySearch(p.rows, uint32(row))
		out[i] = p.spans[at]
	}
	return append(dst[:base], out...), nil
}

// corrupt names the file and the row group in an error.
func (b *block) corrupt(err error) error {
	return b.f.corrupt(fmt.Errorf("row group %d: %w", b.group, err))
}

// picked are rows that are being put together.
type picked struct {
	b     *block
	rows  []uint32 // ascending, each once
	spans []trace.Span
	// want chooses attributes, and what else but a row's place in its trace it takes
	// up is left out: the status message, the trace state, the time of arrival. nil:
	// all.
	want func(key string) bool
	// placed says that the spans have their trace ids already.
	placed bool
}

// pick reads the values of rows in column number leaf: from the decoded column if
// that is in the cache, else from the file.
func (b *block) pick(leaf int, rows []uint32) (at []uint32, v parquet.Values, err error) {
	c := b.r.file.Chunk(b.group, leaf)
	def := &b.r.file.Columns()[leaf]
	if def.Shape != parquet.Many {
		if x, ok := b.f.cache.peek(cacheKey{file: b.f.id, group: b.group, part: partColumn, name: def.Path[0]}); ok {
			at, v = pickVector(x.(*column.Vector), rows)
			return at, v, nil
		}
	}
	head, err := cached(b, partHead, strconv.Itoa(leaf), func() (*parquet.Head, int64, error) {
		h, err := c.Head()
		if err != nil {
			return nil, 0, err
		}
		return h, h.Bytes() + entryBytes, nil
	})
	if err != nil {
		return nil, v, err
	}
	return c.At(rows, head, func(at int64, load func() (*parquet.Page, error)) (*parquet.Page, error) {
		v, err := b.f.cache.get(cacheKey{file: b.f.id, group: b.group, part: partPage, at: at}, func() (any, int64, error) {
			p, err := load()
			if err != nil {
				return nil, 0, err
			}
			return p, p.Bytes() + entryBytes, nil
		})
		if err != nil {
			return nil, err
		}
		return v.(*parquet.Page), nil
	})
}

// pickVector takes the values of rows from a decoded column.
func pickVector(x *column.Vector, rows []uint32) (at []uint32, v parquet.Values) {
	if x == nil {
		return nil, v
	}
	v.Dict = x.Dict
	for _, r := range rows {
		if !x.Has(int(r)) {
			continue
		}
		at = append(at, r)
		switch {
		case x.IDs != nil:
			v.IDs = append(v.IDs, x.IDs[r])
		case x.Ints != nil:
			v.Ints = append(v.Ints, x.Ints[r])
		case x.Floats != nil:
			v.Floats = append(v.Floats, x.Floats[r])
		default:
			v.Fixed = append(v.Fixed, x.Fixed[int(r)*x.Width:(int(r)+1)*x.Width]...)
		}
	}
	return at, v
}

// manyRows is from how many rows on their columns are read side by side.
const manyRows = 2048

func (p *picked) read() error {
	parts := []func() error{p.fixedColumns, p.attributes, p.events, p.links}
	if len(p.rows) < manyRows {
		for _, part := range parts {
			if err := part(); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, len(parts)) // each part fills fields of its own
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { errs[i] = part() })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

func (p *picked) fixedColumns() error {
	for leaf, info := range column.FixedColumns() {
		if p.placed && info.Key == column.TraceID || p.want != nil && (info.Key == column.StatusMessage || info.Key == column.TraceState || info.Key == column.Arrived) {
			continue
		}
		if err := p.fixed(leaf, info.Key); err != nil {
			return err
		}
	}
	return nil
}

// texts copies strings out of a dictionary: those of n values all at once if the
// dictionary has not many more, else each one once while it repeats.
type texts struct {
	dict  column.Dict
	whole string
	id    uint32
	last  string
	any   bool
}

func textsOf(dict column.Dict, n int) texts {
	t := texts{dict: dict}
	if len(dict.Ends) <= n {
		t.whole = string(dict.Arena)
	}
	return t
}

func (t *texts) at(id uint32) string {
	if t.whole != "" {
		from := uint32(0)
		if id > 0 {
			from = t.dict.Ends[id-1]
		}
		return t.whole[from:t.dict.Ends[id]]
	}
	if !t.any || id != t.id {
		t.id, t.last, t.any = id, strings.Clone(t.dict.At(id)), true
	}
	return t.last
}

// fixed reads one of the fixed columns.
func (p *picked) fixed(leaf int, key string) error {
	at, v, err := p.b.pick(leaf, p.rows)
	if err != nil {
		return err
	}
	text := textsOf(v.Dict, len(at))
	if key == column.StatusMessage || key == column.TraceState {
		for i, j := 0, 0; i < len(at); i, j = i+1, j+1 {
			for p.rows[j] != at[i] {
				j++
			}
			if key == column.TraceState {
				p.spans[j].TraceState = text.at(v.IDs[i])
			} else {
				p.spans[j].StatusMessage = text.at(v.IDs[i])
			}
		}
		return nil
	}
	if len(at) != len(p.rows) {
		return fmt.Errorf("column %q has values for %d of %d rows", key, len(at), len(p.rows))
	}
	for i := range p.spans {
		s := &p.spans[i]
		switch key {
		case column.TraceID:
			s.TraceID = trace.ID(v.Fixed[16*i : 16*i+16])
		case column.SpanID:
			s.SpanID = trace.SpanID(v.Fixed[8*i : 8*i+8])
		case column.ParentID:
			s.ParentID = trace.SpanID(v.Fixed[8*i : 8*i+8])
		case column.Start:
			s.StartUnixNano = v.Ints[i]
		case column.Duration:
			s.DurationNano = v.Ints[i]
		case column.Arrived:
			s.ArrivedUnixNano = v.Ints[i]
		case column.Name:
			s.Name = text.at(v.IDs[i])
		case column.Service:
			s.Service = text.at(v.IDs[i])
		case column.Environment:
			s.Environment = text.at(v.IDs[i])
		case column.Kind:
			s.Kind = trace.Kind(v.Ints[i])
		case column.Status:
			s.Status = trace.StatusCode(v.Ints[i])
		case column.Error:
			s.Error = v.Ints[i] != 0
		case column.Signal:
			s.Signal = trace.Signal(v.Ints[i])
		}
	}
	return nil
}

// cell is where an attribute goes.
type cell struct {
	span, pos int
	next      int32 // cell of the same column, plus one; 0: the last
}

// attributes reads the shapes of the rows, and then column by column what they
// name.
func (p *picked) attributes() error {
	at, v, err := p.b.pick(firstOther+shapeAt, p.rows)
	if err != nil {
		return err
	}
	if len(at) != len(p.rows) {
		return errors.New("rows without a shape")
	}
	columns := p.b.r.layout.Columns
	// Cells are listed by column, each list in the order of rows.
	var cells []cell
	last := make([]int32, len(columns)+1) // by column: the last cell, plus one
	first := make([]int32, len(columns)+1)
	var positions []int
	unwanted := p.unwanted()
	for i := range p.spans {
		if i == 0 || v.IDs[i] != v.IDs[i-1] {
			if positions, err = shapePositions(positions[:0], v.Dict.At(v.IDs[i])); err != nil {
				return err
			}
			for _, c := range positions {
				if c > len(columns) {
					return fmt.Errorf("row %d: shape names column %d of %d", p.rows[i], c, len(columns))
				}
			}
			if unwanted != nil {
				positions = slices.DeleteFunc(positions, func(c int) bool { return unwanted[c] })
			}
		}
		for pos, c := range positions {
			cells = append(cells, cell{span: i, pos: pos})
			if n := int32(len(cells)); last[c] == 0 {
				first[c], last[c] = n, n
			} else {
				cells[last[c]-1].next, last[c] = n, n
			}
		}
	}
	// One allocation has the attributes of all rows.
	room := make([]trace.Attribute, len(cells))
	for from, to := 0, 0; from < len(cells); from = to {
		for to = from + 1; to < len(cells) && cells[to].span == cells[from].span; to++ {
		}
		p.spans[cells[from].span].Attributes = room[from:to:to]
	}
	var here []cell
	var rows []uint32
	for c := range first {
		if first[c] == 0 {
			continue
		}
		here, rows = here[:0], rows[:0]
		for n := first[c]; n > 0; n = cells[n-1].next {
			here = append(here, cells[n-1])
			if r := p.rows[cells[n-1].span]; len(rows) == 0 || rows[len(rows)-1] != r {
				rows = append(rows, r)
			}
		}
		if c == 0 {
			err = p.rare(here, rows)
		} else {
			err = p.attribute(c-1, here, rows)
		}
		if err != nil {
			return err
		}
	}
	if p.want != nil {
		// What the overflow names is known only now.
		for n := first[0]; n > 0; n = cells[n-1].next {
			s := &p.spans[cells[n-1].span]
			s.Attributes = slices.DeleteFunc(s.Attributes, func(a trace.Attribute) bool { return !p.want(a.Key) })
		}
	}
	return nil
}

// unwanted tells which columns of the layout are not to be read, counted from 1;
// nil: none.
func (p *picked) unwanted() []bool {
	if p.want == nil {
		return nil
	}
	columns := p.b.r.layout.Columns
	out := make([]bool, len(columns)+1)
	for i := range columns {
		out[i+1] = !p.want(columns[i].Key)
	}
	return out
}

// attribute reads a column of the layout into the cells.
func (p *picked) attribute(position int, cells []cell, rows []uint32) error {
	c := &p.b.r.layout.Columns[position]
	at, v, err := p.b.pick(firstOther+otherColumns+position, rows)
	if err != nil {
		return err
	}
	if len(at) != len(cells) {
		return fmt.Errorf("%d of %d rows have a value in column %q", len(at), len(cells), c.Name)
	}
	text := textsOf(v.Dict, len(at))
	for i, cell := range cells {
		a := &p.spans[cell.span].Attributes[cell.pos]
		a.Key = c.Key
		switch {
		case v.IDs != nil:
			a.Value = trace.Value{Type: c.Type, Str: text.at(v.IDs[i])}
		case v.Floats != nil:
			a.Value = trace.Float(v.Floats[i])
		default:
			a.Value = trace.Value{Type: c.Type, Num: uint64(v.Ints[i])}
		}
	}
	return nil
}

// rare reads entries of the overflow map into the cells.
func (p *picked) rare(cells []cell, rows []uint32) error {
	at, keys, err := p.b.pick(firstOther+overflowKeyAt, rows)
	if err != nil {
		return err
	}
	same, values, err := p.b.pick(firstOther+overflowValueAt, rows)
	if err != nil {
		return err
	}
	if len(at) != len(cells) || !slices.Equal(at, same) {
		return fmt.Errorf("%d keys and %d values in the overflow map, want %d", len(at), len(same), len(cells))
	}
	for i, cell := range cells {
		if at[i] != p.rows[cell.span] {
			return fmt.Errorf("row %d has too few overflow entries", p.rows[cell.span])
		}
		k, err := parseOverflowName(strings.Clone(keys.Dict.At(keys.IDs[i])))
		if err != nil {
			return err
		}
		x, err := parseText(k.typ, strings.Clone(values.Dict.At(values.IDs[i])))
		if err != nil {
			return err
		}
		p.spans[cell.span].Attributes[cell.pos] = trace.Attribute{Key: k.key, Value: x}
	}
	return nil
}

// list reads leaves of events or links, of the rows that have any: the first leaf
// says which.
func (p *picked) list(leaves ...int) (at []uint32, values []parquet.Values, err error) {
	rows := p.rows
	for i, leaf := range leaves {
		here, v, err := p.b.pick(firstOther+leaf, rows)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			if len(here) == 0 {
				return nil, nil, nil
			}
			at, rows = here, slices.Compact(slices.Clone(here))
		} else if !slices.Equal(at, here) {
			return nil, nil, errors.New("events or links: columns of different rows")
		}
		values = append(values, v)
	}
	return at, values, nil
}

// span finds a row.
func (p *picked) span(row uint32) *trace.Span {
	i, _ := slices.BinarySearch(p.rows, row)
	return &p.spans[i]
}

func (p *picked) events() error {
	at, v, err := p.list(eventNameAt, eventTimeAt, eventAttributesAt)
	if err != nil || at == nil {
		return err
	}
	name := textsOf(v[0].Dict, len(at))
	for i, row := range at {
		attrs, err := column.ParseAttributes(v[2].Dict.At(v[2].IDs[i]))
		if err != nil {
			return err
		}
		s := p.span(row)
		s.Events = append(s.Events, trace.Event{Name: name.at(v[0].IDs[i]), TimeUnixNano: v[1].Ints[i], Attributes: attrs})
	}
	return nil
}

func (p *picked) links() error {
	at, v, err := p.list(linkTraceAt, linkSpanAt, linkStateAt, linkAttributesAt)
	if err != nil || at == nil {
		return err
	}
	state := textsOf(v[2].Dict, len(at))
	for i, row := range at {
		attrs, err := column.ParseAttributes(v[3].Dict.At(v[3].IDs[i]))
		if err != nil {
			return err
		}
		s := p.span(row)
		s.Links = append(s.Links, trace.Link{
			TraceID: trace.ID(v[0].Fixed[16*i : 16*i+16]), SpanID: trace.SpanID(v[1].Fixed[8*i : 8*i+8]),
			TraceState: state.at(v[2].IDs[i]), Attributes: attrs,
		})
	}
	return nil
}

// pickIDs reads a column of ids, which every row has.
func (b *block) pickIDs(key string, rows []uint32) ([]byte, error) {
	at, v, err := b.pick(slices.IndexFunc(column.FixedColumns(), func(c column.Info) bool { return c.Key == key }), rows)
	if err == nil && len(at) != len(rows) {
		err = errors.New("rows without an id")
	}
	if err != nil {
		return nil, b.corrupt(err)
	}
	return v.Fixed, nil
}
