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
	min, max int64
	fixed    []column.Info
	infos    []column.Info
}

var _ column.Source = (*mergedGroup)(nil)

// newGroups returns the new row groups. It reads the columns that say how they
// look.
func (m *merger) newGroups() ([]*mergedGroup, error) {
	groups := make([]*mergedGroup, len(m.groups))
	for i := range groups {
		g := &mergedGroup{m: m, outGroup: m.groups[i], fixed: column.FixedColumns()}
		for j := range g.fixed {
			g.fixed[j].Rows = g.rows
		}
		for j, k := range m.attributes {
			g.infos = append(g.infos, column.Info{Key: k.key, Type: k.typ, Rows: g.counts[j]})
		}
		start, err := g.Column(column.Start, trace.TypeInt)
		if err != nil {
			return nil, err
		}
		g.min, g.max = slices.Min(start.Ints), slices.Max(start.Ints)
		groups[i] = g
	}
	for _, key := range []string{column.StatusMessage, column.TraceState} {
		for _, g := range groups {
			v, err := g.Column(key, trace.TypeString)
			if err != nil {
				return nil, err
			}
			at := slices.IndexFunc(g.fixed, func(i column.Info) bool { return i.Key == key })
			switch {
			case v == nil:
				g.fixed[at].Rows = 0
			case v.Present != nil:
				g.fixed[at].Rows = v.Present.Count()
			}
		}
	}
	return groups, nil
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

// Column returns a fixed column. Nobody asks for others before they are written.
func (g *mergedGroup) Column(key string, t trace.Type) (*column.Vector, error) {
	at := slices.IndexFunc(g.fixed, func(i column.Info) bool { return i.Key == key && i.Type == t })
	if at < 0 {
		return nil, nil
	}
	s, err := g.merge("fixed "+key, t, fixedWidth(key), func(int) int { return at })
	if s == nil || err != nil {
		return nil, err
	}
	if s.Rows == nil {
		return &s.Values, nil
	}
	// Only texts may be absent.
	v := &column.Vector{Type: t, Present: column.NewBitmap(g.rows), IDs: make([]uint32, g.rows), Dict: s.Values.Dict}
	for i, row := range s.Rows {
		v.Present.Set(int(row))
		v.IDs[row] = s.Values.IDs[i]
	}
	return v, nil
}

func (g *mergedGroup) AttributeAt(position int) (*column.Sparse, error) {
	if g.counts[position] == 0 {
		return nil, nil
	}
	k, sources := g.m.attributes[position], g.m.sources
	if !slices.ContainsFunc(g.blocks, func(i int) bool { return sources[i][position] > 0 }) {
		return g.mergeRare(position, k)
	}
	return g.merge("attribute "+columnName(k), k.typ, 0, func(i int) int {
		switch at := int(sources[i][position]); {
		case at > 0:
			return firstOther + otherColumns + at - 1
		case at < 0:
			return at - 1
		}
		return -1
	})
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
