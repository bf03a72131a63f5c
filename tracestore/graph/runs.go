package graph

import (
	"hash/maphash"
	"strings"

	"redthread/tracestore/trace"
)

// Runs counts the runs of jobs that summaries tell of, each once: a queue and the
// framework above it (ActiveJob over Sidekiq) tell of a run both, the one inside
// the other, or, as OpenTelemetry Ruby does, each in a trace of its own or beside
// the other, the framework's span with the id that the job has in the queue. Its
// zero value has none.
type Runs struct {
	known map[runKey]runState
	told  toldRuns
	// before are those of the rows before, which are read only: the spans of a run
	// may arrive around a flush.
	before *Runs
}

// RunsAfter counts the runs of rows that come after others, whose runs do not change
// any more.
func RunsAfter(r *Runs) Runs { return Runs{before: &Runs{known: r.known, told: r.told}} }

// runKey is a span, known or the parent of one, with the hash of its service.
type runKey struct {
	trace.Ref
	service uint64
}

type runState struct {
	id     Key   // of the run, or of what is inside
	inside int32 // runs that it is the parent of, and that were counted before it came
	is     bool  // it is a run
	above  bool  // as runID says
	mixed  bool  // what is inside has several ids
}

// other reports whether two spans, one inside the other, are told apart by the id that
// they share: one of them is of the queue, the other of the framework above it.
func (a runState) other(id Key, above bool) bool {
	return id != 0 && a.id == id && a.above != above && !a.mixed
}

var runSeed = maphash.MakeSeed()

// Add takes the span of a run, in any order, and returns how many runs more its
// trace has: none, or less than before, if others that are known tell of it too.
func (r *Runs) Add(s *trace.Span) int {
	if r.known == nil {
		r.known, r.told = map[runKey]runState{}, toldRuns{}
	}
	key := runKey{trace.Ref{TraceID: s.TraceID, SpanID: s.SpanID}, maphash.String(runSeed, s.Service)}
	own := r.state(key)
	id, above := runID(s)
	r.known[key] = runState{is: true, id: id, above: above}
	up := key
	up.SpanID = s.ParentID
	var parent runState
	below := !s.ParentID.IsZero() && s.ParentID != s.SpanID
	if below {
		parent = r.state(up)
	}
	if _, again := r.told[id]; !again && r.before != nil {
		if t, ok := r.before.told[id]; ok {
			r.told[id] = t
		}
	}
	more := 1
	switch {
	case parent.is && !parent.other(id, above):
		more = 0
	case own.inside > 0 && !own.other(id, above): // what is inside may have the id
	default:
		more = r.told.add(id, above)
	}
	if below && !parent.is {
		parent.mixed = parent.mixed || parent != (runState{}) && (parent.id != id || parent.above != above)
		parent.id, parent.above = id, above
		parent.inside += int32(more)
		r.known[up] = parent
	}
	if own.other(id, above) {
		return more
	}
	return more - int(own.inside)
}

// state is what is known of a span.
func (r *Runs) state(key runKey) runState {
	s, ok := r.known[key]
	if !ok && r.before != nil {
		s = r.before.known[key]
	}
	return s
}

// Len is how many spans and ids it remembers, of [RunBytes] each at most.
func (r *Runs) Len() int {
	n := len(r.known) + len(r.told)
	if r.before != nil {
		n += r.before.Len()
	}
	return n
}

// RunBytes is about what a span in [Runs] takes.
const RunBytes = 72

// toldRuns counts, by the id of a job in its queue, the spans of its runs: those of
// the queue and those of a framework above it.
type toldRuns map[Key]told

type told struct{ queue, above uint32 }

// add takes a span and returns how many runs more there are: an attempt is a run, so
// that there are as many as one of the two tells of. Without an id each is one.
func (t toldRuns) add(id Key, above bool) int {
	if id == 0 {
		return 1
	}
	n := t[id]
	before := max(n.queue, n.above)
	if above {
		n.above++
	} else {
		n.queue++
	}
	t[id] = n
	return int(max(n.queue, n.above) - before)
}

// isProviderID reports whether ActiveJob has, under the key, the id that its queue gave
// a job: messaging.active_job.message.provider_job_id in OpenTelemetry Ruby, before
// that messaging.active_job.provider_job_id and rails.active_job.provider_job_id.
func isProviderID(key string) bool {
	return strings.HasSuffix(key, ".provider_job_id") && strings.Contains(key, "active_job.")
}

// runID is the id of the job that the span of a run is of, as its queue knows it; 0 if
// it does not say, or has several. Above says that a framework tells so. An id is the
// same in each attempt, and need be unique in its service only.
func runID(s *trace.Span) (id Key, above bool) {
	text := ""
	for i := range s.Attributes {
		a := &s.Attributes[i]
		at, ok := defaultRules.field(a.Key)
		switch {
		case isProviderID(a.Key):
			if v := a.Value.Text(); !placeholder(v) {
				return KeyOf("run", s.Environment, s.Service, v), true
			}
		case ok && text == "" && (at == fieldMessageID || at == fieldJobID):
			text = a.Value.Text()
		}
	}
	if text == "" || text[0] == '[' || placeholder(text) {
		return 0, false
	}
	return KeyOf("run", s.Environment, s.Service, text), false
}
