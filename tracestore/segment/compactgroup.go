package segment

import (
	"errors"
	"math"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// mergedGroup is a new row group as a source: its columns are put together from
// those of the inputs when they are asked for.
type mergedGroup struct {
	m *merger
	outGroup
	number   int
	min, max int64
	fixed    []column.Info
	infos    []column.Info
}

var _ column.Source = (*mergedGroup)(nil)

// group returns a new row group. It reads the columns that say how it looks.
func (m *merger) group(number int) (*mergedGroup, error) {
	g := &mergedGroup{m: m, outGroup: m.groups[number], number: number, fixed: column.FixedColumns()}
	start, err := g.Column(column.Start, trace.TypeInt)
	if err != nil {
		return nil, err
	}
	g.min, g.max = slices.Min(start.Ints), slices.Max(start.Ints)
	for i := range g.fixed {
		g.fixed[i].Rows = g.rows
		if key := g.fixed[i].Key; key == column.StatusMessage || key == column.TraceState {
			v, err := g.Column(key, g.fixed[i].Type)
			if err != nil {
				return nil, err
			}
			g.fixed[i].Rows = 0
			switch {
			case v != nil && v.Present == nil:
				g.fixed[i].Rows = g.rows
			case v != nil:
				g.fixed[i].Rows = v.Present.Count()
			}
		}
	}
	g.infos = make([]column.Info, len(m.attributes))
	for i, k := range m.attributes {
		g.infos[i] = column.Info{Key: k.key, Type: k.typ, Rows: g.counts[i]}
	}
	return g, nil
}

func (g *mergedGroup) Rows() int { return g.rows }

func (g *mergedGroup) Bounds() (int64, int64) { return g.min, g.max }

func (g *mergedGroup) Columns() []column.Info {
	out := slices.Clone(g.fixed)
	for _, info := range g.infos {
		if info.Rows > 0 && !hiddenKey(info.Key) {
			out = append(out, info)
		}
	}
	return out
}

func (g *mergedGroup) Types(key string) (types []trace.Type) {
	for _, info := range g.Columns() {
		if info.Key == key {
			types = append(types, info.Type)
		}
	}
	slices.Sort(types)
	return types
}

// Stats knows nothing: nobody asks before the segment is written.
func (*mergedGroup) Stats(string, trace.Type) (column.Stats, bool) { return column.Stats{}, false }

// MayHave is always possible.
func (*mergedGroup) MayHave(string, uint64) bool { return true }

func (g *mergedGroup) Attributes() []column.Info { return g.infos }

func (g *mergedGroup) Shapes() ([]uint32, column.Dict, error) {
	return g.m.shapes[g.from : g.from+g.rows], g.m.shapeDict.Dict(), nil
}

func (g *mergedGroup) Column(key string, t trace.Type) (*column.Vector, error) {
	if want, fixed := column.FixedType(key); fixed {
		if t != want {
			return nil, nil
		}
		return g.merge("fixed "+key, t, fixedWidth(key), func(b *block) (*column.Vector, error) {
			return b.vector(key, t, fixedWidth(key))
		})
	}
	p, ok := g.m.positions[attributeKey{key, t}]
	if !ok {
		return nil, nil
	}
	return g.AttributeAt(p)
}

func (g *mergedGroup) AttributeAt(position int) (*column.Vector, error) {
	k := g.m.attributes[position]
	if g.counts[position] == 0 {
		return nil, nil
	}
	return g.merge("attribute "+columnName(k), k.typ, 0, func(b *block) (*column.Vector, error) {
		for _, c := range b.r.layout.Columns {
			if c.Key == k.key && c.Type == k.typ {
				if c.Rows[b.group] == 0 {
					return nil, nil
				}
				return b.vector(c.Name, k.typ, 0)
			}
		}
		if b.meta().Overflow == 0 {
			return nil, nil
		}
		return b.rareVector(k)
	})
}

// merge puts a column together. Vectors of the inputs are kept for the next row
// groups as long as the same column is asked for.
func (g *mergedGroup) merge(name string, t trace.Type, width int, load func(*block) (*column.Vector, error)) (*column.Vector, error) {
	m := g.m
	if m.current != name {
		if err := m.breathe(); err != nil {
			return nil, err
		}
		m.current = name
		m.loaded = make(map[int]*column.Vector)
	}
	out := &column.Vector{Type: t}
	switch {
	case width > 0:
		out.Fixed, out.Width = make([]byte, g.rows*width), width
	case column.IsText(t):
		out.IDs = make([]uint32, g.rows)
	case t == trace.TypeFloat:
		out.Floats = make([]float64, g.rows)
	default:
		out.Ints = make([]int64, g.rows)
	}
	present := column.NewBitmap(g.rows)
	count := 0
	var dict column.DictBuilder
	for block := range m.loaded {
		if block < g.blocks[0] {
			delete(m.loaded, block)
		}
	}
	for _, i := range g.blocks {
		b := m.blocks[i]
		v, ok := m.loaded[i]
		if !ok {
			var err error
			if v, err = load(b); err != nil {
				return nil, err
			}
			m.loaded[i] = v
		}
		if v == nil {
			continue
		}
		n, err := g.take(out, present, v, m.to[m.base[i]:m.base[i]+b.Rows()], &dict)
		if err != nil {
			return nil, err
		}
		count += n
	}
	if count == 0 {
		return nil, nil
	}
	if count < g.rows {
		out.Present = present
	}
	out.Dict = dict.Dict()
	return out, nil
}

// take takes over the values of those rows of a block that go to this group, and
// returns their number.
func (g *mergedGroup) take(out *column.Vector, present column.Bitmap, v *column.Vector, to []uint32, dict *column.DictBuilder) (n int, err error) {
	from, rows := uint32(g.from), uint32(g.rows)
	each := func(fn func(row int, at uint32)) {
		eachPresent(v.Present, len(to), func(row int) {
			// dropped is beyond every group.
			if at := to[row] - from; at < rows {
				present.Set(int(at))
				n++
				fn(row, at)
			}
		})
	}
	switch {
	case out.Fixed != nil:
		w := out.Width
		each(func(row int, at uint32) { copy(out.Fixed[int(at)*w:int(at+1)*w], v.Fixed[row*w:]) })
	case out.IDs != nil:
		// Each value is hashed once, when its first row comes.
		ids := make([]uint32, v.Dict.Len())
		each(func(row int, at uint32) {
			id := v.IDs[row]
			if ids[id] == 0 {
				next, e := dict.ID(v.Dict.At(id))
				if e != nil {
					err = e
				}
				ids[id] = next + 1
			}
			out.IDs[at] = ids[id] - 1
		})
	case out.Floats != nil:
		each(func(row int, at uint32) { out.Floats[at] = v.Floats[row] })
	default:
		each(func(row int, at uint32) { out.Ints[at] = v.Ints[row] })
	}
	return n, err
}

// entry is an event or a link on its way to its new row.
type entry struct {
	at    uint32 // row in the group
	block int
	from  int // in the block's list
}

// entries lists the events or links of the group's rows in their new order.
func (g *mergedGroup) entries(rows func(b *block) ([]uint32, error)) ([]entry, error) {
	var out []entry
	for _, i := range g.blocks {
		b := g.m.blocks[i]
		list, err := rows(b)
		if err != nil {
			return nil, err
		}
		to := g.m.to[g.m.base[i] : g.m.base[i]+b.Rows()]
		for j, row := range list {
			if at := to[row] - uint32(g.from); at < uint32(g.rows) {
				out = append(out, entry{at, i, j})
			}
		}
	}
	// Those of one row come from one block, in their order.
	slices.SortStableFunc(out, func(a, b entry) int { return int(a.at) - int(b.at) })
	return out, nil
}

// dictMerge remaps ids of several dictionaries to one, hashing each value once.
type dictMerge struct {
	dict column.DictBuilder
	ids  map[int][]uint32 // by block, plus one
}

func (d *dictMerge) id(block int, from column.Dict, id uint32) (uint32, error) {
	ids := d.ids[block]
	if ids == nil {
		if d.ids == nil {
			d.ids = make(map[int][]uint32)
		}
		ids = make([]uint32, from.Len())
		d.ids[block] = ids
	}
	if ids[id] == 0 {
		next, err := d.dict.ID(from.At(id))
		if err != nil {
			return 0, err
		}
		ids[id] = next + 1
	}
	return ids[id] - 1, nil
}

func (g *mergedGroup) Events() (column.Events, error) {
	if err := g.m.breathe(); err != nil {
		return column.Events{}, err
	}
	list, err := g.entries(func(b *block) ([]uint32, error) {
		e, err := b.events()
		if err != nil {
			return nil, err
		}
		return e.Row, nil
	})
	if err != nil {
		return column.Events{}, err
	}
	var out column.Events
	var dict dictMerge
	var from *column.Events
	block := math.MinInt
	for _, e := range list {
		if e.block != block {
			block = e.block
			if from, err = g.m.blocks[block].events(); err != nil {
				return column.Events{}, err
			}
		}
		name, err := dict.id(block, from.Dict, from.Name[e.from])
		if err != nil {
			return column.Events{}, err
		}
		attributes, err := dict.id(block, from.Dict, from.Attributes[e.from])
		if err != nil {
			return column.Events{}, err
		}
		out.Row = append(out.Row, e.at)
		out.Time = append(out.Time, from.Time[e.from])
		out.Name = append(out.Name, name)
		out.Attributes = append(out.Attributes, attributes)
	}
	out.Dict = dict.dict.Dict()
	return out, nil
}

func (g *mergedGroup) Links() (column.Links, error) {
	if err := g.m.breathe(); err != nil {
		return column.Links{}, err
	}
	list, err := g.entries(func(b *block) ([]uint32, error) {
		l, err := b.links()
		if err != nil {
			return nil, err
		}
		return l.Row, nil
	})
	if err != nil {
		return column.Links{}, err
	}
	var out column.Links
	var dict dictMerge
	var from *column.Links
	block := math.MinInt
	for _, e := range list {
		if e.block != block {
			block = e.block
			if from, err = g.m.blocks[block].links(); err != nil {
				return column.Links{}, err
			}
		}
		state, err := dict.id(block, from.Dict, from.State[e.from])
		if err != nil {
			return column.Links{}, err
		}
		attributes, err := dict.id(block, from.Dict, from.Attributes[e.from])
		if err != nil {
			return column.Links{}, err
		}
		out.Row = append(out.Row, e.at)
		out.TraceID = append(out.TraceID, from.TraceID[e.from])
		out.SpanID = append(out.SpanID, from.SpanID[e.from])
		out.State = append(out.State, state)
		out.Attributes = append(out.Attributes, attributes)
	}
	out.Dict = dict.dict.Dict()
	return out, nil
}

// Spans is not asked of rows that are not written yet.
func (g *mergedGroup) Spans([]int, []trace.Span) ([]trace.Span, error) {
	return nil, errNotWritten
}

var errNotWritten = errors.New("segment: the rows are not written yet")
