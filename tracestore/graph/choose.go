package graph

import (
	"bytes"
	"context"
	"slices"
	"time"

	"redthread/tracestore/trace"
)

const (
	// skewAllowed is how much earlier than its cause an effect may seem to begin,
	// before an id that both have is held to mean something else.
	skewAllowed = int64(time.Minute)
	// keyWindow is how long before its receipt a Kafka key may have been sent. A key
	// that names a thing is sent again, and not every sending is seen.
	keyWindow = int64(10 * time.Minute)
	// queueWindow is how close to the latest sending of a small number another
	// one cannot be told from it, and how long a job of it may be tried again.
	queueWindow = int64(24 * time.Hour)
	// requestWindow is how far apart requests of one id may begin, if one of them is
	// to have called the others.
	requestWindow = int64(15 * time.Minute)
	// requestSpread is how far apart they begin at most, if the id is of a request:
	// it is of a session otherwise, or of nothing.
	requestSpread = int64(time.Hour)
	// maxCallers is how many requests of one id may have called another.
	maxCallers = 16
)

// senderFacts is what is needed to choose among several senders of one id.
type senderFacts struct {
	caused  map[trace.ID]bool   // the traces, of those that sent an id more than once, that a request or a message began
	lasted  map[trace.ID]lasted // the traces of requests of one id
	handled map[Key][]receipt   // who handled the messages and jobs of weak ids, and when
}

// lasted is how long a trace was, and where it was.
type lasted struct {
	nano        int64
	environment string
}

// receipt is one handling of a message or job.
type receipt struct {
	start   int64
	trace   trace.ID
	service string // of the root of its trace; "" if the key has no other receipt
}

// weak reports whether an id of the rule may be that of another message too.
func (r RuleID) weak() bool { return r == byQueueID || r == byBareOffset || r == byKafkaKey }

// contexts reads what helps to choose among the senders in ends, which are in
// order of key and start; for nearly all effects there is one, and nothing to read.
func (g *Graph) contexts(ctx context.Context, ends []Half) (c senderFacts, err error) {
	var again []trace.ID
	var weak []Key
	for from := 0; from < len(ends); {
		to := from + 1
		for to < len(ends) && ends[to].Key == ends[from].Key {
			to++
		}
		switch list := ends[from:to]; {
		case list[0].Rule.weak():
			weak = append(weak, list[0].Key)
		case len(list) > 1 && (list[0].Rule == byMessageID || list[0].Rule == byJobID):
			for i := range list[1:] {
				again = append(again, list[1+i].Of.TraceID)
			}
		case len(list) > 1 && list[0].Rule.Kind() == KindRequestID:
			for i := range list {
				again = append(again, list[i].Of.TraceID)
			}
		}
		from = to
	}
	if len(weak) > 0 {
		if err := g.receipts(ctx, weak, &c); err != nil {
			return c, err
		}
	}
	if len(again) == 0 {
		return c, nil
	}
	again = sortedIDs(again)
	sums, err := g.edges.Summaries(ctx, again)
	if err != nil {
		return c, err
	}
	c.caused, c.lasted = map[trace.ID]bool{}, map[trace.ID]lasted{}
	for i := range sums {
		c.caused[again[i]] = sums[i].Root && (sums[i].Kind == trace.KindServer || sums[i].Caused)
		c.lasted[again[i]] = lasted{sums[i].DurationNano, sums[i].Environment}
	}
	return c, nil
}

// receipts reads who handled the messages and jobs of weak ids.
func (g *Graph) receipts(ctx context.Context, keys []Key, c *senderFacts) error {
	runs, _, err := g.edges.Ends(ctx, EffectSide, keys, g.o.MaxEnds)
	if err != nil {
		return err
	}
	c.handled = map[Key][]receipt{}
	for i := range runs {
		c.handled[runs[i].Key] = append(c.handled[runs[i].Key], receipt{start: runs[i].StartUnixNano, trace: runs[i].Of.TraceID})
	}
	var several []trace.ID
	for _, list := range c.handled {
		for i := range list[1:] {
			if list[1+i].trace != list[0].trace {
				several = append(several, list[0].trace, list[1+i].trace)
			}
		}
	}
	if len(several) == 0 {
		return nil
	}
	several = sortedIDs(several)
	sums, err := g.edges.Summaries(ctx, several)
	if err != nil {
		return err
	}
	for _, list := range c.handled {
		for i := range list {
			if at, ok := slices.BinarySearchFunc(several, list[i].trace, compareIDs); ok {
				list[i].service = sums[at].Service
			}
		}
	}
	return nil
}

func compareIDs(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) }

func sortedIDs(ids []trace.ID) []trace.ID {
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// handledIn reports whether a message or job of the id was handled in from ≤ t < to.
func (c *senderFacts) handledIn(key Key, from, to int64) bool {
	return slices.ContainsFunc(c.handled[key], func(r receipt) bool { return r.start >= from && r.start < to })
}

// unsure reports whether an effect may have been caused otherwise than by the
// causes that its key has, which are in order of start. A request may be its
// client's, as another of its id is. A weak id is taken for that of one message or
// job only while nobody else handled it: a number of a queue by another service,
// which has a queue of that name elsewhere; an offset or a key twice by one service.
func (c *senderFacts) unsure(e *Half, causes []Half) bool {
	if e.Rule == byRequestID {
		return e.Side&CauseSide != 0 && causes[0].Rule == byRequestID
	}
	if !e.Rule.weak() || len(c.handled[e.Key]) < 2 {
		return false
	}
	sent := func(id trace.ID) bool {
		return slices.ContainsFunc(causes, func(h Half) bool { return h.Of.TraceID == id })
	}
	var mine string
	for _, r := range c.handled[e.Key] {
		if r.trace == e.Of.TraceID {
			mine = r.service
		}
	}
	for _, r := range c.handled[e.Key] {
		if r.trace == e.Of.TraceID || r.start < causes[0].StartUnixNano-skewAllowed || sent(r.trace) {
			continue
		}
		if e.Rule == byKafkaKey && max(r.start-e.StartUnixNano, e.StartUnixNano-r.start) > keyWindow {
			continue
		}
		if (r.service == mine) != (e.Rule == byQueueID) {
			return true
		}
	}
	return false
}

// callers are the requests of one id that may have called the request e with it:
// who began before it, or lasted longer, whatever the clocks say.
func (c *senderFacts) callers(e *Half, list []Half) []Half {
	var out []Half
	mine := c.lasted[e.Of.TraceID]
	first, last := e.StartUnixNano, e.StartUnixNano
	for _, h := range list {
		if h.Rule != byRequestID {
			continue
		}
		first, last = min(first, h.StartUnixNano), max(last, h.StartUnixNano)
		apart := h.StartUnixNano - e.StartUnixNano
		its := c.lasted[h.Of.TraceID]
		if h.Of.TraceID == e.Of.TraceID || apart > skewAllowed || -apart > requestWindow || its.environment != mine.environment {
			continue
		}
		if apart <= 0 || its.nano >= mine.nano {
			out = append(out, h)
		}
	}
	if last-first > requestSpread {
		return nil
	}
	return out[:min(len(out), maxCallers)]
}

// rank orders the rules of ids by how sure they are. A message is nearer than
// the request that it belongs to.
func (r RuleID) rank() int {
	switch r {
	case byMessageID, byJobID, byKafkaOffset:
		return 0
	case byQueueID, byCorrelation:
		return 1
	case byKafkaKey:
		return 2
	}
	return 3
}

// causesByKey chooses among the spans that offer the key of an effect, which
// are in order of start, those that may have caused it.
func (c *senderFacts) causesByKey(e *Half, list []Half) []Half {
	var out []Half
	latest := e.StartUnixNano + skewAllowed
	if e.Side&CauseSide != 0 && e.Rule != byRequestID {
		latest = e.StartUnixNano - 1 // it sends what was sent before
	}
	for _, h := range list {
		if h.Of != e.Of && (h.StartUnixNano <= latest || c.caused[h.Of.TraceID] && h.StartUnixNano <= e.StartUnixNano+skewAllowed) {
			out = append(out, h)
		}
	}
	// What a run sends under its own id runs later.
	if slices.ContainsFunc(out, func(h Half) bool { return h.Of.TraceID != e.Of.TraceID }) {
		out = slices.DeleteFunc(out, func(h Half) bool { return h.Of.TraceID == e.Of.TraceID })
	}
	if len(out) == 0 {
		return nil
	}
	switch e.Rule {
	case byMessageID, byJobID:
		// The id was made with the message. Who sends it later sends it again, as
		// Sidekiq does for a retry; but a request or a run that sends it may have
		// given the id of a thing to a message of its own.
		first := out[0].Of.TraceID
		n := 1
		for _, h := range out[1:] {
			if h.Of.TraceID != first && c.caused[h.Of.TraceID] {
				out[n] = h
				n++
			}
		}
		return out[:n]
	case byQueueID:
		// Small numbers begin anew when a queue is emptied: one that was handled
		// before it was sent again does not wait any more.
		last := out[len(out)-1].StartUnixNano
		kept := out[:0:0]
		for i, h := range out {
			if h.StartUnixNano >= last-queueWindow || !c.handledIn(e.Key, h.StartUnixNano-skewAllowed, out[i+1].StartUnixNano) {
				kept = append(kept, h)
			}
		}
		if len(kept) == 1 && c.handledIn(e.Key, last-skewAllowed, e.StartUnixNano-queueWindow) {
			return nil // handled long ago, and sent again unseen
		}
		return kept
	case byKafkaKey:
		if len(list) > 1 || out[0].StartUnixNano < e.StartUnixNano-keyWindow {
			return nil
		}
	case byRequestID:
		// A request is caused by the router only; a job by the request, and if
		// that is not there by the router.
		requests := slices.DeleteFunc(slices.Clone(out), func(c Half) bool { return c.Rule != byRequestID })
		if e.Side&CauseSide == 0 && len(requests) > 0 {
			return requests
		}
		if routers := slices.DeleteFunc(out, func(c Half) bool { return c.Rule == byRequestID }); len(routers) > 0 {
			return routers
		}
		return c.callers(e, list)
	}
	return out
}
