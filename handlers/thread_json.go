package handlers

import (
	"context"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadJSON is the answer of the API: the thread, and what its page makes of it.
type threadJSON struct {
	*graph.Thread
	Ripple threadRipple `json:"ripple"`
	// Path is the sentence: along the way to the span asked about, or along the
	// largest branch.
	Path     string         `json:"path"`
	By       string         `json:"by"` // "user 81723", or ""
	Services []serviceTotal `json:"services"`
	Page     string         `json:"page"`
}

// threadRipple are the measures of one thread, of which the waiting time is known,
// also if it is 0.
type threadRipple struct {
	graph.Ripple
	WaitingNano int64 `json:"waiting_nano,string"`
}

// threadAnswer is what the API says of a thread.
func (s *Server) threadAnswer(ctx context.Context, t *graph.Thread, id trace.ID, span string) (threadJSON, error) {
	who, err := s.threadPeople(ctx, t)
	if err != nil {
		return threadJSON{}, err
	}
	return newThreadJSON(t, threadState{trace: id.String(), span: span}, who), nil
}

func newThreadJSON(t *graph.Thread, st threadState, who requesters) threadJSON {
	out := threadJSON{Thread: t, Ripple: threadRipple{t.Ripple, t.Ripple.WaitingNano}, Services: serviceTotals(t), Page: st.href()}
	if begin, ok := threadBeginning(t); ok {
		out.By = who[begin.Ref].user
	}
	selected := t.Selected
	if selected == 0 {
		selected = -1
	}
	g := newGrouping(t, false)
	out.Path = sentenceText(threadSentence(g, told(g, selected), out.By, func(int) string { return "" }))
	return out
}
