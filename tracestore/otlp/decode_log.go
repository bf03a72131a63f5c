package otlp

import "redthread/tracestore/trace"

// logRecord reads a LogRecord with a trace id as a row of its own: its parent is
// the span it was written in, its name the body.
func (d *Decoder) logRecord(b []byte) error {
	d.begin()
	s := &d.row.Span
	s.Signal = trace.SignalLog
	var ids recordIDs
	var at, observed uint64
	var body []byte
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireFixed64:
			at = f.num
		case 2<<3 | wireVarint:
			d.count(AttrSeverityNumber, f.num)
			s.Error = f.num >= severityError
		case 3<<3 | wireBytes:
			if len(f.data) > 0 {
				d.attrs.putNew(AttrSeverityText, trace.String(text(f.data, &d.arena)))
			}
		case 5<<3 | wireBytes:
			body = f.data
		case 6<<3 | wireBytes:
			if err := d.keyValue(f.data, &d.attrs, &d.arena); err != nil {
				return err
			}
		case 7<<3 | wireVarint:
			d.count(AttrDroppedAttributes, f.num)
		case 8<<3 | wireFixed32:
			d.count(AttrFlags, f.num)
		case 9<<3 | wireBytes:
			ids.trace = f.data
		case 10<<3 | wireBytes:
			ids.span = f.data
		case 11<<3 | wireFixed64:
			observed = f.num
		case 12<<3 | wireBytes:
			if len(f.data) > 0 {
				d.attrs.putNew(AttrEventName, trace.String(text(f.data, &d.arena)))
			}
		}
		i = j
	}
	if why := ids.fault(Logs); why != "" {
		d.report.reject(why)
		return nil
	}
	if body != nil {
		v, _, fields, err := d.value(body, &d.arena)
		if err != nil {
			return err
		}
		s.Name = v.Text()
		if v.Type == trace.TypeJSON && s.Name != "null" {
			d.attrs.putNew(AttrBody, v)
			if err := d.flatten(AttrBody, fields, 1, &d.attrs, &d.arena); err != nil {
				return err
			}
		}
	}
	if at == 0 {
		at = observed
	}
	s.StartUnixNano = unixNano(at)
	if observed != 0 && observed != at {
		d.attrs.putNew(AttrObservedTime, trace.Int(unixNano(observed)))
	}
	s.TraceID = d.traceID(ids.trace, AttrOriginalTraceID)
	s.ParentID = d.spanID(ids.span, AttrOriginalSpanID)
	return d.deliver()
}
