package memtable

import (
	"encoding/binary"
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
type chunk struct {
	fixed  fixedColumns
	nested nestedColumns
	dicts  struct{ name, service, environment, nested, shape column.DictBuilder }

	byKey   map[attributeKey]*attribute
	all     []*attribute
	first   *attribute // the guess for a row's first attribute
	message *attribute // status message, outside all
	state   *attribute // tracestate, outside all
	dirty   []*attribute

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
	kind, status, flags        []uint8 // flags: bit 0 error, bit 1 log record
	shape                      []uint32
}

const (
	flagError = 1 << iota
	flagLog
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
}

func newChunk() *chunk {
	c := &chunk{
		byKey:   make(map[attributeKey]*attribute),
		message: &attribute{key: column.StatusMessage, typ: trace.TypeString},
		state:   &attribute{key: column.TraceState, typ: trace.TypeString},
	}
	c.view.Store(&view{})
	return c
}

func (c *chunk) rows() int { return len(c.fixed.start) }

// add appends a row. After an error the chunk must not be used any more: the
// only one is column.ErrDictFull, which the store's limits keep out of reach.
func (c *chunk) add(s *trace.Span) error {
	row := uint32(c.rows())
	c.shape = c.shape[:0]
	prev := (*attribute)(nil)
	for i := range s.Attributes {
		kv := &s.Attributes[i]
		if kv.Value.Type == trace.TypeNone {
			continue
		}
		a := c.attribute(prev, kv.Key, kv.Value.Type)
		if a.has(row) {
			continue
		}
		if err := c.put(a, row, kv.Value); err != nil {
			return err
		}
		c.shape = binary.AppendUvarint(c.shape, uint64(a.position))
		prev = a
	}
	if s.StatusMessage != "" {
		if err := c.put(c.message, row, trace.String(s.StatusMessage)); err != nil {
			return err
		}
	}
	if s.TraceState != "" {
		if err := c.put(c.state, row, trace.String(s.TraceState)); err != nil {
			return err
		}
	}
	if err := c.addNested(row, s); err != nil {
		return err
	}
	return c.addFixed(s)
}

func (c *chunk) put(a *attribute, row uint32, v trace.Value) error {
	if !a.dirty {
		a.dirty = true
		c.dirty = append(c.dirty, a)
	}
	return a.add(row, v)
}

// attribute finds or makes the column. Rows of one kind carry their keys in one
// order, so the column that followed prev last time is nearly always right.
func (c *chunk) attribute(prev *attribute, key string, t trace.Type) *attribute {
	guess := c.first
	if prev != nil {
		guess = prev.next
	}
	if guess != nil && guess.typ == t && guess.key == key {
		return guess
	}
	a := c.byKey[attributeKey{key, t}]
	if a == nil {
		key = string(append([]byte(nil), key...))
		a = &attribute{key: key, typ: t, position: uint32(len(c.all))}
		c.byKey[attributeKey{key, t}] = a
		c.all = append(c.all, a)
	}
	if prev != nil {
		prev.next = a
	} else {
		c.first = a
	}
	return a
}

func (c *chunk) addFixed(s *trace.Span) error {
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
	shape, err := c.dicts.shape.ID(string(c.shape))
	if err != nil {
		return err
	}
	if c.rows() == 0 || s.StartUnixNano < c.min {
		c.min = s.StartUnixNano
	}
	if c.rows() == 0 || s.StartUnixNano > c.max {
		c.max = s.StartUnixNano
	}
	var flags uint8
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
	return c.dicts.nested.ID(string(c.scratch))
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

func (c *chunk) bytes() int64 {
	f, n := &c.fixed, &c.nested
	sum := int64(cap(f.trace)+cap(f.span)+cap(f.parent)) + 8*int64(cap(f.start)*3) + 4*int64(cap(f.name)*4) + int64(cap(f.kind)*3)
	sum += 20*int64(cap(n.eventRow)) + 36*int64(cap(n.linkRow))
	for _, d := range []*column.DictBuilder{&c.dicts.name, &c.dicts.service, &c.dicts.environment, &c.dicts.nested, &c.dicts.shape} {
		sum += d.Bytes()
	}
	for _, a := range c.all {
		sum += a.bytes()
	}
	return sum + c.message.bytes() + c.state.bytes()
}
