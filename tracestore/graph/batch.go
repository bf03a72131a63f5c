package graph

import "redthread/tracestore/trace"

// Received is a span of a trace that receives something, for [Summary.IsBatch].
type Received struct {
	Span, Parent trace.SpanID
	Service      string
	Message      bool // one message or a batch, and no job
}

// MaxReceived is of how many spans that receive something the trace of a batch may be:
// of more [Summary.Batch] does not tell.
const MaxReceived = 4 << 10

// receivedOf is what IsBatch wants to know of a span, by what [Receipt] says of it.
func receivedOf(s *trace.Span, run bool) Received {
	return Received{s.SpanID, s.ParentID, s.Service, !run && MayBeMessage(s.Kind)}
}

// MayBeMessage reports whether a span of the kind may be a message of a batch.
func MayBeMessage(k trace.Kind) bool { return k != trace.KindServer && k != trace.KindProducer }

// IsBatch reports whether the summary is one for which [Summary.Batch] holds, given
// the spans of the trace that receive something and the halves on the effect side of
// all of its spans.
func (m *Summary) IsBatch(received []Received, causes []Half) bool {
	if !m.Root || !m.Caused || m.Run || !MayBeMessage(m.Kind) || len(causes) == 0 || len(received) < 2 {
		return false
	}
	linked := make(map[trace.SpanID]bool, len(received))
	for i := range received {
		r := &received[i]
		if r.Span == m.SpanID {
			continue
		}
		if r.Parent != m.SpanID || r.Service != m.Service || !r.Message {
			return false
		}
		linked[r.Span] = false
	}
	for i := range causes {
		h := &causes[i]
		if _, ok := linked[h.Of.SpanID]; !ok || !h.recorded() || h.Dropped != 0 || h.Target.TraceID == h.Of.TraceID {
			return false
		}
		linked[h.Of.SpanID] = true
	}
	for _, ok := range linked {
		if !ok {
			return false
		}
	}
	return true
}
