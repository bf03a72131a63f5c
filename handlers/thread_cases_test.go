package handlers

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadSpans writes the spans of a thread, each in milliseconds from a fixed
// time.
type threadSpans struct {
	list []trace.Span
	ids  uint64
}

const caseStart = int64(1_795_000_000_000_000_000)

type spanOption func(*trace.Span)

func (w *threadSpans) newTrace() (id trace.ID) {
	w.ids++
	binary.BigEndian.PutUint64(id[:], 0x7ead)
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

func (w *threadSpans) add(id trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, start, length int64, opts ...spanOption) trace.Ref {
	w.ids++
	s := trace.Span{TraceID: id, ParentID: parent, Service: service, Name: name, Kind: kind, StartUnixNano: caseStart + start*1e6, DurationNano: length * 1e6}
	binary.BigEndian.PutUint64(s.SpanID[:], w.ids)
	for _, o := range opts {
		o(&s)
	}
	w.list = append(w.list, s)
	return s.Ref()
}

func withAttr(key, value string) spanOption {
	return func(s *trace.Span) {
		s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: trace.String(value)})
	}
}

func withLinks(to ...trace.Ref) spanOption {
	return func(s *trace.Span) {
		for _, r := range to {
			s.Links = append(s.Links, trace.Link{TraceID: r.TraceID, SpanID: r.SpanID})
		}
	}
}

func withError(s *trace.Span) { s.Error, s.Status = true, trace.StatusError }

func withKafka(op, topic string) spanOption {
	return func(s *trace.Span) {
		for _, o := range []spanOption{withAttr("messaging.system", "kafka"), withAttr("messaging.destination.name", topic), withAttr("messaging.operation.type", op)} {
			o(s)
		}
	}
}

func withSidekiq(class, id string) spanOption {
	return func(s *trace.Span) {
		for _, o := range []spanOption{withAttr("messaging.system", "sidekiq"), withAttr("messaging.sidekiq.job_class", class), withAttr("messaging.destination", "default")} {
			o(s)
		}
		if id != "" {
			withAttr("messaging.message.id", id)(s)
		}
	}
}

// request writes a web request that calls an API, whose server span it returns.
func (w *threadSpans) request(name, user string, start, length int64) (root, api trace.Ref) {
	id := w.newTrace()
	root = w.add(id, trace.SpanID{}, "web-uk", name, trace.KindServer, start, length, withAttr("user.id", user), withAttr("http.route", "/quotes"))
	call := w.add(id, root.SpanID, "web-uk", "POST", trace.KindClient, start+2, length-4)
	return root, w.add(id, call.SpanID, "quotes-api", name, trace.KindServer, start+4, length-8)
}

func (w *threadSpans) enqueue(under trace.Ref, service, class, id string, start int64) trace.Ref {
	return w.add(under.TraceID, under.SpanID, service, "default publish", trace.KindProducer, start, 1, withSidekiq(class, id))
}

func (w *threadSpans) perform(sent trace.Ref, service, class, id string, start, length int64, opts ...spanOption) trace.Ref {
	opts = append(opts, withSidekiq(class, id), withAttr("messaging.operation", "process"))
	if !sent.TraceID.IsZero() {
		opts = append(opts, withLinks(sent))
	}
	return w.add(w.newTrace(), trace.SpanID{}, service, "default process", trace.KindConsumer, start, length, opts...)
}

func (w *threadSpans) send(under trace.Ref, topic, id string, start int64) trace.Ref {
	opts := []spanOption{withKafka("send", topic)}
	if id != "" {
		opts = append(opts, withAttr("messaging.message.id", id))
	}
	return w.add(under.TraceID, under.SpanID, "quotes-api", "send "+topic, trace.KindProducer, start, 2, opts...)
}

// threadCase is a thread that the page has to get right.
type threadCase struct {
	name    string
	spans   []trace.Span
	ask     trace.Ref
	query   string     // of the address, "" for ?span=
	expired []trace.ID // traces whose spans are gone
	options graph.Options
}

// threadCases are the threads that goldens are kept of.
func threadCases() []threadCase {
	return []threadCase{caseOneLeg(), caseNormal(), caseNormalOpen(), caseAmbiguous(), caseExpired(), caseBatch(), caseRetries(), caseSkew(false), caseSkew(true), caseCycle(), caseCircle(), caseCut(), caseUnknown(), caseHuge(false), caseHuge(true)}
}

func caseOneLeg() threadCase {
	var w threadSpans
	id := w.newTrace()
	root := w.add(id, trace.SpanID{}, "web-uk", "GET /cars", trace.KindServer, 0, 84)
	w.add(id, root.SpanID, "web-uk", "SELECT cars", trace.KindClient, 10, 30)
	return threadCase{name: "one-leg", spans: w.list, ask: trace.Ref{TraceID: id}}
}

// normal is the thread of the drawings: a request whose message sets off jobs
// that set off themselves, and messages to another country.
func normal() (w threadSpans, root, last trace.Ref) {
	root, api := w.request("POST /quotes", "81723", 0, 1840)
	sent := w.send(api, "quotes.created", "", 1460)
	got := w.add(w.newTrace(), trace.SpanID{}, "worker-uk", "process quotes.created", trace.KindConsumer, 1502, 300, withKafka("process", "quotes.created"), withLinks(sent))
	w.add(sent.TraceID, sent.SpanID, "indexer", "process quotes.created", trace.KindConsumer, 1490, 90, withKafka("process", "quotes.created"))
	level := []trace.Ref{got}
	at, n := int64(1800), 0
	for depth := range 4 {
		var next []trace.Ref
		for range 1 << depth {
			n++
			cause := level[(n-1)%len(level)]
			start := at + 300 + int64(n%3)*40
			id := fmt.Sprintf("%024x", n)
			e := w.enqueue(cause, "worker-uk", "RecalculateQuotes", id, at+int64(n))
			how := e
			if n%5 == 0 {
				how = trace.Ref{} // only the ids tell
			}
			job := w.perform(how, "worker-uk", "RecalculateQuotes", id, start, 560+int64(n*13%170))
			w.add(job.TraceID, job.SpanID, "worker-uk", "SELECT quotes", trace.KindClient, start+20, 200)
			next = append(next, job)
		}
		level = next
		at += 1000
	}
	for i := range 8 {
		from := level[i]
		sent := w.add(from.TraceID, from.SpanID, "worker-uk", "send uk.price-changed", trace.KindProducer, 5900+int64(i)*100, 2, withKafka("send", "uk.price-changed"))
		opts := []spanOption{withKafka("process", "uk.price-changed"), withLinks(sent)}
		start := int64(7800 + i*20)
		got := w.add(w.newTrace(), trace.SpanID{}, "worker-de", "process uk.price-changed", trace.KindConsumer, start, 60, opts...)
		id := fmt.Sprintf("%024x", 900+i)
		e := w.enqueue(got, "worker-de", "SyncDealer", id, start+20)
		if i == 3 {
			w.perform(e, "worker-de", "SyncDealer", id, start+40, 500, withError)
			start += 900
		}
		last = w.perform(e, "worker-de", "SyncDealer", id, start+60, 620)
	}
	w.add(api.TraceID, api.SpanID, "quotes-api", "send audit", trace.KindProducer, 1600, 2, withKafka("send", "audit"))
	return w, root, last
}

func caseNormal() threadCase {
	w, _, last := normal()
	return threadCase{name: "normal", spans: w.list, ask: last}
}

func caseNormalOpen() threadCase {
	w, root, last := normal()
	g := newGrouping(mustThread(w.list, root), false)
	var open []string
	for i := range g.groups {
		if grp := &g.groups[i]; grp.name == "SyncDealer" || grp.name == "RecalculateQuotes" && grp.runs == 4 {
			open = append(open, grp.id)
		}
	}
	return threadCase{name: "normal-open", spans: w.list, ask: root, query: "critical=1&open=" + strings.Join(open, ",") + "&sel=" + selection(last)}
}

func mustThread(spans []trace.Span, at trace.Ref) *graph.Thread {
	t, err := graph.New(graph.NewMemory(nil, spans), graph.Options{}).ThreadWith(context.Background(), at.TraceID, at.SpanID, trace.Ref{})
	if err != nil {
		panic(err)
	}
	return t
}

// batchSpans writes kafkajs's batch of messages of several requests.
func batchSpans(w *threadSpans, requests int) (roots []trace.Ref, handler trace.Ref) {
	var sent []trace.Ref
	for i := range requests {
		root, api := w.request("POST /quotes", fmt.Sprint(81000+i), int64(i*130), 90)
		roots = append(roots, root)
		sent = append(sent, w.send(api, "quotes.created", "", int64(i*130+50)))
	}
	at := int64(requests*130 + 400)
	id := w.newTrace()
	receipt := w.add(id, trace.SpanID{}, "dealers", "poll quotes.created", trace.KindClient, at, 300, withKafka("receive", "quotes.created"))
	for _, m := range sent {
		w.add(id, receipt.SpanID, "dealers", "process quotes.created", trace.KindConsumer, at+5, 3, withKafka("process", "quotes.created"), withLinks(m))
	}
	handler = w.add(id, receipt.SpanID, "dealers", "handle batch", trace.KindInternal, at+30, 200)
	w.perform(w.enqueue(handler, "dealers", "NotifyDealers", "", at+100), "worker-uk", "NotifyDealers", "", at+180, 90)
	return roots, handler
}

func caseAmbiguous() threadCase {
	var w threadSpans
	_, handler := batchSpans(&w, 5)
	return threadCase{name: "ambiguous", spans: w.list, ask: handler}
}

func caseExpired() threadCase {
	var w threadSpans
	root, api := w.request("POST /finance", "4711", 0, 240)
	job := w.perform(w.enqueue(api, "quotes-api", "SendRenewal", "", 120), "worker-uk", "SendRenewal", "", 40*86_400_000, 700)
	w.perform(w.enqueue(job, "worker-uk", "DeliverMail", "", 40*86_400_000+500), "mailer", "DeliverMail", "", 40*86_400_000+900, 120)
	return threadCase{name: "expired", spans: w.list, ask: job, expired: []trace.ID{root.TraceID}}
}

// caseBatch is a batch of 500 messages of which the SDK kept 128 links; half of
// the rest comes back by their ids.
func caseBatch() threadCase {
	var w threadSpans
	var sent []trace.Ref
	for i := range 500 {
		_, api := w.request("POST /quotes", fmt.Sprint(81000+i), int64(i*7), 60)
		sent = append(sent, w.send(api, "quotes.created", fmt.Sprintf("m-%024x", i), int64(i*7+40)))
	}
	id := w.newTrace()
	batch := w.add(id, trace.SpanID{}, "dealers", "process quotes.created", trace.KindConsumer, 4000, 900, withKafka("process", "quotes.created"), withLinks(sent[:128]...), func(s *trace.Span) {
		s.Attributes = append(s.Attributes, trace.Attribute{Key: "dropped_links_count", Value: trace.Int(372)})
	})
	for i := range sent[128:] {
		w.add(id, batch.SpanID, "dealers", "process quotes.created", trace.KindConsumer, 4010+int64(i), 1, withKafka("process", "quotes.created"), withAttr("messaging.message.id", fmt.Sprintf("m-%024x", 128+i)))
	}
	return threadCase{name: "batch", spans: w.list, ask: batch}
}

func caseRetries() threadCase {
	var w threadSpans
	root, api := w.request("POST /quotes", "81723", 0, 120)
	e := w.enqueue(api, "quotes-api", "SyncDealer", "cafe01", 80)
	w.perform(e, "worker-de", "SyncDealer", "cafe01", 140, 60, withError)
	w.perform(e, "worker-de", "SyncDealer", "cafe01", 420, 70, withError)
	last := w.perform(e, "worker-de", "SyncDealer", "cafe01", 900, 110)
	for i := range 6 {
		id := fmt.Sprintf("beef%02d", i)
		e := w.enqueue(api, "quotes-api", "Reindex", id, 90+int64(i))
		if i%2 == 0 {
			w.perform(e, "indexer", "Reindex", id, 200+int64(i*10), 30, withError)
		}
		w.perform(e, "indexer", "Reindex", id, 300+int64(i*10), 40)
	}
	_ = root
	return threadCase{name: "retries", spans: w.list, ask: last}
}

func caseSkew(raw bool) threadCase {
	var w threadSpans
	_, api := w.request("POST /quotes", "81723", 0, 200)
	job := w.perform(w.enqueue(api, "quotes-api", "Import", "", 100), "worker-de", "Import", "", 160-3000, 800)
	w.perform(w.enqueue(job, "worker-de", "Notify", "", 700-3000), "worker-de", "Notify", "", 950-3000, 90)
	last := w.perform(w.enqueue(job, "worker-de", "Mail", "", 720-3000), "mailer", "Mail", "", 1050, 60)
	c := threadCase{name: "skew", spans: w.list, ask: last}
	if raw {
		c.name, c.query = "skew-off", "skew=off&span="+last.SpanID.String()
	}
	return c
}

// caseCycle is a job whose effect leads back to it, under a request.
func caseCycle() threadCase {
	var w threadSpans
	root, api := w.request("POST /quotes", "81723", 0, 100)
	ping := w.perform(w.enqueue(api, "quotes-api", "Ping", "", 50), "worker-uk", "Ping", "", 150, 80)
	pong := w.perform(w.enqueue(ping, "worker-uk", "Pong", "", 200), "worker-de", "Pong", "", 260, 50)
	back := w.enqueue(pong, "worker-de", "Ping", "", 280)
	for i := range w.list {
		if w.list[i].SpanID == ping.SpanID {
			w.list[i].Links = append(w.list[i].Links, trace.Link{TraceID: back.TraceID, SpanID: back.SpanID})
		}
	}
	return threadCase{name: "cycle", spans: w.list, ask: root}
}

// caseCircle has no beginning.
func caseCircle() threadCase {
	var w threadSpans
	first := w.perform(trace.Ref{}, "worker-uk", "Ping", "", 0, 50)
	second := w.perform(first, "worker-de", "Pong", "", 80, 50)
	w.list[0].Links = []trace.Link{{TraceID: second.TraceID, SpanID: second.SpanID}}
	return threadCase{name: "circle", spans: w.list, ask: second}
}

// caseCut is a chain of a job that enqueues itself, longer than is read.
func caseCut() threadCase {
	var w threadSpans
	root, last := w.request("POST /quotes", "81723", 0, 100)
	service := "quotes-api"
	for i := range 60 {
		last = w.perform(w.enqueue(last, service, "Again", "", 50+int64(i*100)), "worker-uk", "Again", "", 100+int64(i*100), 80)
		service = "worker-uk"
	}
	return threadCase{name: "cut", spans: w.list, ask: root, options: graph.Options{MaxNodes: 40}}
}

func caseUnknown() threadCase {
	var w threadSpans
	first := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, "worker-uk", "Notify", "", 0, 40)
	second := w.perform(w.enqueue(first, "worker-uk", "Mail", "", 20), "mailer", "Mail", "", 90, 20)
	return threadCase{name: "unknown", spans: w.list, ask: second}
}

// caseHuge is a fan-out too wide to be read; open: a page of it.
func caseHuge(open bool) threadCase {
	var w threadSpans
	root, api := w.request("POST /import", "1", 0, 900)
	sent := w.enqueue(api, "quotes-api", "SyncCar", "", 300)
	for i := range 1200 {
		var opts []spanOption
		if i%37 == 5 {
			opts = append(opts, withError)
		}
		job := w.perform(sent, "worker-uk", "SyncCar", "", 400+int64(i*20), 20+int64(i*7919%400), opts...)
		w.add(job.TraceID, job.SpanID, "worker-uk", "SELECT cars", trace.KindClient, 405+int64(i*20), 4)
		if i%3 == 0 {
			w.perform(w.enqueue(job, "worker-uk", "Reindex", "", 410+int64(i*20)), "indexer", "Reindex", "", 600+int64(i*20), 30)
		}
	}
	c := threadCase{name: "huge", spans: w.list, ask: trace.Ref{TraceID: root.TraceID}}
	if open {
		g := newGrouping(mustThread(w.list, root), false)
		for i := range g.groups {
			if g.groups[i].name == "SyncCar" {
				c.name, c.query = "huge-open", "open="+g.groups[i].id+"~50~slowest&zoom=5000000000~12000000000"
			}
		}
	}
	return c
}

// page builds the page of a case.
func (c *threadCase) thread(t testing.TB) (*graph.Thread, threadState, requesters) {
	t.Helper()
	m := graph.NewMemory(nil, c.spans)
	for _, id := range c.expired {
		m.Expire(id)
	}
	st := c.state(t)
	selected, _ := parseSelection(st.sel)
	th, err := graph.New(m, c.options).ThreadWith(t.Context(), c.ask.TraceID, c.ask.SpanID, selected)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	who := requesters{}
	for i := range c.spans {
		who[c.spans[i].Ref()] = requesterOf(c.spans[i].Attributes)
	}
	return th, st, who
}

func (c *threadCase) state(t testing.TB) threadState {
	t.Helper()
	q, err := url.ParseQuery(c.query)
	if err != nil {
		t.Fatal(err)
	}
	span := ""
	if !c.ask.SpanID.IsZero() {
		span = c.ask.SpanID.String()
	}
	return parseThreadState(c.ask.TraceID.String(), span, q)
}
