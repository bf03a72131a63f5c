package memtable

import (
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

type attributeKey struct {
	key string
	typ trace.Type
}

// chunk is a run of at most column.MaxBlockRows rows with its own dictionaries:
// it becomes one row group. The writer appends; view is what readers see.
//
// Rows of one scope take over the same attributes of it and its resource. Such
// rows are a group: a row holds the number of its group, and the columns hold the
// value of the group once. Group 0 takes over nothing.
type chunk struct {
	fixed  fixedColumns
	nested nestedColumns
	dicts  struct{ name, service, environment, nested, shape, group column.DictBuilder }

	byKey       map[attributeKey]*attribute
	all         []*attribute
	first       guess      // of a row's first attribute
	firstShared guess      // of a group's first attribute
	message     *attribute // status message, outside all
	state       *attribute // tracestate, outside all
	dirty       []*attribute
	expect      *sizes

	shared struct { // what the last row took over
		from   *column.Shared
		serial uint64
		group  uint32
		shape  []byte
	}
	min, max int64
	shape    []byte // the shape being written
	scratch  []byte

	view atomic.Pointer[view]
}

// fixedColumns hold one value a row. Every slice only grows.
type fixedColumns struct {
	trace, span, parent        []byte
	start, duration, arrived   []int64
	name, service, environment []uint32
	kind, status, flags        []uint8 // flags: see flagError
	shape, group               []uint32
}

// fixedRowBytes is what fixedColumns hold of a row.
const fixedRowBytes = 16 + 2*8 + 3*8 + 3*4 + 3 + 2*4

const (
	flagError = 1 << iota
	flagLog
	flagAside  // no span, but a note on its parent
	flagCaused // as the root: something caused it
	flagRun    // one run of a job
)

// nestedColumns hold events and links, in row order.
type nestedColumns struct {
	eventRow, eventName, eventAttributes []uint32
	eventTime                            []int64
	linkRow, linkState, linkAttributes   []uint32
	linkTrace                            []trace.ID
	linkSpan                             []trace.SpanID
}

// view is a chunk up to a watermark: n rows. It is immutable.
type view struct {
	n                          int
	min, max                   int64
	fixed                      fixedColumns
	nested                     nestedColumns
	name, service, environment column.Dict
	nestedDict, shapeDict      column.Dict
	all                        []*attribute

	counted   sync.Once
	groupRows []int
}

// groups are the groups of the rows, and the number of rows in each.
func (v *view) groups() (groups []uint32, rows []int) {
	groups = v.fixed.group[:v.n:v.n]
	v.counted.Do(func() {
		for _, g := range groups {
			for int(g) >= len(v.groupRows) {
				v.groupRows = append(v.groupRows, 0)
			}
			v.groupRows[g]++
		}
	})
	return groups, v.groupRows
}

// sizes are the sizes that a chunk came to. The next one makes room for as much at
// once, so that nothing is moved, and left for the collector, while it grows.
type sizes struct {
	rows       int
	attributes map[attributeKey]attributeSizes
}

type attributeSizes struct{ own, dict, arena int }

// minExpected is how many rows make sizes that say something of the next chunk.
const minExpected = 4096

func (c *chunk) sizes() *sizes {
	if c.rows() < minExpected {
		return nil
	}
	s := &sizes{rows: c.rows(), attributes: make(map[attributeKey]attributeSizes, len(c.all))}
	for key, a := range c.byKey {
		s.attributes[key] = attributeSizes{own: len(a.own.places), dict: a.dict.Len(), arena: a.dict.ArenaLen()}
	}
	return s
}

// room is n and a sixteenth.
func room(n int) int { return n + n/16 }

func newChunk(expect *sizes) *chunk {
	c := &chunk{
		byKey:   make(map[attributeKey]*attribute),
		message: &attribute{key: column.StatusMessage, typ: trace.TypeString},
		state:   &attribute{key: column.TraceState, typ: trace.TypeString},
		expect:  expect,
	}
	if _, err := c.dicts.group.ID(""); err != nil {
		panic(err) // an empty dictionary is not full
	}
	if expect != nil {
		f, n := &c.fixed, min(room(expect.rows), column.MaxBlockRows)
		f.trace, f.span, f.parent = make([]byte, 0, 16*n), make([]byte, 0, 8*n), make([]byte, 0, 8*n)
		f.start, f.duration, f.arrived = make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
		f.name, f.service, f.environment = make([]uint32, 0, n), make([]uint32, 0, n), make([]uint32, 0, n)
		f.kind, f.status, f.flags = make([]uint8, 0, n), make([]uint8, 0, n), make([]uint8, 0, n)
		f.shape, f.group = make([]uint32, 0, n), make([]uint32, 0, n)
	}
	c.view.Store(&view{})
	return c
}

func (c *chunk) rows() int { return len(c.fixed.start) }

// add appends a row. flags are what of it is not in its fields. After an error the chunk must not be used any more: the
// only one is column.ErrDictFull, which the store's limits keep out of reach.
func (c *chunk) add(r *column.Row, flags uint8) error {
	if err := c.share(r.Shared); err != nil {
		return err
	}
	row := uint32(c.rows())
	c.shape = c.shape[:0]
	prev := &c.first
	for i := range r.Attributes {
		kv := &r.Attributes[i]
		if kv.Value.Type == trace.TypeNone {
			continue
		}
		a := c.attribute(prev, kv.Key, kv.Value.Type)
		if a.own.has(row) {
			continue
		}
		if err := c.put(a, row, kv.Value, r.Hashes[i].Value); err != nil {
			return err
		}
		c.shape = binary.AppendUvarint(c.shape, uint64(a.position))
		prev = &a.next
	}
	c.shape = append(c.shape, c.shared.shape...)
	if r.StatusMessage != "" {
		if err := c.put(c.message, row, trace.String(r.StatusMessage), column.HashString(0, r.StatusMessage)); err != nil {
			return err
		}
	}
	if r.TraceState != "" {
		if err := c.put(c.state, row, trace.String(r.TraceState), column.HashString(0, r.TraceState)); err != nil {
			return err
		}
	}
	if err := c.addNested(row, &r.Span); err != nil {
		return err
	}
	return c.addFixed(&r.Span, flags)
}

func (c *chunk) put(a *attribute, row uint32, v trace.Value, hash uint64) error {
	cell, err := a.cell(v, hash)
	if err != nil {
		return err
	}
	a.own.add(row, column.IsText(a.typ), cell)
	c.touch(a)
	return nil
}

// touch marks a column as grown.
func (c *chunk) touch(a *attribute) {
	if !a.dirty {
		a.dirty = true
		c.dirty = append(c.dirty, a)
	}
}

// share finds or makes the group of the rows that take over s.
func (c *chunk) share(s *column.Shared) error {
	was := &c.shared
	if s == nil {
		was.from, was.group, was.shape = nil, 0, was.shape[:0]
		return nil
	}
	if was.from == s && was.serial == s.Serial {
		return nil
	}
	was.from, was.serial, was.shape = s, s.Serial, was.shape[:0]
	// Equal content, of another request, is the same group.
	content := c.scratch[:0]
	prev := &c.firstShared
	for i := range s.Attributes {
		kv := &s.Attributes[i]
		a := c.attribute(prev, kv.Key, kv.Value.Type)
		cell, err := a.cell(kv.Value, s.Hashes[i].Value)
		if err != nil {
			return err
		}
		was.shape = binary.AppendUvarint(was.shape, uint64(a.position))
		content = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(content, a.position), cell)
		prev = &a.next
	}
	c.scratch = content
	known := c.dicts.group.Len()
	group, err := c.dicts.group.BytesID(content)
	if err != nil {
		return err
	}
	was.group = group
	if int(group) < known {
		return nil
	}
	for ; len(content) > 0; content = content[12:] {
		a := c.all[binary.LittleEndian.Uint32(content)]
		a.shared.add(group, column.IsText(a.typ), binary.LittleEndian.Uint64(content[4:]))
		c.touch(a)
	}
	return nil
}

// attribute finds or makes the column. Rows of one kind carry their keys in one
// order, so the guess is nearly always right.
func (c *chunk) attribute(g *guess, key string, t trace.Type) *attribute {
	if a := g[0]; a != nil && a.typ == t && a.key == key {
		return a
	}
	a := g[1]
	if a == nil || a.typ != t || a.key != key {
		if a = c.byKey[attributeKey{key, t}]; a == nil {
			a = c.newAttribute(strings.Clone(key), t)
		}
	}
	g[0], g[1] = a, g[0]
	return a
}

func (c *chunk) newAttribute(key string, t trace.Type) *attribute {
	a := &attribute{key: key, typ: t, position: uint32(len(c.all))}
	c.byKey[attributeKey{key, t}] = a
	c.all = append(c.all, a)
	if c.expect == nil {
		return a
	}
	if n := c.expect.attributes[attributeKey{key, t}]; n.own > 0 {
		a.own.reserve(min(room(n.own), column.MaxBlockRows), column.IsText(t))
		if n.dict > 0 {
			a.dict.Reserve(room(n.dict), room(n.arena))
		}
	}
	return a
}

func (c *chunk) addFixed(s *trace.Span, flags uint8) error {
	name, err := c.dicts.name.ID(s.Name)
	if err != nil {
		return err
	}
	service, err := c.dicts.service.ID(s.Service)
	if err != nil {
		return err
	}
	environment, err := c.dicts.environment.ID(s.Environment)
	if err != nil {
		return err
	}
	shape, err := c.dicts.shape.BytesID(c.shape)
	if err != nil {
		return err
	}
	if c.rows() == 0 || s.StartUnixNano < c.min {
		c.min = s.StartUnixNano
	}
	if c.rows() == 0 || s.StartUnixNano > c.max {
		c.max = s.StartUnixNano
	}
	if s.Error {
		flags |= flagError
	}
	if s.Signal == trace.SignalLog {
		flags |= flagLog
	}
	f := &c.fixed
	f.trace = append(f.trace, s.TraceID[:]...)
	f.span = append(f.span, s.SpanID[:]...)
	f.parent = append(f.parent, s.ParentID[:]...)
	f.start = append(f.start, s.StartUnixNano)
	f.duration = append(f.duration, s.DurationNano)
	f.arrived = append(f.arrived, s.ArrivedUnixNano)
	f.name = append(f.name, name)
	f.service = append(f.service, service)
	f.environment = append(f.environment, environment)
	f.kind = append(f.kind, uint8(s.Kind))
	f.status = append(f.status, uint8(s.Status))
	f.flags = append(f.flags, flags)
	f.shape = append(f.shape, shape)
	f.group = append(f.group, c.shared.group)
	return nil
}

func (c *chunk) addNested(row uint32, s *trace.Span) error {
	n := &c.nested
	for i := range s.Events {
		e := &s.Events[i]
		name, err := c.dicts.nested.ID(e.Name)
		if err != nil {
			return err
		}
		attrs, err := c.attributesID(e.Attributes)
		if err != nil {
			return err
		}
		n.eventRow = append(n.eventRow, row)
		n.eventTime = append(n.eventTime, e.TimeUnixNano)
		n.eventName = append(n.eventName, name)
		n.eventAttributes = append(n.eventAttributes, attrs)
	}
	for i := range s.Links {
		l := &s.Links[i]
		state, err := c.dicts.nested.ID(l.TraceState)
		if err != nil {
			return err
		}
		attrs, err := c.attributesID(l.Attributes)
		if err != nil {
			return err
		}
		n.linkRow = append(n.linkRow, row)
		n.linkTrace = append(n.linkTrace, l.TraceID)
		n.linkSpan = append(n.linkSpan, l.SpanID)
		n.linkState = append(n.linkState, state)
		n.linkAttributes = append(n.linkAttributes, attrs)
	}
	return nil
}

func (c *chunk) attributesID(attrs []trace.Attribute) (uint32, error) {
	c.scratch = column.AppendAttributes(c.scratch[:0], attrs)
	return c.dicts.nested.BytesID(c.scratch)
}

// publish lets readers see every row added so far. Attribute columns first:
// whoever sees the watermark sees their values.
func (c *chunk) publish() {
	for _, a := range c.dirty {
		a.publish()
	}
	c.dirty = c.dirty[:0]
	c.view.Store(&view{
		n: c.rows(), min: c.min, max: c.max,
		fixed: c.fixed, nested: c.nested,
		name: c.dicts.name.Dict(), service: c.dicts.service.Dict(), environment: c.dicts.environment.Dict(),
		nestedDict: c.dicts.nested.Dict(), shapeDict: c.dicts.shape.Dict(),
		all: c.all,
	})
}

// Sizes of an event and a link in nestedColumns.
const (
	eventBytes       = 3*4 + 8
	linkColumnsBytes = 3*4 + 16 + 8
)

func (c *chunk) bytes() int64 {
	sum := fixedRowBytes*int64(cap(c.fixed.start)) + eventBytes*int64(cap(c.nested.eventRow)) + linkColumnsBytes*int64(cap(c.nested.linkRow))
	for _, d := range []*column.DictBuilder{&c.dicts.name, &c.dicts.service, &c.dicts.environment, &c.dicts.nested, &c.dicts.shape, &c.dicts.group} {
		sum += d.Bytes()
	}
	for _, a := range c.all {
		sum += a.bytes()
	}
	return sum + c.message.bytes() + c.state.bytes()
}
