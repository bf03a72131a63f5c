package graph

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// storm is an EdgeSource that makes up a thread as it is asked for it: a request
// enqueues n jobs in traces of their own, of ten spans each; every second job
// enqueues a mail. Every tenth mail fails.
type storm struct {
	n     int
	reads atomic.Int64
}

const stormSpans = 10

// stormID is trace i of a level: the request (0), a job (1) or a mail (2).
func stormID(level byte, i int) (id trace.ID) {
	id[0] = level + 1
	binary.BigEndian.PutUint32(id[12:], uint32(i))
	return id
}

func stormPlace(id trace.ID) (level byte, i int) {
	return id[0] - 1, int(binary.BigEndian.Uint32(id[12:]))
}

var stormSender = trace.SpanID{7: 2} // the span of a trace that enqueues

func (s *storm) spans(id trace.ID) []trace.Span {
	level, i := stormPlace(id)
	start := dayOne + int64(level)*int64(time.Second) + int64(i)*ms
	of := func(span byte, parent byte, service, name string, kind trace.Kind, opts ...opt) trace.Span {
		sp := trace.Span{TraceID: id, SpanID: trace.SpanID{7: span}, Service: service, Name: name, Kind: kind, StartUnixNano: start + int64(span)*ms, DurationNano: 10 * ms}
		if parent > 0 {
			sp.ParentID = trace.SpanID{7: parent}
		}
		for _, o := range opts {
			o(&sp)
		}
		return sp
	}
	var out []trace.Span
	if level == 0 {
		out = append(out, of(1, 0, "web", "POST /import", trace.KindServer))
	} else {
		cause, class := stormID(0, 0), "Sync"
		if level == 2 {
			cause, class = stormID(1, i*2), "Mail"
		}
		out = append(out, of(1, 0, "worker", "default process", trace.KindConsumer, sidekiq(class), attr("messaging.operation", "process"),
			link(trace.Ref{TraceID: cause, SpanID: stormSender})))
		out[0].Name = class
		out[0].Error = level == 2 && i%10 == 0
	}
	if level == 0 || level == 1 && i%2 == 0 {
		out = append(out, of(2, 1, "worker", "default publish", trace.KindProducer, sidekiq("Mail")))
	}
	for n := byte(3); len(out) < stormSpans; n++ {
		out = append(out, of(n, 1, "worker", "SELECT", trace.KindClient))
	}
	return out
}

func (s *storm) exists(id trace.ID) bool {
	level, i := stormPlace(id)
	return level == 0 && i == 0 || level == 1 && i < s.n || level == 2 && i < s.n/2
}

func (s *storm) TraceSpans(ctx context.Context, id trace.ID, limit int) ([]trace.Span, bool, error) {
	s.reads.Add(1)
	if !s.exists(id) {
		return nil, false, nil
	}
	return s.spans(id), false, nil
}

func (s *storm) Effects(ctx context.Context, id trace.ID, limit int) ([]Link, bool, error) {
	return s.EffectsOf(ctx, []trace.ID{id}, limit)
}

func (s *storm) EffectsOf(_ context.Context, ids []trace.ID, limit int) (out []Link, cut bool, err error) {
	if out = make([]Link, 0, len(ids)); len(ids) == 1 && ids[0] == stormID(0, 0) {
		out = make([]Link, 0, min(limit, s.n))
	}
	for _, id := range ids {
		from := trace.Ref{TraceID: id, SpanID: stormSender}
		to := func(level byte, i int) {
			if len(out) == limit {
				cut = true
				return
			}
			out = append(out, Link{From: from, To: trace.Ref{TraceID: stormID(level, i), SpanID: trace.SpanID{7: 1}}})
		}
		switch level, i := stormPlace(id); {
		case level == 0:
			for k := range s.n {
				to(1, k)
			}
		case level == 1 && i%2 == 0:
			to(2, i/2)
		}
	}
	return out, cut, nil
}

func (s *storm) TraceSummary(ctx context.Context, id trace.ID) (Summary, bool, error) {
	sums, err := s.Summaries(ctx, []trace.ID{id})
	return sums[0], s.exists(id), err
}

func (s *storm) Summaries(_ context.Context, ids []trace.ID) ([]Summary, error) {
	out := make([]Summary, len(ids))
	for i, id := range ids {
		if !s.exists(id) {
			continue
		}
		level, n := stormPlace(id)
		m := &out[i]
		*m = Summary{TraceID: id, SpanID: trace.SpanID{7: 1}, Root: true, Service: "worker", Name: "Sync", Kind: trace.KindConsumer, Caused: true, Run: true, Jobs: 1,
			StartUnixNano: dayOne + int64(level)*int64(time.Second) + int64(n)*ms + ms, DurationNano: 20 * ms, Spans: stormSpans}
		switch {
		case level == 0:
			m.Service, m.Name, m.Kind, m.Caused, m.Run, m.Jobs, m.Requests = "web", "POST /import", trace.KindServer, false, false, 0, 1
		case level == 2:
			m.Name = "Mail"
			if n%10 == 0 {
				m.Errors = 1
			}
		}
		m.RootStartUnixNano = m.StartUnixNano
		if level == 0 || level == 1 && n%2 == 0 {
			m.Messages, m.DurationNano = 1, 19*ms
		}
	}
	return out, nil
}

func TestStormIsWhatItSays(t *testing.T) {
	s := &storm{n: 100}
	for _, id := range []trace.ID{stormID(0, 0), stormID(1, 3), stormID(1, 4), stormID(2, 7), stormID(2, 10), stormID(2, 77)} {
		want := Summary{}
		if m := NewMemory(nil, s.spans(id)).summaries[id]; s.exists(id) {
			want = m.Summary
		}
		got, err := s.Summaries(context.Background(), []trace.ID{id})
		if diff := cmp.Diff(want, got[0]); err != nil || diff != "" {
			t.Errorf("summary of %s (-of its spans +said):\n%s", id, diff)
		}
	}
}

func (s *storm) Ends(context.Context, Side, []Key, int) ([]Half, bool, error) { return nil, false, nil }
func (s *storm) Causes(context.Context, []trace.ID, int) ([]Half, bool, error) {
	return nil, false, nil
}
func (s *storm) SpansOf(context.Context, []trace.Ref) ([]trace.Span, error) { return nil, nil }

// TestThreadOfAStorm: a million spans in a hundred thousand traces and more are
// counted, and some of them read.
func TestThreadOfAStorm(t *testing.T) {
	const jobs, mails = 100_000, 50_000
	src := &storm{n: jobs}
	g := New(src, Options{})
	ask := trace.Ref{TraceID: stormID(2, 12_345), SpanID: trace.SpanID{7: 1}}
	th, err := g.ThreadOfSpan(context.Background(), ask.TraceID, ask.SpanID)
	if err != nil {
		t.Fatal(err)
	}
	if th.Status != Found || th.Origin.Name != "POST /import" || th.Cut || !th.Truncated {
		t.Fatalf("thread is %s from %v, cut=%v truncated=%v; want found from the import, not cut, and truncated", th.Status, th.Origin, th.Cut, th.Truncated)
	}
	if n := src.reads.Load(); n > 40 {
		t.Errorf("%d traces were read, want a few", n)
	}
	if th.Selected < 0 || th.Legs[th.Selected].Ref != ask {
		t.Errorf("leg %d is selected, want that of %v: the way to it is always read", th.Selected, ask)
	}
	if len(th.Nodes)+th.Folded != 1+jobs+mails {
		t.Errorf("%d nodes and %d folded traces, want %d in all", len(th.Nodes), th.Folded, 1+jobs+mails)
	}
	r := th.Ripple
	r.BusyNano, r.WaitingNano = 0, 0
	want := Ripple{Traces: 1 + jobs + mails, Spans: stormSpans * (1 + jobs + mails), Messages: 1 + jobs/2, Jobs: jobs + mails, Errors: mails / 10,
		LastEffectNano: int64(time.Second) + jobs*ms + 19*ms}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("ripple (-want +got):\n%s", diff)
	}
	if len(th.Folds) != 2 {
		t.Fatalf("%d folds, want the jobs and their mails: %+v", len(th.Folds), th.Folds)
	}
	a, b := th.Folds[0], th.Folds[1]
	if a.Name != "Sync" || a.Work != WorkJob || a.Traces != jobs-1 || a.Shown == 0 || a.Failed != 0 || th.Legs[a.Cause].Ref.TraceID != stormID(0, 0) ||
		a.Example < 0 || th.Legs[a.Example].Name != "Sync" || a.MinNano != 19*ms && a.MinNano != 20*ms {
		t.Errorf("the fold of the jobs is %+v", a)
	}
	if b.Name != "Mail" || b.Parent != 0 || b.Cause != -1 || b.Failed < mails/10-10 || b.Depth != a.Depth+1 || b.FirstFailed.IsZero() {
		t.Errorf("the fold of the mails is %+v", b)
	}
}

// TestThreadOfAStormIsBounded: what is not counted is said to be cut.
func TestThreadOfAStormIsBounded(t *testing.T) {
	for _, o := range []Options{{MaxFolded: 1000}, {MaxLinks: 5000}} {
		th, err := New(&storm{n: 20_000}, o).Thread(context.Background(), stormID(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if !th.Cut || th.Folded > 5000+2500 || len(th.Nodes) > 40 && o.MaxFolded == 0 {
			t.Errorf("%+v: cut=%v with %d nodes and %d folded", o, th.Cut, len(th.Nodes), th.Folded)
		}
	}
}

// TestFoldsCountWhatIsThere: folded or read, the measures are the same.
func TestFoldsCountWhatIsThere(t *testing.T) {
	var w workload
	root, api := w.request("POST /import")
	sent := w.enqueue(api, "api", "Sync")
	for i := range 60 {
		job := w.perform(sent, false, "worker", "Sync")
		for range i % 3 {
			mail := w.perform(w.enqueue(job, "worker", "Mail"), false, "worker", "Mail")
			call := w.add(mail.TraceID, mail.SpanID, "worker", "GET", trace.KindClient)
			w.add(call.TraceID, call.SpanID, "api", "GET /users", trace.KindServer)
			if i%7 == 0 {
				w.add(mail.TraceID, mail.SpanID, "worker", "smtp", trace.KindClient, failed)
			}
		}
		if i%5 == 0 {
			w.poll("dealers", "quotes", w.send(job, "worker", "quotes"), w.send(job, "worker", "quotes"))
		}
	}
	m := NewMemory(nil, w.spans)
	read := threadOf(t, New(m, Options{}), root.TraceID)
	if len(read.Folds) != 0 || read.Folded != 0 || read.Truncated {
		t.Fatalf("a small thread is folded: %+v", read.Folds)
	}
	folded := threadOf(t, New(m, Options{FoldAbove: 5}), root.TraceID)
	if folded.Folded == 0 || len(folded.Folds) < 3 || folded.Cut {
		t.Fatalf("%d traces in %d folds, cut=%v; want jobs, mails and polls folded", folded.Folded, len(folded.Folds), folded.Cut)
	}
	want, got := read.Ripple, folded.Ripple
	want.BusyNano, want.WaitingNano, got.BusyNano, got.WaitingNano = 0, 0, 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ripple (-read +folded):\n%s", diff)
	}
	again := threadOf(t, New(m, Options{FoldAbove: 5}), root.TraceID)
	if diff := cmp.Diff(folded, again, cmp.AllowUnexported(Fold{}, folding{})); diff != "" {
		t.Errorf("the thread differs when it is asked for again:\n%s", diff)
	}
}

// TestFoldsByClass: the runs of different jobs have one name, that of their queue. They
// are folded by class, and the class outlives their spans.
func TestFoldsByClass(t *testing.T) {
	var w workload
	root, api := w.request("POST /import")
	var jobs []trace.Ref
	for range 12 {
		jobs = append(jobs, w.perform(w.enqueue(api, "api", "Sync"), false, "worker", "Sync"), w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail"))
	}
	m := NewMemory(nil, w.spans)
	topics := func(th *Thread) (out []string) {
		for i := range th.Folds {
			out = append(out, fmt.Sprintf("%s %s ×%d", th.Folds[i].Name, th.Folds[i].Topic, th.Folds[i].Traces))
		}
		slices.Sort(out)
		return out
	}
	want := []string{"default process Mail ×12", "default process Sync ×12"}
	if diff := cmp.Diff(want, topics(threadOf(t, New(m, Options{FoldAbove: 5}), root.TraceID))); diff != "" {
		t.Errorf("folds (-want +got):\n%s", diff)
	}
	for _, j := range jobs {
		m.Expire(j.TraceID)
	}
	th := threadOf(t, New(m, Options{FoldAbove: 5}), root.TraceID)
	if diff := cmp.Diff(want, topics(th)); diff != "" {
		t.Errorf("folds of expired spans (-want +got):\n%s", diff)
	}
	expired := 0
	for i := range th.Legs {
		if l := &th.Legs[i]; l.Expired {
			if expired++; l.Work != WorkJob || l.Topic != th.Folds[l.Fold].Topic {
				t.Errorf("leg %s is %s of %q, its fold of %q", l.Name, l.Work, l.Topic, th.Folds[l.Fold].Topic)
			}
		}
	}
	if expired == 0 {
		t.Error("no leg is expired")
	}
}

// TestStormMemory bounds what a storm allocates, beside what the source does.
func TestStormMemory(t *testing.T) {
	src := &storm{n: 100_000}
	g := New(src, Options{})
	var before, after runtime.MemStats
	run := func() {
		if _, err := g.Thread(context.Background(), stormID(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	run()
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	const limit = 100 << 20 // issue: what the server may take for the page of such a thread
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("a thread of 1.5 M spans allocates %d MB with its source, want at most %d", got>>20, limit>>20)
	} else {
		t.Logf("%d MB", got>>20)
	}
}
