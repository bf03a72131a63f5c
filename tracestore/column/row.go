package column

import "redthread/tracestore/trace"

// Row is a span on its way into columns, as a decoder hands it on. Attributes are
// the span's own; those that all rows of a scope take over from it and its
// resource are in Shared and not in Attributes. Hashes go with Attributes, one for
// one.
//
// Text that recurs is hashed once, by the decoder: the hashes find the value in a
// dictionary and add up to the row's own.
type Row struct {
	trace.Span
	Hashes []AttributeHash
	Shared *Shared // nil: nothing is taken over
	// Marks and EventMarks are those of the keys of all attributes, and of the
	// attributes of events.
	Marks, EventMarks Marks
}

// Marks sort keys for whoever wants to know at a glance whether a row has one of
// some sort; see [redthread/tracestore/graph.Rules.Marks].
type Marks uint8

// AttributeHash holds the hashes of an attribute: HashString(0, key) and
// [ValueHash].
type AttributeHash struct{ Key, Value uint64 }

// Shared are attributes that many rows take over. No key of theirs is among the
// own ones of a row that has them.
type Shared struct {
	// Serial tells lists apart: a decoder gives each content a number of its own.
	Serial     uint64
	Attributes []trace.Attribute
	Hashes     []AttributeHash
	Marks      Marks
}

// NewRow makes a row of a whole span, whose memory it shares.
func NewRow(s *trace.Span) *Row {
	r := &Row{Span: *s}
	for _, a := range s.Attributes {
		r.Hashes = append(r.Hashes, AttributeHash{HashString(0, a.Key), ValueHash(a.Value)})
	}
	return r
}

// Hash is [RowHash] of the whole span.
func (r *Row) Hash() uint64 {
	var sum uint64
	for i := range r.Attributes {
		sum += attributeHash(r.Hashes[i].Key, r.Attributes[i].Value.Type, r.Hashes[i].Value)
	}
	if r.Shared != nil {
		for i := range r.Shared.Attributes {
			sum += attributeHash(r.Shared.Hashes[i].Key, r.Shared.Attributes[i].Value.Type, r.Shared.Hashes[i].Value)
		}
	}
	return rowHash(&r.Span, HashString(0, r.Service), HashString(0, r.Environment), sum)
}
