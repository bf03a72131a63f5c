package otlp

import (
	"encoding/hex"
	"math"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Decoder turns export requests into rows. Its buffers are reused from row to row
// and request to request; it is not for use by several goroutines at once. The
// zero value is ready.
type Decoder struct {
	raw    []byte
	in     Arrival
	fn     func(*column.Row) error
	report Report

	marks  func(key string) column.Marks
	keys   *keyTable
	row    column.Row
	attrs  attributes // of the row
	inner  attributes // of the event or link being read
	joined []trace.Attribute
	arena  []byte // text made for the row: flattened keys, JSON, repaired strings

	flattened int // keys made from maps in this row, scope or resource

	service, env string

	resource      attributes
	resourceArena []byte
	scope         attributes
	scopeArena    []byte
	shared        column.Shared // what every row of the scope takes over
	base          []inherited   // of shared
	serial        uint64        // of the last shared list

	lifted struct { // the last exception event
		any, failed   bool
		typ, msg      trace.Value
		failureReason trace.Value
	}
}

// UseMarks lets the rows from now on have marks: of each of their keys those that
// fn gives it, which is asked once a key.
func (d *Decoder) UseMarks(fn func(key string) column.Marks) { d.marks, d.keys = fn, nil }

// DecodeRows walks a protobuf request and calls fn for each record that is not
// rejected. The row, and every string in it but the keys of attributes, is valid
// until fn returns: strings alias raw or the decoder's buffers. A link's ids may be
// zero, as OpenTelemetry allows. fn's error stops the walk and comes back as it
// is; an [*InvalidError] means that raw cannot be read, which never happens to
// what [Validate] accepted.
func (d *Decoder) DecodeRows(sig Signal, raw []byte, in Arrival, fn func(*column.Row) error) (Report, error) {
	if d.keys == nil || d.keys.full() {
		d.keys = newKeyTable(d.marks)
		for which, a := range []*attributes{listResource: &d.resource, listScope: &d.scope, listRow: &d.attrs, listInner: &d.inner} {
			a.keys, a.which, a.first = d.keys, which, guess{}
		}
	}
	d.raw, d.in, d.fn, d.report = raw, in, fn, Report{}
	defer func() { d.raw, d.fn = nil, nil }()
	err := d.each(raw, 1, func(b []byte) error { return d.resourceRecords(sig, b) })
	return d.report, err
}

// Decode is DecodeRows with whole spans: what a row takes over is among its
// attributes.
func (d *Decoder) Decode(sig Signal, raw []byte, in Arrival, fn func(*trace.Span) error) (Report, error) {
	return d.DecodeRows(sig, raw, in, func(r *column.Row) error {
		if r.Shared != nil {
			d.joined = append(append(d.joined[:0], r.Attributes...), r.Shared.Attributes...)
			r.Attributes = d.joined
		}
		return fn(&r.Span)
	})
}

// each calls fn for every bytes field of the number.
func (d *Decoder) each(b []byte, number int, fn func([]byte) error) error {
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		if f.number == number && f.typ == wireBytes {
			if err := fn(f.data); err != nil {
				return err
			}
		}
		i = j
	}
	return nil
}

func (d *Decoder) invalid(part []byte, i int, why string) error {
	return &InvalidError{Offset: offset(d.raw, part, i), Message: why}
}

// resourceRecords reads a ResourceSpans or ResourceLogs. The resource may stand
// behind the records it describes, so it is looked for first.
func (d *Decoder) resourceRecords(sig Signal, b []byte) error {
	d.resource.reset()
	d.resourceArena = d.resourceArena[:0]
	d.flattened = 0
	if err := d.each(b, 1, d.readResource); err != nil {
		return err
	}
	if err := d.each(b, 3, func(url []byte) error {
		if len(url) > 0 {
			d.resource.putNew(AttrResourceSchema, trace.String(text(url, &d.resourceArena)))
		}
		return nil
	}); err != nil {
		return err
	}
	d.service = unknownService
	if v, ok := d.resource.get(d.keys.service); ok {
		if name := v.Text(); name != "" {
			d.service = name
		}
		d.resource.remove(d.keys.service)
	}
	d.env = environmentOf(d.in.Environment, &d.resource)
	return d.each(b, 2, func(part []byte) error { return d.scopeRecords(sig, part) })
}

func (d *Decoder) readResource(b []byte) error {
	var f wireField
	var dropped uint64
	var entities []byte
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireBytes:
			if err := d.keyValue(f.data, &d.resource, &d.resourceArena); err != nil {
				return err
			}
		case 2<<3 | wireVarint:
			dropped = f.num
		case 3<<3 | wireBytes:
			var err error
			if entities, err = d.entityRef(entities, f.data); err != nil {
				return err
			}
		}
		i = j
	}
	if dropped > 0 {
		d.resource.putNew(AttrResourceDropped, trace.Int(int64(dropped)))
	}
	if entities != nil {
		d.resource.putNew(AttrEntityRefs, trace.JSON(alias(append(entities, ']'))))
	}
	return nil
}

// entityRef adds a reference to the JSON array in dst, which begins with "[".
func (d *Decoder) entityRef(dst, b []byte) ([]byte, error) {
	open := byte('[')
	if dst != nil {
		open = ','
	}
	dst = append(dst, open, '{')
	var f wireField
	first := true
	name := func(s string) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONString(dst, s), ':')
	}
	for _, part := range entityRef.fields {
		n := 0
		for i := 0; i < len(b); {
			j, why := next(b, i, &f)
			if j < 0 {
				return dst, d.invalid(b, i, why)
			}
			if f.number == part.number && f.typ == wireBytes && (part.repeated || n == 0) {
				switch {
				case n == 0 && part.repeated:
					name(part.name)
					dst = append(dst, '[')
				case n == 0:
					name(part.name)
				default:
					dst = append(dst, ',')
				}
				dst = appendJSONString(dst, alias(f.data))
				n++
			}
			i = j
		}
		if part.repeated && n > 0 {
			dst = append(dst, ']')
		}
	}
	return append(dst, '}'), nil
}

// scopeRecords reads a ScopeSpans or ScopeLogs.
func (d *Decoder) scopeRecords(sig Signal, b []byte) error {
	d.scope.reset()
	d.scopeArena = d.scopeArena[:0]
	d.flattened = 0
	if err := d.each(b, 1, d.readScope); err != nil {
		return err
	}
	if err := d.each(b, 3, func(url []byte) error {
		if len(url) > 0 {
			d.scope.putNew(AttrScopeSchema, trace.String(text(url, &d.scopeArena)))
		}
		return nil
	}); err != nil {
		return err
	}
	d.inherit()
	if sig == Logs {
		return d.each(b, 2, d.logRecord)
	}
	return d.each(b, 2, d.span)
}

func (d *Decoder) readScope(b []byte) error {
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireBytes:
			if len(f.data) > 0 {
				d.scope.put(AttrScopeName, trace.String(text(f.data, &d.scopeArena)))
			}
		case 2<<3 | wireBytes:
			if len(f.data) > 0 {
				d.scope.put(AttrScopeVersion, trace.String(text(f.data, &d.scopeArena)))
			}
		case 3<<3 | wireBytes:
			if err := d.keyValue(f.data, &d.scope, &d.scopeArena); err != nil {
				return err
			}
		case 4<<3 | wireVarint:
			if f.num > 0 {
				d.scope.putNew(AttrScopeDropped, trace.Int(int64(f.num)))
			}
		}
		i = j
	}
	return nil
}

// inherit makes the list of attributes that each row of the scope takes over. A
// resource's attribute whose key the scope has too gets its prefix here.
func (d *Decoder) inherit() {
	d.serial++
	d.attrs.shared = d.serial
	sh := &d.shared
	sh.Serial, sh.Attributes, sh.Hashes, d.base = d.serial, sh.Attributes[:0], sh.Hashes[:0], d.base[:0]
	sh.Marks = 0
	add := func(from *attributes, prefix string) {
		for i, k := range from.keyOf {
			fallback := prefix
			if from == &d.resource && d.scope.find(k) >= 0 {
				k, fallback = d.keys.key(prefix+k.name), ""
			}
			if k.shared == d.serial {
				continue
			}
			k.shared = d.serial
			sh.Marks |= k.marks
			sh.Attributes = append(sh.Attributes, trace.Attribute{Key: k.name, Value: from.list[i].Value})
			sh.Hashes = append(sh.Hashes, column.AttributeHash{Key: k.hash, Value: from.hashes[i].Value})
			d.base = append(d.base, inherited{k, fallback})
		}
	}
	add(&d.scope, "scope.")
	add(&d.resource, "resource.")
}

// begin resets the row for the next record.
func (d *Decoder) begin() {
	d.arena = d.arena[:0]
	d.flattened = 0
	d.attrs.reset()
	d.row.Span = trace.Span{
		Service: d.service, Environment: d.env, ArrivedUnixNano: d.in.UnixNano,
		Events: d.row.Events[:0], Links: d.row.Links[:0],
	}
	d.row.EventMarks = 0
	d.lifted.any, d.lifted.failed = false, false
}

// span reads a Span and hands it on.
func (d *Decoder) span(b []byte) error {
	d.begin()
	s := &d.row.Span
	var ids recordIDs
	var parent []byte
	var start, end uint64
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		var err error
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireBytes:
			ids.trace = f.data
		case 2<<3 | wireBytes:
			ids.span = f.data
		case 3<<3 | wireBytes:
			s.TraceState = text(f.data, &d.arena)
		case 4<<3 | wireBytes:
			parent = f.data
		case 5<<3 | wireBytes:
			s.Name = text(f.data, &d.arena)
		case 6<<3 | wireVarint:
			s.Kind = trace.KindUnspecified
			if f.num <= uint64(trace.KindConsumer) {
				s.Kind = trace.Kind(f.num)
			} else {
				d.attrs.putNew(AttrKindNumber, trace.Int(int64(f.num)))
			}
		case 7<<3 | wireFixed64:
			start = f.num
		case 8<<3 | wireFixed64:
			end = f.num
		case 9<<3 | wireBytes:
			err = d.keyValue(f.data, &d.attrs, &d.arena)
		case 10<<3 | wireVarint:
			d.count(AttrDroppedAttributes, f.num)
		case 11<<3 | wireBytes:
			err = d.event(f.data)
		case 12<<3 | wireVarint:
			d.count(AttrDroppedEvents, f.num)
		case 13<<3 | wireBytes:
			err = d.link(f.data)
		case 14<<3 | wireVarint:
			d.count(AttrDroppedLinks, f.num)
		case 15<<3 | wireBytes:
			err = d.status(f.data)
		case 16<<3 | wireFixed32:
			d.count(AttrFlags, f.num)
		}
		if err != nil {
			return err
		}
		i = j
	}
	if why := ids.fault(Traces); why != "" {
		d.report.reject(why)
		return nil
	}
	s.StartUnixNano = unixNano(start)
	switch {
	case end >= start:
		s.DurationNano = unixNano(end) - s.StartUnixNano
	case end > 0:
		d.attrs.putNew(AttrEndTime, trace.Int(unixNano(end)))
	}
	s.TraceID = d.traceID(ids.trace, AttrOriginalTraceID)
	s.SpanID = d.spanID(ids.span, AttrOriginalSpanID)
	s.ParentID = d.spanID(parent, "")
	s.Error = s.Error || s.Status == trace.StatusError
	return d.deliver()
}

// deliver finishes the row by the rules of the package comment and calls fn.
func (d *Decoder) deliver() error {
	s := &d.row.Span
	if d.lifted.any {
		s.Error = true
		if d.lifted.typ.Type != trace.TypeNone {
			d.attrs.putNew(keyExceptionType, d.lifted.typ)
		}
		if d.lifted.msg.Type != trace.TypeNone {
			d.attrs.putNew(keyExceptionMessage, d.lifted.msg)
		}
	}
	if d.lifted.failed {
		s.Error = true
		if d.lifted.failureReason.Type != trace.TypeNone {
			d.attrs.putNew(keyExceptionMessage, d.lifted.failureReason)
		}
	}
	if v, ok := d.attrs.get(d.keys.err); ok && truthy(v) {
		s.Error = true
	}
	if v, ok := d.attrs.get(d.keys.service); ok {
		if name := v.Text(); name != "" && name != s.Service {
			s.Service = name
			d.attrs.putNew("resource."+keyService, trace.String(d.service))
		}
		d.attrs.remove(d.keys.service)
	}
	d.row.Shared = nil
	switch {
	case len(d.base) == 0:
	case d.attrs.clashes:
		d.takeOver()
	default:
		d.row.Shared = &d.shared
	}
	s.Attributes, d.row.Hashes = d.attrs.list, d.attrs.hashes
	d.row.Marks = d.attrs.marks
	if d.row.Shared != nil {
		d.row.Marks |= d.shared.Marks
	}
	d.report.Accepted++
	return d.fn(&d.row)
}

// takeOver adds what the row takes over to its own attributes, of which some have
// the same key.
func (d *Decoder) takeOver() {
	for i, b := range d.base {
		v, hash := d.shared.Attributes[i].Value, d.shared.Hashes[i].Value
		at := d.attrs.find(b.key)
		switch {
		case at < 0:
			d.attrs.putKey(b.key, v, hash)
		case b.prefix != "" && d.attrs.list[at].Value != v:
			if k := d.keys.key(b.prefix + b.key.name); d.attrs.find(k) < 0 {
				d.attrs.putKey(k, v, hash)
			}
		}
	}
}

// event reads an Event.
func (d *Decoder) event(b []byte) error {
	n := len(d.row.Events)
	if n < cap(d.row.Events) {
		d.row.Events = d.row.Events[:n+1]
	} else {
		d.row.Events = append(d.row.Events, trace.Event{})
	}
	e := &d.row.Events[n]
	*e = trace.Event{Attributes: e.Attributes[:0]}
	d.inner.reset()
	d.inner.list = e.Attributes
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireFixed64:
			e.TimeUnixNano = unixNano(f.num)
		case 2<<3 | wireBytes:
			e.Name = text(f.data, &d.arena)
		case 3<<3 | wireBytes:
			if err := d.keyValue(f.data, &d.inner, &d.arena); err != nil {
				return err
			}
		case 4<<3 | wireVarint:
			if f.num > 0 {
				d.inner.putNew(AttrDroppedAttributes, trace.Int(int64(f.num)))
			}
		}
		i = j
	}
	switch e.Name {
	case eventException:
		d.lifted.any = true
		d.lifted.typ, _ = d.inner.get(d.keys.exceptionType)
		d.lifted.msg, _ = d.inner.get(d.keys.exceptionMessage)
	case eventJobFailed:
		d.lifted.failed = true
		d.lifted.failureReason, _ = d.inner.get(d.keys.failedReason)
	}
	e.Attributes = d.inner.list
	d.inner.list = nil
	d.row.EventMarks |= d.inner.marks
	return nil
}

// link reads a Link.
func (d *Decoder) link(b []byte) error {
	n := len(d.row.Links)
	if n < cap(d.row.Links) {
		d.row.Links = d.row.Links[:n+1]
	} else {
		d.row.Links = append(d.row.Links, trace.Link{})
	}
	l := &d.row.Links[n]
	*l = trace.Link{Attributes: l.Attributes[:0]}
	d.inner.reset()
	d.inner.list = l.Attributes
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireBytes:
			l.TraceID = d.traceID(f.data, "")
		case 2<<3 | wireBytes:
			l.SpanID = d.spanID(f.data, "")
		case 3<<3 | wireBytes:
			l.TraceState = text(f.data, &d.arena)
		case 4<<3 | wireBytes:
			if err := d.keyValue(f.data, &d.inner, &d.arena); err != nil {
				return err
			}
		case 5<<3 | wireVarint:
			if f.num > 0 {
				d.inner.putNew(AttrDroppedAttributes, trace.Int(int64(f.num)))
			}
		case 6<<3 | wireFixed32:
			if f.num > 0 {
				d.inner.putNew(AttrFlags, trace.Int(int64(f.num)))
			}
		}
		i = j
	}
	l.Attributes = d.inner.list
	d.inner.list = nil
	return nil
}

// status reads a Status.
func (d *Decoder) status(b []byte) error {
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 2<<3 | wireBytes:
			d.row.StatusMessage = text(f.data, &d.arena)
		case 3<<3 | wireVarint:
			d.row.Status = trace.StatusUnset
			if f.num <= uint64(trace.StatusError) {
				d.row.Status = trace.StatusCode(f.num)
			} else {
				d.attrs.putNew(AttrStatusNumber, trace.Int(int64(f.num)))
			}
		}
		i = j
	}
	return nil
}

// count keeps a number of the row that is not zero.
func (d *Decoder) count(key string, n uint64) {
	if n > 0 {
		d.attrs.putNew(key, trace.Int(int64(n)))
	}
}

// traceID makes a trace id of what was sent and, if that was not one, keeps its
// text under the key.
func (d *Decoder) traceID(b []byte, key string) (id trace.ID) {
	switch len(b) {
	case 16:
		return trace.ID(b)
	case 8:
		copy(id[8:], b)
		return id
	case 0:
		return id
	}
	if allZero(b) {
		return id
	}
	t := hex.EncodeToString(b)
	if key != "" {
		d.attrs.putNew(key, trace.String(t))
	}
	return hashTraceID(t)
}

// spanID is traceID for span ids.
func (d *Decoder) spanID(b []byte, key string) (id trace.SpanID) {
	if len(b) == 8 {
		return trace.SpanID(b)
	}
	if allZero(b) {
		return id
	}
	t := hex.EncodeToString(b)
	if key != "" {
		d.attrs.putNew(key, trace.String(t))
	}
	return hashSpanID(t)
}

// unixNano brings OTLP's unsigned times into the row's signed ones; the year 2262
// is the last that fits.
func unixNano(t uint64) int64 { return int64(min(t, math.MaxInt64)) }
