package otlp

import "fmt"

// maxExpandedBytes bounds what a request may become: the attributes of a
// resource and scope are attributes of each of their rows, so a small body could
// otherwise stand for terabytes. A batch of 8,192 spans with 5 kB of resource is
// 42 MB.
const maxExpandedBytes = 512 << 20

// Validate walks a protobuf request once, without decoding it, and reports how
// many records [Decoder.Decode] will deliver and reject; the two agree on every
// input. The error is an [*InvalidError] when the request cannot be read: cut
// short, a field of the wrong wire type, or nested deeper than 100 levels. Data
// points of metrics are counted as accepted.
func Validate(sig Signal, raw []byte) (Report, error) {
	v := validator{raw: raw}
	if err := v.walk(requestOf(sig), raw, 0); err != nil {
		return Report{}, err
	}
	return v.report, nil
}

type validator struct {
	raw      []byte
	report   Report
	shared   int64 // bytes of the resource and scope being walked
	expanded int64
}

func (v *validator) invalid(part []byte, i int, m *message, why string) error {
	return &InvalidError{Field: m.name, Offset: offset(v.raw, part, i), Message: why}
}

func (v *validator) walk(m *message, b []byte, depth int) error {
	if depth > maxDepth {
		return v.invalid(b, 0, m, errDepth)
	}
	var ids recordIDs
	if m == resSpans || m == resLogs || m == scopeSpans || m == scopeLogs {
		before := v.shared
		defer func() { v.shared = before }()
		if err := v.measure(m, b); err != nil {
			return err
		}
	}
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return v.invalid(b, i, m, why)
		}
		def := m.byNumber(f.number)
		if def != nil {
			if f.typ != def.kind.wireType() {
				return v.invalid(b, i, m, fmt.Sprintf("%s has wire type %d, want %d", def.name, f.typ, def.kind.wireType()))
			}
			switch {
			case def.message == keyValue && plainPair(f.data):
			case def.message != nil:
				if err := v.walk(def.message, f.data, depth+1); err != nil {
					return err
				}
			case m.record != 0 && def.kind == kindTraceID:
				ids.trace = f.data
			case m.record != 0 && def.kind == kindSpanID && def.name == "span_id":
				ids.span = f.data
			}
		}
		i = j
	}
	switch {
	case m.record != 0:
		v.expanded += v.shared
		if v.expanded > maxExpandedBytes {
			return v.invalid(b, 0, m, "resource and scope attributes times the records they describe exceed 512 MiB: send smaller batches")
		}
		if why := ids.fault(m.record); why != "" {
			v.report.reject(why)
		} else {
			v.report.Accepted++
		}
	case m.points:
		v.report.Accepted++
	}
	return nil
}

// plainPair reports whether b is surely a well-formed KeyValue: a short key and
// then a string, bool, int or double. It saves the walk through nearly all pairs.
func plainPair(b []byte) bool {
	if len(b) < 3 || b[0] != 1<<3|wireBytes || b[1] >= 0x80 {
		return false
	}
	i := 2 + int(b[1])
	if i+3 > len(b) || b[i] != 2<<3|wireBytes || int(b[i+1]) != len(b)-i-2 || b[i+1] >= 0x80 {
		return false
	}
	b = b[i+2:]
	switch b[0] {
	case 1<<3 | wireBytes, 7<<3 | wireBytes:
		return len(b) > 1 && b[1] < 0x80 && int(b[1]) == len(b)-2
	case 2<<3 | wireVarint, 3<<3 | wireVarint:
		_, j := uvarint(b, 1)
		return j == len(b)
	case 4<<3 | wireFixed64:
		return len(b) == 9
	}
	return false
}

// measure adds the bytes that each record below m takes over from it.
func (v *validator) measure(m *message, b []byte) error {
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return v.invalid(b, i, m, why)
		}
		if f.number != 2 { // field 2 holds the records
			v.shared += int64(j - i)
		}
		i = j
	}
	return nil
}

// recordIDs are the ids of a record as they were sent.
type recordIDs struct{ trace, span []byte }

// fault says why a record with these ids is rejected, empty if it is not.
func (ids recordIDs) fault(sig Signal) string {
	if sig == Logs {
		if allZero(ids.trace) {
			return "a log record without a trace id is not kept: redthread stores log records of traces only"
		}
		return ""
	}
	switch {
	case len(ids.trace) == 0:
		return "a span has no trace id"
	case allZero(ids.trace):
		return "a span's trace id is all zero"
	case len(ids.span) == 0:
		return "a span has no span id"
	case allZero(ids.span):
		return "a span's span id is all zero"
	}
	return ""
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
