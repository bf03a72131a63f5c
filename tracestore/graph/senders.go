package graph

import (
	"context"
	"fmt"

	"redthread/tracestore/trace"
)

// SenderSource is an [EdgeSource] whose Ends may give of who sent a message only the
// trace: which of its spans it was can be read while they are there.
type SenderSource interface {
	EdgeSource
	// Senders fills in the spans of halves that have none, as far as they are
	// there: those that offer the key, of several the one that started when the
	// half says, else the first.
	Senders(ctx context.Context, halves []Half) error
}

// placeSenders fills in the spans of halves that Ends gave without.
func (g *Graph) placeSenders(ctx context.Context, halves []Half) error {
	src, ok := g.src.(SenderSource)
	if !ok {
		return nil
	}
	var todo []Half
	var at []int
	for i := range halves {
		if h := &halves[i]; h.Of.SpanID.IsZero() && h.Key != 0 && !h.Of.TraceID.IsZero() {
			todo, at = append(todo, *h), append(at, i)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := src.Senders(ctx, todo); err != nil {
		return err
	}
	for i, k := range at {
		halves[k].Of.SpanID = todo[i].Of.SpanID
	}
	return nil
}

// PlaceCauses fills in the causing spans that [Graph.Origins] knew only the traces of
// because ids alone join them: who does not ask for the causes need not read them.
func (g *Graph) PlaceCauses(ctx context.Context, found []TraceOrigin) error {
	var halves []Half
	var at []int
	for i := range found {
		if o := &found[i]; o.causeKey != 0 && o.Cause.SpanID.IsZero() {
			halves, at = append(halves, Half{Of: o.Cause, Key: o.causeKey}), append(at, i)
		}
	}
	if err := g.placeSenders(ctx, halves); err != nil {
		return fmt.Errorf("causes of %d traces: %w", len(found), err)
	}
	for i, k := range at {
		found[k].Cause.SpanID = halves[i].Of.SpanID
	}
	return nil
}

// keyIn and keyOut hold a key in the place of a span id.
func keyIn(k Key) (id trace.SpanID) {
	for i := range id {
		id[i] = byte(k >> (8 * i))
	}
	return id
}

func keyOut(id trace.SpanID) (k Key) {
	for i := range id {
		k |= Key(id[i]) << (8 * i)
	}
	return k
}

// senderOf is the first span that offers a key as a cause, or none.
func (x *index) senderOf(key Key) int32 {
	for i := range x.spans {
		for _, h := range x.spans[i].keys {
			if h.Key == key && h.Side&CauseSide != 0 {
				return int32(i)
			}
		}
	}
	return none
}
