package graph

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// number sets an attribute to an integer.
func number(key string, n int) opt {
	return func(s *trace.Span) {
		s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: trace.Int(int64(n))})
	}
}

// batch is one receipt of the messages of many requests.
type batch struct {
	workload
	roots, sent []trace.Ref
	receipt     trace.Ref
	job         trace.Ref // what it set off
}

// newBatch writes a receipt that keeps as many links as given, and names the
// messages it has by ids: not at all (""), in one attribute ("list"), or in a
// span for each ("spans").
func newBatch(messages, kept int, ids string, opts ...opt) *batch {
	b := &batch{}
	id := func(i int) string { return fmt.Sprintf("%024x", 0xabcdef0000+i) }
	list := "["
	for i := range messages {
		root, api := b.request("POST /quotes")
		b.roots = append(b.roots, root)
		b.sent = append(b.sent, b.send(api, "api", "quotes"))
		if ids != "" {
			attr("messaging.message.id", id(i))(&b.spans[len(b.spans)-1])
		}
		if i > 0 {
			list += ","
		}
		list += `"` + id(i) + `"`
	}
	opts = append(opts, kafka("process", "quotes"), link(b.sent[:kept]...))
	if ids == "list" {
		opts = append(opts, func(s *trace.Span) {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "messaging.message.id", Value: trace.JSON(list + "]")})
		})
	}
	b.receipt = b.add(b.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, opts...)
	if ids == "spans" {
		for i := range messages {
			b.add(b.receipt.TraceID, b.receipt.SpanID, "dealers", "quotes handle", trace.KindConsumer, kafka("process", "quotes"), attr("messaging.message.id", id(i)))
		}
	}
	b.job = b.perform(b.enqueue(b.receipt, "dealers", "Mail"), false, "worker", "Mail")
	return b
}

func TestBatchOf500(t *testing.T) {
	const messages, kept = 500, 128
	dropped := number(keyDroppedLinks, messages-kept)
	tests := []struct {
		name  string
		b     *batch
		known int // candidates
		want  Status
		links *LinkCount
	}{
		{"all links", newBatch(messages, messages, ""), messages, Ambiguous, nil},
		{"128 links", newBatch(messages, kept, "", dropped), kept, Unknown, &LinkCount{Recorded: kept, Dropped: messages - kept}},
		{"128 links of a batch of 500", newBatch(messages, kept, "", number("messaging.batch.message_count", messages)), kept, Unknown, &LinkCount{Recorded: kept, Dropped: messages - kept}},
		{"128 links and all ids", newBatch(messages, kept, "list", dropped), messages, Ambiguous, &LinkCount{Recorded: kept, Dropped: messages - kept, Inferred: messages - kept}},
		{"128 links and a span for each message", newBatch(messages, kept, "spans", dropped), messages, Ambiguous, &LinkCount{Recorded: kept, Dropped: messages - kept, Inferred: messages - kept}},
		{"no links, all ids", newBatch(messages, 0, "list"), messages, Ambiguous, nil},
		{"no links, a span for each message", newBatch(messages, 0, "spans"), messages, Ambiguous, nil},
	}
	for _, tt := range tests {
		g, _ := testGraph(t, tt.b.spans, Options{})
		for _, ask := range []trace.Ref{tt.b.receipt, tt.b.job} {
			o, err := g.Origin(context.Background(), ask.TraceID, ask.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			list := o.Origins
			if o.Status == Unknown {
				list = o.Candidates
			}
			if o.Status != tt.want || len(list) != tt.known || o.Status == Unknown && o.Reason != LinksDropped {
				t.Errorf("%s: origin of %v is %s %s with %d candidates, want %s with %d", tt.name, ask, o.Status, o.Reason, len(list), tt.want, tt.known)
			}
			for i, s := range list {
				if s.Ref != tt.b.roots[i] {
					t.Fatalf("%s: candidate %d is %v, want %v", tt.name, i, s.Ref, tt.b.roots[i])
				}
			}
			if o.Links != nil {
				o.Links.Of = SpanInfo{}
			}
			if diff := cmp.Diff(tt.links, o.Links); diff != "" {
				t.Errorf("%s: links (-want +got):\n%s", tt.name, diff)
			}
		}
		// What has expired is not surer than what was there.
		old := NewMemory(nil, tt.b.spans)
		old.Expire(tt.b.receipt.TraceID)
		o, err := New(old, Options{}).Origin(context.Background(), tt.b.job.TraceID, tt.b.job.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		if o.Status != tt.want || o.Status == Ambiguous && len(o.Origins) != tt.known || o.Status == Unknown && o.Reason != LinksDropped || !o.Expired {
			t.Errorf("%s, the receipt expired: origin is %s %s with %d origins, expired=%v; want %s with %d", tt.name, o.Status, o.Reason, len(o.Origins), o.Expired, tt.want, tt.known)
		}
		// From a request there is one branch to the batch, whichever it is.
		for _, i := range []int{0, kept - 1, kept, messages - 1} {
			th := threadOf(t, g, tt.b.roots[i].TraceID)
			receipts, jobs := 0, 0
			for _, l := range th.Legs {
				if l.Ref == tt.b.receipt {
					receipts++
				}
				if l.Ref == tt.b.job {
					jobs++
				}
			}
			want := 1
			if i >= tt.known {
				want = 0
			}
			if receipts != want || jobs != want || th.Ripple.Jobs != want {
				t.Errorf("%s: the thread of request %d has %d legs of the batch and %d of its job (%d jobs), want %d", tt.name, i, receipts, jobs, th.Ripple.Jobs, want)
			}
		}
	}
}

// TestEffectBeforeCause: the job arrives a day before the request that set it off.
func TestEffectBeforeCause(t *testing.T) {
	for _, as := range encodings[1:] {
		spans, root := encode(7, as)
		m := NewMemory(nil, nil)
		g := New(m, Options{})
		var late []trace.Span
		var ask []trace.Ref
		for _, s := range spans {
			if s.TraceID == root.TraceID {
				late = append(late, s)
				continue
			}
			m.Add(s)
			ask = append(ask, s.Ref())
		}
		if len(ask) == 0 {
			t.Fatalf("%s: the workload is one trace", as)
		}
		for _, arrived := range []bool{false, true} {
			if arrived {
				m.Add(late...)
			}
			for _, ref := range ask {
				o, err := g.Origin(context.Background(), ref.TraceID, ref.SpanID)
				if err != nil {
					t.Fatal(err)
				}
				if want := map[bool]Status{false: Unknown, true: Found}[arrived]; o.Status != want || arrived && o.Origins[0].Ref != root || !arrived && o.Reason == "" {
					t.Errorf("%s: arrived=%v: origin of %v is %s %s %v, want %s", as, arrived, ref, o.Status, o.Reason, o.Origins, want)
				}
			}
		}
	}
}

// TestJobAfterExpiry: a job runs 40 days later, and what came before it is gone.
func TestJobAfterExpiry(t *testing.T) {
	for _, encoding := range []string{"link", "ids"} {
		var w workload
		root, api := w.request("POST /quotes")
		sent := w.enqueue(api, "api", "Renew")
		attr("messaging.message_id", jid)(&w.spans[len(w.spans)-1])
		later := 40 * 24 * time.Hour
		opts := []opt{sidekiq("Renew"), attr("messaging.operation", "process"), attr("messaging.message_id", jid), at(later, time.Second)}
		if encoding == "link" {
			opts = append(opts, link(sent))
		}
		run := w.add(w.newTrace(), trace.SpanID{}, "worker", "default process", trace.KindConsumer, opts...)
		mail := w.perform(w.enqueue(run, "worker", "Mail"), false, "worker", "Mail", at(2*later, time.Second))
		g, m := testGraph(t, w.spans, Options{})
		for _, gone := range []trace.ID{root.TraceID, run.TraceID, mail.TraceID} {
			m.Expire(gone)
			o, err := g.Origin(context.Background(), mail.TraceID, mail.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if o.Status != Found || !o.Expired || o.Origins[0].Ref != root || o.Origins[0].Name != "POST /quotes" {
				t.Errorf("%s: origin of the mail is %s %s %v, expired=%v; want the request, expired", encoding, o.Status, o.Reason, o.Origins, o.Expired)
			}
		}
	}
}

// TestSkew: the consumer's clock is 3 s slow. Nothing waits less than nothing,
// and the legs say by how much they are to be drawn later.
func TestSkew(t *testing.T) {
	const slow = 3 * time.Second
	for _, as := range encodings {
		spans, root := encode(11, as)
		for i := range spans {
			if spans[i].Service == "worker" {
				spans[i].StartUnixNano -= int64(slow)
			}
		}
		g := New(NewMemory(nil, spans), Options{})
		th := threadOf(t, g, root.TraceID)
		skewed := 0
		for i := range th.Legs {
			l := &th.Legs[i]
			if l.Cause < 0 {
				continue
			}
			if from := &th.Legs[l.Cause]; l.StartUnixNano+l.SkewNano < from.StartUnixNano+from.SkewNano {
				t.Errorf("%s: %s %s is drawn before its cause %s", as, l.Service, l.Name, from.Name)
			}
			if l.Service != "worker" && l.SkewNano != 0 && th.Legs[l.Cause].SkewNano == 0 {
				t.Errorf("%s: %s is drawn %d ns later, and its clock is right", as, l.Service, l.SkewNano)
			}
			if l.SkewNano > 0 {
				skewed++
			}
		}
		if th.Status != Found || skewed == 0 {
			t.Errorf("%s: thread is %s with %d skewed legs", as, th.Status, skewed)
		}
	}
}
