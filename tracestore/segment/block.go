package segment

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// block is one row group. Columns are decoded when asked for, through the cache.
type block struct {
	f     *File
	r     *reader
	group int
}

var _ column.Block = (*block)(nil)

func (b *block) meta() group { return b.r.layout.Groups[b.group] }

// Segment tells the segments of a store apart.
func (b *block) Segment() uint64 { return b.f.id }

func (b *block) Rows() int { return b.meta().Rows }

func (b *block) Bounds() (int64, int64) { return b.meta().MinStart, b.meta().MaxStart }

func (b *block) Columns() []column.Info {
	out := column.FixedColumns()
	for i := range out {
		out[i].Rows = b.r.having(b.group, i)
	}
	for _, c := range b.r.layout.Columns {
		if c.Rows[b.group] > 0 {
			out = append(out, column.Info{Key: column.NameOf(c.Key), Type: c.Type, Rows: int(c.Rows[b.group])})
		}
	}
	rare, err := b.rare()
	if err != nil {
		// Column tells of it; this list has no error to return.
		return out
	}
	for _, info := range rare.infos {
		info.Key = column.NameOf(info.Key)
		out = append(out, info)
	}
	return out
}

func (b *block) Types(key string) []trace.Type {
	if t, ok := column.FixedType(key); ok {
		return []trace.Type{t}
	}
	types := b.typesOf(key)
	if key, ok := column.TakenKey(key); ok && len(types) == 0 {
		return b.typesOf(key)
	}
	return types
}

// typesOf are the types of the attributes of a key.
func (b *block) typesOf(key string) []trace.Type {
	var types []trace.Type
	for _, c := range b.r.layout.Columns {
		if c.Key == key && c.Rows[b.group] > 0 {
			types = append(types, c.Type)
		}
	}
	if rare, err := b.rare(); err == nil {
		for _, info := range rare.infos {
			if info.Key == key {
				types = append(types, info.Type)
			}
		}
	} else {
		// There is no error to return. Who asks for the columns of all types gets it
		// from Column; to say that the key is absent would be a wrong answer.
		types = types[:0]
		for t := trace.TypeString; t <= trace.TypeJSON; t++ {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

func (b *block) Column(key string, t trace.Type) (*column.Vector, error) {
	if want, ok := column.FixedType(key); ok {
		if want != t {
			return nil, nil
		}
		return b.vector(key, t, fixedWidth(key))
	}
	v, err := b.attribute(key, t)
	if key, ok := column.TakenKey(key); ok && v == nil && err == nil {
		return b.attribute(key, t)
	}
	return v, err
}

// attribute returns the column of an attribute, nil if no row has it.
func (b *block) attribute(key string, t trace.Type) (*column.Vector, error) {
	for _, c := range b.r.layout.Columns {
		if c.Type == t && c.Key == key {
			if c.Rows[b.group] == 0 {
				return nil, nil
			}
			return b.vector(c.Name, t, 0)
		}
	}
	if b.meta().Overflow == 0 {
		return nil, nil
	}
	return b.rareVector(attributeKey{key, t})
}

func fixedWidth(key string) int {
	switch key {
	case column.TraceID:
		return 16
	case column.SpanID, column.ParentID:
		return 8
	}
	return 0
}

// cached decodes through the cache and names the file in errors.
func cached[T any](b *block, p part, name string, load func() (T, int64, error)) (T, error) {
	v, err := b.f.cache.get(cacheKey{file: b.f.id, group: b.group, part: p, name: name}, func() (any, int64, error) {
		v, n, err := load()
		return v, n, err
	})
	if err != nil {
		var none T
		return none, b.f.corrupt(fmt.Errorf("row group %d: %w", b.group, err))
	}
	return v.(T), nil
}

// vector returns a flat column by its name in the file.
func (b *block) vector(name string, t trace.Type, width int) (*column.Vector, error) {
	return cached(b, partColumn, name, func() (*column.Vector, int64, error) {
		v, err := b.r.vector(b.group, name, t, width)
		return v, vectorBytes(v), err
	})
}

// rare is the overflow map of a row group, with its keys read.
type rare struct {
	*overflow
	keyOf []attributeKey // by key id
	// The entries of key k are entries[first[k]:first[k+1]], in the order of rows.
	first, entries []uint32
	infos          []column.Info // by key
}

func (b *block) rare() (*rare, error) {
	return cached(b, partOverflow, "", func() (*rare, int64, error) {
		o, err := b.r.overflow(b.group)
		if err != nil {
			return nil, 0, err
		}
		x := &rare{overflow: o, keyOf: make([]attributeKey, o.keys.Len()), first: make([]uint32, o.keys.Len()+1), entries: make([]uint32, len(o.key))}
		for _, id := range o.key {
			x.first[id+1]++
		}
		for id := range x.keyOf {
			x.first[id+1] += x.first[id]
		}
		next := slices.Clone(x.first)
		for i, id := range o.key {
			x.entries[next[id]] = uint32(i)
			next[id]++
		}
		size := int64(16*len(o.row) + cap(o.keys.Arena) + cap(o.values.Arena) + entryBytes)
		for id := range x.keyOf {
			k, err := parseOverflowName(strings.Clone(o.keys.At(uint32(id))))
			if err != nil {
				return nil, 0, err
			}
			x.keyOf[id] = k
			size += int64(len(k.key)) + 104
			if n := int(x.first[id+1] - x.first[id]); n > 0 {
				x.infos = append(x.infos, column.Info{Key: k.key, Type: k.typ, Rows: n})
			}
		}
		return x, size, nil
	})
}

// rareVector makes a column of the overflow entries of one key and type.
func (b *block) rareVector(k attributeKey) (*column.Vector, error) {
	return cached(b, partRare, columnName(k), func() (*column.Vector, int64, error) {
		x, err := b.rare()
		if err != nil {
			return nil, 0, err
		}
		id := slices.Index(x.keyOf, k)
		if id < 0 {
			return nil, entryBytes, nil
		}
		n := b.Rows()
		v := &column.Vector{Type: k.typ, Present: column.NewBitmap(n)}
		switch k.typ {
		case trace.TypeInt, trace.TypeBool:
			v.Ints = make([]int64, n)
		case trace.TypeFloat:
			v.Floats = make([]float64, n)
		default:
			v.IDs = make([]uint32, n)
		}
		var dict column.DictBuilder
		for _, i := range x.entries[x.first[id]:x.first[id+1]] {
			row := x.row[i]
			val, err := parseText(k.typ, x.values.At(x.value[i]))
			if err != nil {
				return nil, 0, err
			}
			v.Present.Set(int(row))
			switch {
			case v.Ints != nil:
				v.Ints[row] = val.Int()
			case v.Floats != nil:
				v.Floats[row] = val.Float()
			default:
				if v.IDs[row], err = dict.ID(val.Str); err != nil {
					return nil, 0, err
				}
			}
		}
		v.Dict = dict.Dict()
		return v, vectorBytes(v), nil
	})
}

// parseText undoes trace.Value.Text for a type.
func parseText(t trace.Type, s string) (trace.Value, error) {
	switch t {
	case trace.TypeInt:
		i, err := strconv.ParseInt(s, 10, 64)
		return trace.Int(i), err
	case trace.TypeFloat:
		f, err := strconv.ParseFloat(s, 64)
		return trace.Float(f), err
	case trace.TypeBool:
		return trace.Bool(s == "true"), nil
	case trace.TypeBytes:
		raw, err := base64.StdEncoding.DecodeString(s)
		return trace.Bytes(string(raw)), err
	}
	return trace.Value{Type: t, Str: s}, nil
}

func (b *block) events() (*column.Events, error) {
	return cached(b, partEvents, "", func() (*column.Events, int64, error) {
		e, err := b.r.events(b.group)
		if err != nil {
			return nil, 0, err
		}
		return e, int64(20*len(e.Row)+cap(e.Dict.Arena)+4*cap(e.Dict.Ends)) + entryBytes, nil
	})
}

func (b *block) links() (*column.Links, error) {
	return cached(b, partLinks, "", func() (*column.Links, int64, error) {
		l, err := b.r.links(b.group)
		if err != nil {
			return nil, 0, err
		}
		return l, int64(36*len(l.Row)+cap(l.Dict.Arena)+4*cap(l.Dict.Ends)) + entryBytes, nil
	})
}
