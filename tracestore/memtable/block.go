package memtable

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// block is a chunk up to a watermark, as the query engine sees it.
type block struct {
	c *chunk
	v *view
}

var _ column.Source = block{}

func (b block) Rows() int { return b.v.n }

func (b block) Bounds() (int64, int64) { return b.v.min, b.v.max }

func (b block) Columns() []column.Info {
	out := column.FixedColumns()
	for i := range out {
		switch out[i].Key {
		case column.StatusMessage:
			out[i].Rows = b.count(b.c.message)
		case column.TraceState:
			out[i].Rows = b.count(b.c.state)
		default:
			out[i].Rows = b.v.n
		}
	}
	for _, info := range b.Attributes() {
		if info.Rows > 0 {
			info.Key = column.NameOf(info.Key)
			out = append(out, info)
		}
	}
	return out
}

// count is the number of the block's rows that have a value.
func (b block) count(a *attribute) int {
	_, groupRows := b.v.groups()
	return a.view.Load().count(b.v.n, groupRows)
}

// vector spreads a column over the block's rows.
func (b block) vector(a *attribute) *column.Vector {
	groups, groupRows := b.v.groups()
	return a.view.Load().vector(a.typ, groups, groupRows)
}

// value returns a row's value in a column.
func (b block) value(a *attribute, row int) trace.Value {
	return a.view.Load().value(a.typ, row, b.v.fixed.group[row])
}

func (b block) Types(key string) []trace.Type {
	if t, ok := column.FixedType(key); ok {
		return []trace.Type{t}
	}
	var types []trace.Type
	for _, a := range b.v.all {
		if a.key == key && b.count(a) > 0 {
			types = append(types, a.typ)
		}
	}
	if key, ok := column.TakenKey(key); ok && len(types) == 0 {
		for _, a := range b.v.all {
			if a.key == key && b.count(a) > 0 {
				types = append(types, a.typ)
			}
		}
	}
	sort.Slice(types, func(i, j int) bool { return types[i] < types[j] })
	return types
}

// Stats knows nothing: the rows are in memory, to read them is cheap.
func (block) Stats(string, trace.Type) (column.Stats, bool) { return column.Stats{}, false }

// MayHave is always possible.
func (block) MayHave(string, uint64) bool { return true }

func (b block) Column(key string, t trace.Type) (*column.Vector, error) {
	if want, ok := column.FixedType(key); ok {
		if want != t {
			return nil, nil
		}
		return b.fixed(key), nil
	}
	for _, a := range b.v.all {
		if a.typ == t && a.key == key {
			return b.vector(a), nil
		}
	}
	if key, ok := column.TakenKey(key); ok {
		for _, a := range b.v.all {
			if a.typ == t && a.key == key {
				return b.vector(a), nil
			}
		}
	}
	return nil, nil
}

func (b block) fixed(key string) *column.Vector {
	f, n := &b.v.fixed, b.v.n
	text := func(ids []uint32, d column.Dict) *column.Vector {
		return &column.Vector{Type: trace.TypeString, IDs: ids[:n:n], Dict: d}
	}
	wide := func(data []byte, width int) *column.Vector {
		return &column.Vector{Type: trace.TypeBytes, Fixed: data[: n*width : n*width], Width: width}
	}
	ints := func(data []int64) *column.Vector {
		return &column.Vector{Type: trace.TypeInt, Ints: data[:n:n]}
	}
	small := func(t trace.Type, data []uint8, of func(uint8) int64) *column.Vector {
		v := &column.Vector{Type: t, Ints: make([]int64, n)}
		for i, x := range data[:n] {
			v.Ints[i] = of(x)
		}
		return v
	}
	same := func(x uint8) int64 { return int64(x) }
	switch key {
	case column.TraceID:
		return wide(f.trace, 16)
	case column.SpanID:
		return wide(f.span, 8)
	case column.ParentID:
		return wide(f.parent, 8)
	case column.Start:
		return ints(f.start)
	case column.Duration:
		return ints(f.duration)
	case column.Arrived:
		return ints(f.arrived)
	case column.Name:
		return text(f.name, b.v.name)
	case column.Service:
		return text(f.service, b.v.service)
	case column.Environment:
		return text(f.environment, b.v.environment)
	case column.Kind:
		return small(trace.TypeInt, f.kind, same)
	case column.Status:
		return small(trace.TypeInt, f.status, same)
	case column.Error:
		return small(trace.TypeBool, f.flags, func(x uint8) int64 { return int64(x & flagError) })
	case column.Signal:
		return small(trace.TypeInt, f.flags, func(x uint8) int64 { return int64(x&flagLog) / flagLog })
	case column.StatusMessage:
		return b.vector(b.c.message)
	case column.TraceState:
		return b.vector(b.c.state)
	}
	return nil
}

func (b block) Attributes() []column.Info {
	out := make([]column.Info, len(b.v.all))
	for i, a := range b.v.all {
		out[i] = column.Info{Key: a.key, Type: a.typ, Rows: b.count(a)}
	}
	return out
}

func (b block) AttributeAt(position int) (*column.Sparse, error) {
	a := b.v.all[position]
	if s, ok := a.view.Load().sparse(a.typ, b.v.n); ok {
		return s, nil
	}
	return column.Packed(b.vector(a)), nil
}

func (b block) Shapes() ([]uint32, column.Dict, error) {
	return b.v.fixed.shape[:b.v.n:b.v.n], b.v.shapeDict, nil
}

func (b block) Events() (column.Events, error) {
	n := &b.v.nested
	return column.Events{Row: n.eventRow, Time: n.eventTime, Name: n.eventName, Attributes: n.eventAttributes, Dict: b.v.nestedDict}, nil
}

func (b block) Links() (column.Links, error) {
	n := &b.v.nested
	return column.Links{Row: n.linkRow, TraceID: n.linkTrace, SpanID: n.linkSpan, State: n.linkState, Attributes: n.linkAttributes, Dict: b.v.nestedDict}, nil
}

func (b block) Spans(rows []int, dst []trace.Span) ([]trace.Span, error) {
	for _, row := range rows {
		s, err := b.span(row)
		if err != nil {
			return dst, err
		}
		dst = append(dst, s)
	}
	return dst, nil
}

func (b block) span(row int) (trace.Span, error) {
	f := &b.v.fixed
	s := trace.Span{
		TraceID: trace.ID(f.trace[row*16 : row*16+16]), SpanID: trace.SpanID(f.span[row*8 : row*8+8]), ParentID: trace.SpanID(f.parent[row*8 : row*8+8]),
		Name:          strings.Clone(b.v.name.At(f.name[row])),
		Service:       strings.Clone(b.v.service.At(f.service[row])),
		Environment:   strings.Clone(b.v.environment.At(f.environment[row])),
		Kind:          trace.Kind(f.kind[row]),
		Status:        trace.StatusCode(f.status[row]),
		StatusMessage: strings.Clone(b.value(b.c.message, row).Str),
		TraceState:    strings.Clone(b.value(b.c.state, row).Str),
		StartUnixNano: f.start[row], DurationNano: f.duration[row], ArrivedUnixNano: f.arrived[row],
		Error: f.flags[row]&flagError != 0,
	}
	if f.flags[row]&flagLog != 0 {
		s.Signal = trace.SignalLog
	}
	shape := b.v.shapeDict.At(f.shape[row])
	for len(shape) > 0 {
		position, n := binary.Uvarint([]byte(shape[:min(len(shape), binary.MaxVarintLen64)]))
		if n <= 0 || position >= uint64(len(b.v.all)) {
			return s, fmt.Errorf("memtable: row %d: bad shape", row)
		}
		shape = shape[n:]
		a := b.v.all[position]
		v := b.value(a, row)
		v.Str = strings.Clone(v.Str)
		s.Attributes = append(s.Attributes, trace.Attribute{Key: a.key, Value: v})
	}
	return s, b.nested(row, &s)
}

func (b block) nested(row int, s *trace.Span) error {
	n, r := &b.v.nested, uint32(row)
	d := b.v.nestedDict
	for i := lowerBound(n.eventRow, r); i < len(n.eventRow) && n.eventRow[i] == r; i++ {
		attrs, err := column.ParseAttributes(d.At(n.eventAttributes[i]))
		if err != nil {
			return err
		}
		s.Events = append(s.Events, trace.Event{Name: strings.Clone(d.At(n.eventName[i])), TimeUnixNano: n.eventTime[i], Attributes: attrs})
	}
	for i := lowerBound(n.linkRow, r); i < len(n.linkRow) && n.linkRow[i] == r; i++ {
		attrs, err := column.ParseAttributes(d.At(n.linkAttributes[i]))
		if err != nil {
			return err
		}
		s.Links = append(s.Links, trace.Link{TraceID: n.linkTrace[i], SpanID: n.linkSpan[i], TraceState: strings.Clone(d.At(n.linkState[i])), Attributes: attrs})
	}
	return nil
}

func lowerBound(rows []uint32, row uint32) int {
	return sort.Search(len(rows), func(i int) bool { return rows[i] >= row })
}
