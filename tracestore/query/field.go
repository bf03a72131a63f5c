package query

import (
	"math"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Names that queries may use beside the fixed columns of [column.Block].
const (
	durationMS = column.DurationMS
	isRoot     = column.IsRoot
)

// checkColumn reports a column name that no query can use for values.
func checkColumn(at, name string) error {
	if name == "" {
		return &InvalidError{at, "A column name is missing here."}
	}
	if s, _ := cutScope(name); s.inFilters() {
		return &InvalidError{at, "Columns that begin with " + scopePrefixes[s] + " ask whether there is such a span: they stand in filters only."}
	}
	return checkScope(at, name)
}

// view is a block as queries see it: columns by the names people use, each
// loaded once. It belongs to one goroutine.
type view struct {
	block  column.Block
	rows   int
	loaded map[string][]*column.Vector
	raw    map[string]*column.Vector // fixed columns as the block has them

	fields   *calcFields // of the query
	columns  map[*calcField]*calcColumn
	selected column.Bitmap     // the rows of the query, when they are known; nil: all
	spend    func(int64) error // see pay; nil: nobody counts
	resolved *resolution       // what is known of the spans around the rows; nil: nothing was asked
	around   map[scope]*numbered
}

func newView(b column.Block) *view {
	return &view{
		block:  b,
		rows:   b.Rows(),
		loaded: make(map[string][]*column.Vector, 8),
		raw:    make(map[string]*column.Vector, 4),
	}
}

// vectors returns the vectors that together hold the named column, one for each
// type that its key has here: no row is present in two of them. Nil: the block
// does not have the column. Of a calculated field they have the rows of the query
// at least.
func (v *view) vectors(name string) ([]*column.Vector, error) { return v.vectorsOf(name, v.selected) }

// vectorsOf is vectors for some rows only, perhaps; nil: all.
func (v *view) vectorsOf(name string, rows column.Bitmap) ([]*column.Vector, error) {
	if f := v.fields.field(name); f != nil {
		return v.calculated(f, rows)
	}
	if s, rest := cutScope(name); s != noScope {
		return v.scopedVectors(s, rest, rows)
	}
	if vecs, ok := v.loaded[name]; ok {
		return vecs, nil
	}
	vecs, err := v.key(name)
	if err != nil {
		return nil, err
	}
	for _, other := range v.others(name) {
		more, err := v.key(other)
		if err != nil {
			return nil, err
		}
		vecs = appendAbsent(vecs, more, v.rows)
	}
	v.loaded[name] = vecs
	return vecs, nil
}

// others are the names under which the column may also be found.
func (v *view) others(name string) []string {
	if isEnvironment(name) {
		return slices.Concat(aliases[name], []string{column.Environment})
	}
	return aliases[name]
}

// key returns the vectors of one name, without its aliases.
func (v *view) key(name string) ([]*column.Vector, error) {
	switch name {
	case durationMS:
		vec, err := v.fixed(column.Duration)
		if err != nil {
			return nil, err
		}
		ms := make([]float64, v.rows)
		for i, n := range vec.Ints[:v.rows] {
			ms[i] = float64(n) / 1e6
		}
		return one(&column.Vector{Type: trace.TypeFloat, Present: vec.Present, Floats: ms}), nil
	case isRoot:
		vec, err := v.fixed(column.ParentID)
		if err != nil {
			return nil, err
		}
		root := make([]int64, v.rows)
		for i := range root {
			if allZero(vec.Fixed[i*vec.Width : (i+1)*vec.Width]) {
				root[i] = 1
			}
		}
		return one(&column.Vector{Type: trace.TypeBool, Ints: root}), nil
	case column.ParentID:
		vec, err := v.fixed(column.ParentID)
		if err != nil {
			return nil, err
		}
		present := column.NewBitmap(v.rows)
		for i := range v.rows {
			if !allZero(vec.Fixed[i*vec.Width : (i+1)*vec.Width]) {
				present.Set(i)
			}
		}
		return one(&column.Vector{Type: vec.Type, Present: present, Fixed: vec.Fixed, Width: vec.Width}), nil
	case column.Kind:
		return v.enum(name, kindNames)
	case column.Status:
		return v.enum(name, statusNames)
	case column.Signal:
		return v.enum(name, signalNames)
	case column.Service:
		vec, err := v.fixed(name)
		if err != nil {
			return nil, err
		}
		return one(hideEmpty(vec, v.rows)), nil
	}
	types := v.block.Types(name)
	vecs := make([]*column.Vector, 0, len(types))
	for _, t := range types {
		vec, err := v.block.Column(name, t)
		if err != nil {
			return nil, err
		}
		if vec != nil {
			vecs = append(vecs, vec)
		}
	}
	return vecs, nil
}

func one(v *column.Vector) []*column.Vector {
	if v == nil {
		return nil
	}
	return []*column.Vector{v}
}

// fixed returns a fixed column as the block has it, loaded once.
func (v *view) fixed(name string) (*column.Vector, error) {
	vec, ok := v.raw[name]
	if ok {
		return vec, nil
	}
	vec, err := v.load(name)
	if err == nil {
		v.raw[name] = vec
	}
	return vec, err
}

// load reads a fixed column. A block without it holds zeros.
func (v *view) load(name string) (*column.Vector, error) {
	for _, t := range v.block.Types(name) {
		vec, err := v.block.Column(name, t)
		if err != nil {
			return nil, err
		}
		if vec != nil {
			return vec, nil
		}
	}
	switch name {
	case column.TraceID:
		return &column.Vector{Type: trace.TypeBytes, Fixed: make([]byte, 16*v.rows), Width: 16}, nil
	case column.SpanID, column.ParentID:
		return &column.Vector{Type: trace.TypeBytes, Fixed: make([]byte, 8*v.rows), Width: 8}, nil
	case column.Name, column.Service, column.Environment:
		return &column.Vector{Type: trace.TypeString, IDs: make([]uint32, v.rows), Dict: column.Dict{Ends: []uint32{0}}}, nil
	}
	return &column.Vector{Type: trace.TypeInt, Ints: make([]int64, v.rows)}, nil
}

// enumNames is a dictionary of the names of small numbers.
type enumNames struct {
	dict  column.Dict
	names []string
}

func newEnumNames(names ...string) enumNames {
	e := enumNames{names: names}
	for _, n := range names {
		e.dict.Arena = append(e.dict.Arena, n...)
		e.dict.Ends = append(e.dict.Ends, uint32(len(e.dict.Arena)))
	}
	return e
}

var (
	kindNames = newEnumNames(trace.Kind(0).String(), trace.Kind(1).String(), trace.Kind(2).String(),
		trace.Kind(3).String(), trace.Kind(4).String(), trace.Kind(5).String())
	statusNames = newEnumNames(trace.StatusUnset.String(), trace.StatusOK.String(), trace.StatusError.String())
	signalNames = newEnumNames("span", "log")
)

// of is the name of a number; one without a name shows as the first.
func (e *enumNames) of(n int) string {
	if n < 0 || n >= len(e.names) {
		n = 0
	}
	return e.names[n]
}

// enum shows a column of small numbers by their names; a number without a name
// shows as the first.
func (v *view) enum(name string, names enumNames) ([]*column.Vector, error) {
	vec, err := v.fixed(name)
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, v.rows)
	for i, n := range vec.Ints[:v.rows] {
		if n > 0 && int(n) < len(names.names) {
			ids[i] = uint32(n)
		}
	}
	return one(&column.Vector{Type: trace.TypeString, Present: vec.Present, IDs: ids, Dict: names.dict}), nil
}

// hideEmpty makes the rows with the empty text rows without a value.
func hideEmpty(vec *column.Vector, rows int) *column.Vector {
	if vec.IDs == nil {
		return vec
	}
	empty := -1
	for id := range vec.Dict.Len() {
		if vec.Dict.At(uint32(id)) == "" {
			empty = id
			break
		}
	}
	if empty < 0 {
		return vec
	}
	present := column.NewBitmap(rows)
	for i := range rows {
		if vec.IDs[i] != uint32(empty) && vec.Has(i) {
			present.Set(i)
		}
	}
	out := *vec
	out.Present = present
	return &out
}

// appendAbsent adds the vectors of a further name, for the rows only that no
// vector of vecs has.
func appendAbsent(vecs, more []*column.Vector, rows int) []*column.Vector {
	if len(vecs) == 0 || len(more) == 0 {
		return append(vecs, more...)
	}
	taken := presence(vecs, rows)
	out := vecs[:len(vecs):len(vecs)]
	for _, m := range more {
		left := column.NewBitmap(rows)
		any := uint64(0)
		for w := range left {
			has := ^uint64(0)
			if m.Present != nil {
				has = m.Present[w]
			}
			left[w] = has &^ taken[w]
			any |= left[w]
		}
		trim(left, rows)
		if any != 0 {
			rest := *m
			rest.Present = left
			out = append(out, &rest)
		}
	}
	return out
}

// presence is the rows that one of the vectors has.
func presence(vecs []*column.Vector, rows int) column.Bitmap {
	b := column.NewBitmap(rows)
	for _, v := range vecs {
		if v.Present == nil {
			fill(b, rows)
			return b
		}
		for w := range b {
			b[w] |= v.Present[w]
		}
	}
	trim(b, rows)
	return b
}

// fill sets all bits of the rows.
func fill(b column.Bitmap, rows int) {
	for w := range b {
		b[w] = math.MaxUint64
	}
	trim(b, rows)
}

// trim clears the bits beyond the rows.
func trim(b column.Bitmap, rows int) {
	if r := uint(rows) & 63; r != 0 {
		b[len(b)-1] &= 1<<r - 1
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// spanValue is the value of a column in a span.
func spanValue(s *trace.Span, name string) trace.Value {
	text := func(s string) trace.Value {
		if s == "" {
			return trace.Value{}
		}
		return trace.String(s)
	}
	switch name {
	case durationMS:
		return trace.Float(float64(s.DurationNano) / 1e6)
	case isRoot:
		return trace.Bool(s.ParentID.IsZero())
	case column.TraceID:
		return trace.String(s.TraceID.String())
	case column.SpanID:
		return trace.String(s.SpanID.String())
	case column.ParentID:
		if s.ParentID.IsZero() {
			return trace.Value{}
		}
		return trace.String(s.ParentID.String())
	case column.Start:
		return trace.Int(s.StartUnixNano)
	case column.Duration:
		return trace.Int(s.DurationNano)
	case column.Arrived:
		return trace.Int(s.ArrivedUnixNano)
	case column.Name:
		return trace.String(s.Name)
	case column.Service:
		return text(s.Service)
	case column.Environment:
		return trace.String(s.Environment)
	case column.Kind:
		return trace.String(kindNames.of(int(s.Kind)))
	case column.Status:
		return trace.String(statusNames.of(int(s.Status)))
	case column.StatusMessage:
		return text(s.StatusMessage)
	case column.Error:
		return trace.Bool(s.Error)
	case column.Signal:
		return trace.String(signalNames.of(int(s.Signal)))
	case column.TraceState:
		return text(s.TraceState)
	}
	if v, ok := s.Attribute(name); ok {
		return v
	}
	if key, ok := column.TakenKey(name); ok {
		v, _ := s.Attribute(key)
		return v
	}
	for _, other := range aliases[name] {
		if v, ok := s.Attribute(other); ok {
			return v
		}
	}
	if isEnvironment(name) {
		return trace.String(s.Environment)
	}
	return trace.Value{}
}

// isEnvironment reports whether the column falls back to the row's environment.
func isEnvironment(name string) bool {
	return name == "deployment.environment" || name == "deployment.environment.name"
}
