package handlers

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// captured are the spans of a capture of the graph's tests, moved to the last half
// hour.
func captured(t *testing.T, name string, now time.Time) []trace.Span {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "tracestore", "graph", "testdata", "captures", name, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no capture %s: %v", name, err)
	}
	var spans []trace.Span
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err == nil && strings.HasSuffix(path, ".json.gz") {
			body, err = otlp.FromJSON(nil, otlp.Traces, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		more, _, err := otlp.DecodeAll(otlp.Traces, body, otlp.Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, more...)
		f.Close()
	}
	first := spans[0].StartUnixNano
	for i := range spans {
		first = min(first, spans[i].StartUnixNano)
	}
	shift := now.Add(-30*time.Minute).UnixNano() - first
	for i := range spans {
		spans[i].StartUnixNano += shift
		for k := range spans[i].Events {
			spans[i].Events[k].TimeUnixNano += shift
		}
	}
	return spans
}

// capturedSite is a site with both captures.
func capturedSite(t *testing.T) *browser {
	s := newSite(t)
	for _, name := range []string{"node", "rails"} {
		s.feed(captured(t, name, s.Now()))
	}
	return s.as(collab.RoleMember)
}

func answerOf[T any](t *testing.T, b *browser, path string) (out T) {
	t.Helper()
	a := b.get(path)
	if a.status != http.StatusOK {
		t.Fatalf("%s: status %d: %.300s", path, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%s: %v in %.300s", path, err, a.body)
	}
	return out
}

func TestMessagesAndJobsOfCaptures(t *testing.T) {
	b := capturedSite(t)
	messages := answerOf[workList](t, b, "/api/v1/messages")
	byName := map[string]workStat{}
	for _, x := range messages.Results {
		byName[x.Name] = x
	}
	// The batches of dealer-consumer-de are polled too, which is no message.
	if got := byName["uk.price-changed"]; got.Sent != 8 || got.Handled != 8 || len(got.Producers) != 1 || got.Producers[0] != (workEnd{"worker-uk", 8}) ||
		len(got.Consumers) != 1 || got.Consumers[0] != (workEnd{"dealer-consumer-de", 8}) {
		t.Errorf("uk.price-changed: %+v", got)
	}
	// Old and new conventions, Rails and Node, are one topic.
	if got := byName["uk.quote-requested"]; got.Sent != 12 || got.Handled != 12 || got.RunMS == nil || got.WaitMS != nil {
		t.Errorf("uk.quote-requested: %+v", got)
	}
	jobs := answerOf[workList](t, b, "/api/v1/jobs")
	byName = map[string]workStat{}
	for _, x := range jobs.Results {
		byName[x.Name] = x
	}
	if got := byName["SendEmail"]; got.Handled != 17 || got.Retried == nil || *got.Retried != 1 || got.Failed != 1 {
		t.Errorf("SendEmail (BullMQ): %+v, retried %v", got, *got.Retried)
	}
	if got := byName["SendEmailJob"]; got.Handled != 9 || got.Sent != 8 || got.Retried == nil || *got.Retried != 1 {
		t.Errorf("SendEmailJob (Sidekiq), of which one id ran twice: %+v, retried %v", got, *got.Retried)
	}
	for _, class := range []string{"NotifyDealers", "NotifyDealersJob", "RecalculateQuotes", "SyncDealer"} {
		if got := byName[class]; got.Retried == nil || *got.Retried != 0 {
			t.Errorf("%s: %+v, retried %v", class, got, got.Retried)
		}
	}
	// BullMQ sends 14 of them in twos.
	if got := byName["RecalculateQuotes"]; got.Handled != 15 || got.Sent != 15 || len(got.Producers) != 1 || got.Producers[0] != (workEnd{"worker-uk", 15}) {
		t.Errorf("RecalculateQuotes: %+v", got)
	}
	if got, ok := byName[""]; ok {
		t.Errorf("jobs without a class: %+v", got)
	}
	one := answerOf[workDetail](t, b, "/api/v1/jobs/RecalculateQuotes")
	if one.Handled != 15 || one.Sent != 15 {
		t.Errorf("the page of RecalculateQuotes: %+v", one)
	}
	b.get("/services/worker-uk").want(t, "a service that sends in bulk", http.StatusOK, "RecalculateQuotes</a>", "!RecalculateQuotes&#34;", ">15<")
	one = answerOf[workDetail](t, b, "/api/v1/jobs/SendEmailJob")
	if one.Handled != 9 || one.Waited != 9 || one.EdgeWaitMS == nil || len(one.Origins) == 0 || one.Origins[0].Name == "" {
		t.Errorf("SendEmailJob: %+v", one)
	}
	// Of a batch of messages of one endpoint the endpoint is known, though not the request.
	one = answerOf[workDetail](t, b, "/api/v1/jobs/SendEmail")
	if len(one.Origins) != 2 || one.Origins[0].Service != "web-de" || one.Origins[0].Name != "POST /quotes" || one.Origins[0].Count+one.Origins[1].Count != 17 || len(one.OriginsUnknown) != 0 {
		t.Errorf("SendEmail comes of %+v and %+v, want most of the time of web-de", one.Origins, one.OriginsUnknown)
	}
	if a := b.get("/api/v1/jobs/Nobody"); a.status != http.StatusNotFound {
		t.Errorf("an unknown class: status %d", a.status)
	}
	if list := answerOf[workList](t, b, "/api/v1/queues?limit=1"); len(list.Results) != 1 || list.Total < 2 {
		t.Errorf("queues, one of them: %+v", list)
	}

	b.get("/messages").want(t, "topics", http.StatusOK, "uk.quote-requested", "quotes-api-uk", "dealer-consumer-uk", `href="/messages/uk.quote-requested"`, `aria-sort="descending"`)
	b.get("/messages?q=price&sort=name").want(t, "a search", http.StatusOK, "uk.price-changed", "!quote-requested", `value="price"`)
	b.get("/messages?q=moon").want(t, "a search without hits", http.StatusOK, "has “moon” in its name")
	b.get("/jobs").want(t, "classes", http.StatusOK, "SendEmail", "RecalculateQuotesJob", "Retries")
	b.get("/queues").want(t, "queues", http.StatusOK, "uk-recalc", "mailers")
	b.get("/messages/uk.quote-requested").want(t, "a topic", http.StatusOK, "Who sends", "Who handles", "quotes-api-uk", `data-href="/messages/uk.quote-requested?part=causes"`, `href="/messages/uk.quote-requested?part=all"`,
		"!from the end of what sent it")
	b.get("/messages/uk.quote-requested?part=causes").want(t, "what caused a topic", http.StatusOK, "from the end of what sent it to its start", "POST /quotes", "/thread/", "!<html", "!Who handles")
	b.get("/messages/uk.quote-requested?part=all").want(t, "all of a topic", http.StatusOK, "from the end of what sent it to its start", "POST /quotes", "Who handles", "!part=causes")
	b.get("/jobs/SendEmail").want(t, "a class", http.StatusOK, "Queues", "uk-mail", "Latest failures", "Which requests set it off", "worker-de")
	b.get("/jobs/SendEmailJob").want(t, "a class that was tried again", http.StatusOK, `<dt>Retries</dt>`, "work.run")
	b.get("/queues/mailers").want(t, "a queue", http.StatusOK, "Job classes of this queue", "SendEmailJob")
	b.get("/jobs/Nobody").want(t, "an unknown class", http.StatusOK, "Nothing of Nobody", "No span of any time")
	b.get("/messages/uk.quote-requested?range=1m").want(t, "a short window", http.StatusOK, "Nothing of uk.quote-requested", "The last 2 h")
}

// TestWorkLinksAreReadable: links to Explore say what they ask in the words of these
// pages, which queries know, and get the same answer.
func TestWorkLinksAreReadable(t *testing.T) {
	b := capturedSite(t)
	page := b.get("/jobs/SendEmail").body
	n := 0
	for _, part := range strings.Split(page, `href="/explore?`)[1:] {
		q, err := url.ParseQuery(strings.ReplaceAll(part[:strings.IndexByte(part, '"')], "&amp;", "&"))
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, f := range q["f"] {
			if len(f) > 200 || strings.Contains(f, "OR(OR(") {
				t.Errorf("a link has the calculated field %s", f)
			}
		}
	}
	if n < 5 {
		t.Fatalf("%d links to Explore", n)
	}
	one := answerOf[workDetail](t, b, "/api/v1/jobs/SendEmail")
	for query, want := range map[string]float64{
		`"calculations":[{"op":"COUNT"}],"filters":[{"column":"work.class","op":"=","value":"SendEmail"},{"column":"work.side","op":"=","value":"process"}]`:                                                                          one.Handled,
		`"calculations":[{"op":"COUNT"}],"calculated_fields":[{"name":"mine","expression":"EQUALS($work.class, \"SendEmail\")"}],"filters":[{"column":"mine","op":"=","value":true},{"column":"work.side","op":"=","value":"send"}]`:  one.Sent,
		`"calculations":[{"op":"COUNT"}],"calculated_fields":[{"name":"work.is_job","expression":"EQUALS(1, 1)"}],"filters":[{"column":"work.class","op":"=","value":"SendEmail"},{"column":"work.side","op":"=","value":"process"}]`: one.Handled,
		`"calculations":[{"op":"COUNT"}],"filters":[{"column":"any.work.class","op":"=","value":"SendEmail"},{"column":"work.class","op":"=","value":"SendEmail"},{"column":"work.side","op":"=","value":"process"}]`:                 one.Handled,
	} {
		b.api(http.MethodPost, "/api/v1/query", `{"time_range":7200,`+query+`}`, http.StatusOK, nil).want(t, query, http.StatusOK, fmt.Sprintf(`"COUNT":%v`, want))
	}
	b.get("/explore?range=2h&v=COUNT&g=work.class&w="+url.QueryEscape("work.side = process")).want(t, "Explore in these words", http.StatusOK, "RecalculateQuotes", "NotifyDealersJob")
	b.api(http.MethodPost, "/api/v1/query", `{"time_range":7200,"calculations":[{"op":"P95","column":"work.wait_ms"}],"calculated_fields":[{"name":"x","expression":"EQUALS(1"}]}`, http.StatusBadRequest, nil).
		want(t, "a fault in a field of one's own", http.StatusBadRequest, "calculated_fields[0]")
}

// TestUnreadAddresses: what of an address cannot be read is said.
func TestUnreadAddresses(t *testing.T) {
	b := capturedSite(t)
	page := b.get("/messages/uk.price-changed?part=all").body
	at := strings.Index(page, "/thread/")
	if at < 0 {
		t.Fatal("no thread on the page")
	}
	thread := page[at : at+len("/thread/")+32]
	b.get(thread).want(t, "a thread", http.StatusOK, "!which is left out")
	for _, q := range []string{"zoom=abc", "zoom=9~3", "open=nothing", "open=nothing~x", "sel=xyz", "sort=moon", "row=-4"} {
		name, value, _ := strings.Cut(q, "=")
		b.get(thread+"?"+q).want(t, q, http.StatusOK, "The address says "+name+"="+value+", which is left out: want ")
	}
	b.get(thread+"?zoom=900000000000000~900000000000001").want(t, "a zoom far away", http.StatusOK, "a time that this thread has nothing of")
	b.get(thread+"?zoom=0~5000000&view=table&sort=-took&sel=none&row=1").want(t, "what can be read", http.StatusOK, "!which is left out")
	b.get("/jobs?sort=moon").want(t, "an order of jobs", http.StatusOK, "There is no order “moon”", "SendEmail")
	b.get("/jobs?sort=name&from_row=x").want(t, "a row of jobs", http.StatusOK, "“x” is no number of a row")
	b.get("/services?focus=topic%3Amoon").want(t, "a node of the map", http.StatusOK, "The map has no node “topic:moon”", "quotes-api-uk")
	b.get("/ripples?sort=moon").want(t, "an order of ripples", http.StatusBadRequest, "Sort by")
	b.get("/api/v1/ripples?sort=moon").want(t, "the same of the API", http.StatusBadRequest, "Sort by")
}

// TestSentInBulk: of jobs of several classes that one span sends each counts for its own.
func TestSentInBulk(t *testing.T) {
	s := newSite(t)
	var spans []trace.Span
	long := strings.Repeat("A.b(c)*", 400)
	for i, classes := range []string{`["PriceJob","MailJob","PriceJob"]`, `["Mail.Job","odd \"job\""]`, `["` + long + `"]`} {
		spans = append(spans, trace.Span{TraceID: trace.ID{6, 15: byte(i + 1)}, SpanID: trace.SpanID{1}, Service: "worker", Name: "addBulk low", Kind: trace.KindProducer,
			StartUnixNano: s.Now().Add(-10 * time.Minute).UnixNano(), DurationNano: 1e6, Attributes: []trace.Attribute{{Key: "bullmq.queue.name", Value: trace.String("low")},
				{Key: "bullmq.queue.operation", Value: trace.String("addBulk")}, {Key: "bullmq.job.bulk.count", Value: trace.Int(int64(strings.Count(classes, `",`) + 1))},
				{Key: "bullmq.job.bulk.names", Value: trace.JSON(classes)}}})
	}
	s.feed(spans)
	b := s.as(collab.RoleMember)
	sent := map[string]float64{}
	for _, x := range answerOf[workList](t, b, "/api/v1/jobs").Results {
		sent[x.Name] = x.Sent
	}
	want := map[string]float64{"PriceJob": 2, "MailJob": 1, "Mail.Job": 1, `odd "job"`: 1, long: 1}
	if !maps.Equal(sent, want) {
		t.Errorf("sent by class: %v, want %v", sent, want)
	}
	for class, n := range want {
		if got := answerOf[workDetail](t, b, "/api/v1/jobs/"+url.PathEscape(class)); got.Sent != n || got.Name != class {
			t.Errorf("%s: %v sent, want %v", got.Name, got.Sent, n)
		}
	}
	if got := answerOf[workDetail](t, b, "/api/v1/queues/low"); got.Sent != 6 {
		t.Errorf("the queue: %v sent, want 6", got.Sent)
	}
	b.get("/services/worker").want(t, "its service", http.StatusOK, "Jobs it sets off", "PriceJob", "Mail.Job", "odd &#34;job&#34;", "![&#34;PriceJob")
}

// TestNamelessOnTheMap: what has no topic or queue name does not join services that
// have nothing to do with each other.
// TestThreadMap: the map of one thread has its services and messages only.
// TestHoneykiq: its events are jobs, and one with a link is joined to what set it
// off though no span says that it sends.
func TestHoneykiq(t *testing.T) {
	s := newSite(t)
	now := s.Now()
	var spans []trace.Span
	for i := range 12 {
		web := trace.Span{TraceID: trace.ID{1, 15: byte(i + 1)}, SpanID: trace.SpanID{1}, Service: "web", Name: "POST /cars", Kind: trace.KindServer,
			StartUnixNano: now.Add(-20*time.Minute + time.Duration(i)*time.Second).UnixNano(), DurationNano: 1e8}
		job := trace.Span{TraceID: trace.ID{2, 15: byte(i + 1)}, SpanID: trace.SpanID{2}, Service: "worker", Name: "PricingJob", Kind: trace.KindInternal,
			StartUnixNano: web.StartUnixNano + 3e9, DurationNano: 5e8,
			Links: []trace.Link{{TraceID: web.TraceID, SpanID: web.SpanID}},
			Attributes: []trace.Attribute{{Key: "type", Value: trace.String("job")}, {Key: "job.class", Value: trace.String("PricingJob")},
				{Key: "queue.name", Value: trace.String("default")}, {Key: "job.latency_sec", Value: trace.Float(2.5)}, {Key: "job.attempt_number", Value: trace.Int(int64(1 + i%2))}}}
		if i == 0 {
			job.Status = trace.StatusError
		}
		spans = append(spans, web, job)
	}
	s.feed(spans)
	b := s.as(collab.RoleMember)
	got := answerOf[workDetail](t, b, "/api/v1/jobs/PricingJob")
	if got.Handled != 12 || got.Failed != 1 || *got.Retried != 6 || got.WaitMS == nil || got.WaitMS.P50 != 2500 {
		t.Errorf("PricingJob: %+v, waited %+v", got.workStat, got.WaitMS)
	}
	if got.EdgeWaitMS == nil || got.EdgeWaitMS.P50 != 2900 {
		t.Errorf("by its edges it waited %+v, want 2,900 ms", got.EdgeWaitMS)
	}
	if len(got.Origins) != 1 || got.Origins[0].Service != "web" || got.Origins[0].Name != "POST /cars" || got.Origins[0].Count != 12 || got.Origins[0].TimeMS != 6000 {
		t.Errorf("origins %+v", got.Origins)
	}
	g := answerOf[serviceGraph](t, b, "/api/v1/service-map")
	for _, e := range g.Edges {
		if e.From == "service:web" && (e.To != "queue:default" || !e.Inferred || e.Count != 12) {
			t.Errorf("who sends to the queue: %+v", e)
		}
	}
	b.get("/jobs/PricingJob?part=all").want(t, "the page", http.StatusOK, "job.latency_sec", "2.5 s", "2.9 s", "by the causes of what it handled", "POST /cars")
}

// TestDelaysApart: what a job waited for because it was asked to is no time in the queue.
func TestDelaysApart(t *testing.T) {
	s := newSite(t)
	at := s.Now().Add(-30 * time.Minute).UnixNano()
	var spans []trace.Span
	for i := range byte(4) {
		send := trace.Span{TraceID: trace.ID{9, 15: i + 1}, SpanID: trace.SpanID{i + 1}, Service: "web", Name: "low publish", Kind: trace.KindProducer, StartUnixNano: at, DurationNano: 1e6}
		run := trace.Span{TraceID: trace.ID{9, 14: 1, 15: i + 1}, SpanID: trace.SpanID{16 + i}, Service: "worker", Name: "low process", Kind: trace.KindConsumer, StartUnixNano: at + 602e9, DurationNano: 1e9,
			Links: []trace.Link{{TraceID: send.TraceID, SpanID: send.SpanID}}}
		for _, x := range []*trace.Span{&send, &run} {
			x.Attributes = []trace.Attribute{{Key: "messaging.system", Value: trace.String("sidekiq")}, {Key: "messaging.sidekiq.job_class", Value: trace.String([]string{"LaterJob", "PlainJob"}[i/3])}}
		}
		switch i {
		case 0: // Sidekiq, perform_in ten minutes
			run.Events = []trace.Event{{Name: "created_at", TimeUnixNano: at}, {Name: "enqueued_at", TimeUnixNano: at + 600e9}}
		case 1: // ActiveJob in OpenTelemetry Ruby
			run.Attributes = append(run.Attributes, trace.Attribute{Key: "rails.active_job.scheduled_at", Value: trace.Float(float64((at + 600e9) / 1e9))})
		case 2: // ActiveJob in dd-trace
			run.Attributes = append(run.Attributes, trace.Attribute{Key: "active_job.job.scheduled_at", Value: trace.String(time.Unix(0, at+600e9).UTC().Format("2006-01-02 15:04:05 MST"))})
		}
		spans = append(spans, send, run)
	}
	s.feed(spans)
	b := s.as(collab.RoleViewer)
	got := answerOf[workDetail](t, b, "/api/v1/jobs/LaterJob")
	if e, q, a := got.EdgeWaitMS, got.QueueWaitMS, got.AskedDelayMS; e == nil || math.Abs(e.P50-602e3) > 2e3 || q == nil || q.P50 < 2e3 || q.P99 > 3.1e3 || a == nil || a.P95 != 600e3 {
		t.Errorf("LaterJob waited %+v, in the queue %+v, asked for %+v; want 10 min 2 s, 2 s to 3 s, 10 min", e, q, a)
	}
	b.get("/jobs/LaterJob?part=all").want(t, "a job that was to run later", http.StatusOK, "in its queue: from when it was due, by ", "enqueued_at", "rails.active_job.scheduled_at", "active_job.job.scheduled_at", "before that: the delay that was asked for", "!no span here says")
	b.get("/jobs/PlainJob?part=all").want(t, "a job that does not say", http.StatusOK, "a delay that was asked for is in it", "no span here says when it was due", "!in its queue")
	b.get("/thread/"+spans[1].TraceID.String()+"?span="+spans[1].SpanID.String()).want(t, "the thread of one", http.StatusOK, "It was due only after 9 min 59 s of what it waited", "as enqueued_at says", "It stood in its queue for 2 s")
	b.get("/thread/"+spans[7].TraceID.String()+"?span="+spans[7].SpanID.String()).want(t, "the thread of one that does not say", http.StatusOK, "waited", "!asked for", "!It was due")
}

// TestFrameworkOverQueue: ActiveJob and the queue that it puts its jobs into tell of
// each run both, and of each sending. A job that another one performs is one more.
func TestFrameworkOverQueue(t *testing.T) {
	s := newSite(t)
	var spans []trace.Span
	add := func(parent *trace.Span, service, name string, kind trace.Kind, after time.Duration, pairs ...string) *trace.Span {
		n := byte(len(spans) + 1)
		x := trace.Span{TraceID: trace.ID{5, 15: n}, SpanID: trace.SpanID{n}, Service: service, Name: name, Kind: kind,
			StartUnixNano: s.Now().Add(-10*time.Minute + after).UnixNano(), DurationNano: 1e9}
		if parent != nil && parent.Service == service {
			x.TraceID, x.ParentID = parent.TraceID, parent.SpanID
		} else if parent != nil {
			x.Links = []trace.Link{{TraceID: parent.TraceID, SpanID: parent.SpanID}}
		}
		for i := 0; i < len(pairs); i += 2 {
			x.Attributes = append(x.Attributes, trace.Attribute{Key: pairs[i], Value: trace.String(pairs[i+1])})
		}
		spans = append(spans, x)
		return &x
	}
	framework := func(class string) []string {
		return []string{"messaging.system", "active_job", "messaging.destination", "low", "code.namespace", class, "messaging.active_job.adapter.name", "sidekiq"}
	}
	queue := func(class string) []string {
		return []string{"messaging.system", "sidekiq", "messaging.destination", "low", "messaging.sidekiq.job_class", class}
	}
	for range 3 {
		web := add(nil, "web", "POST /cars", trace.KindServer, 0)
		outer := add(web, "web", "PriceJob publish", trace.KindProducer, 0, framework("PriceJob")...)
		inner := add(outer, "web", "PriceJob publish", trace.KindProducer, 0, queue("PriceJob")...)
		run := add(inner, "worker", "PriceJob process", trace.KindConsumer, 3*time.Second, queue("PriceJob")...)
		same := add(run, "worker", "PriceJob process", trace.KindConsumer, 3*time.Second, framework("PriceJob")...)
		add(same, "worker", "MailJob process", trace.KindConsumer, 3*time.Second, framework("MailJob")...) // perform_now
		add(run, "worker", "LogJob process", trace.KindConsumer, 3*time.Second, framework("LogJob")...)    // from a job of the queue's own
	}
	s.feed(spans)
	b := s.as(collab.RoleViewer)
	got := answerOf[workDetail](t, b, "/api/v1/jobs/PriceJob")
	if got.Sent != 3 || got.Handled != 3 || got.EdgeWaitMS == nil || math.Round(got.EdgeWaitMS.P50) != 2000 || got.Waited != 3 {
		t.Errorf("PriceJob: %+v, %v waited %+v, want each of 3 once, 2,000 ms after it was sent", got.workStat, got.Waited, got.EdgeWaitMS)
	}
	for _, class := range []string{"MailJob", "LogJob"} {
		if got := answerOf[workDetail](t, b, "/api/v1/jobs/"+class); got.Handled != 3 {
			t.Errorf("%s: %v runs, want 3", class, got.Handled)
		}
	}
	if got := answerOf[workDetail](t, b, "/api/v1/queues/low"); got.Sent != 3 || got.Handled != 9 {
		t.Errorf("the queue: %v sent, %v runs, want 3 and 9", got.Sent, got.Handled)
	}
	// A thread counts what its queue ran, which is what one sees of it, and so do all
	// who count threads.
	th := answerOf[struct{ Ripple graph.Ripple }](t, b, fmt.Sprintf("/api/v1/traces/%s/thread", spans[0].TraceID))
	all := answerOf[struct {
		Endpoints []graph.RippleMeasures
		Largest   []struct{ graph.Ripple }
	}](t, b, "/api/v1/ripples")
	if th.Ripple.Jobs != 1 || len(all.Endpoints) != 1 || all.Endpoints[0].Jobs != 3 || all.Largest[0].Jobs != 1 {
		t.Errorf("the thread of one of 3 requests has %d jobs, all threads %+v; want 1 and 3", th.Ripple.Jobs, all)
	}
	b.api(http.MethodPost, "/api/v1/query", `{"calculations":[{"op":"SUM","column":"ripple.jobs"}],"filters":[{"column":"name","op":"=","value":"POST /cars"}]}`, http.StatusOK, nil).
		want(t, "ripple.jobs", http.StatusOK, `"SUM(ripple.jobs)":3`)
}

// TestFrameworkBesideQueue: OpenTelemetry Ruby's ActiveJob tells of a run in a trace of
// its own, or beside the span of the queue. It is one run still; what the queue does not
// tell of is told by the framework alone.
func TestFrameworkBesideQueue(t *testing.T) {
	s := newSite(t)
	var spans []trace.Span
	add := func(parent, link *trace.Span, service, name string, kind trace.Kind, pairs ...string) *trace.Span {
		n := byte(len(spans) + 1)
		x := trace.Span{TraceID: trace.ID{7, 15: n}, SpanID: trace.SpanID{7, n}, Service: service, Name: name, Kind: kind,
			StartUnixNano: s.Now().Add(-10*time.Minute + time.Duration(n)*time.Millisecond).UnixNano(), DurationNano: 1e6}
		if parent != nil {
			x.TraceID, x.ParentID = parent.TraceID, parent.SpanID
		}
		if link != nil {
			x.Links = []trace.Link{{TraceID: link.TraceID, SpanID: link.SpanID}}
		}
		for i := 0; i < len(pairs); i += 2 {
			x.Attributes = append(x.Attributes, trace.Attribute{Key: pairs[i], Value: trace.String(pairs[i+1])})
		}
		spans = append(spans, x)
		return &x
	}
	for i := range 4 {
		jid := fmt.Sprintf("%023d%d", 0, i+1)
		framework := func(class string) []string {
			return []string{"messaging.system", "active_job", "messaging.destination", "low", "code.namespace", class, "messaging.active_job.adapter.name", "sidekiq"}
		}
		queue := []string{"messaging.system", "sidekiq", "messaging.destination", "low", "messaging.sidekiq.job_class", "PriceJob", "messaging.message_id", jid}
		ran := append(framework("PriceJob"), "messaging.active_job.message.provider_job_id", jid)
		web := add(nil, nil, "web", "POST /cars", trace.KindServer)
		outer := add(web, nil, "web", "PriceJob publish", trace.KindProducer, framework("PriceJob")...)
		inner := add(outer, nil, "web", "PriceJob publish", trace.KindProducer, queue...)
		if i < 2 {
			add(nil, inner, "worker", "PriceJob process", trace.KindConsumer, queue...)
			add(nil, outer, "worker", "PriceJob process", trace.KindConsumer, ran...)
		} else { // in the trace of the request
			add(inner, nil, "worker", "PriceJob process", trace.KindConsumer, queue...)
			add(outer, nil, "worker", "PriceJob process", trace.KindConsumer, ran...)
		}
		// Of another service, whose queue does not tell, though others run by it.
		add(nil, web, "mailer", "MailJob process", trace.KindConsumer, append(framework("MailJob"), "messaging.active_job.message.provider_job_id", "4711"+jid)...)
	}
	s.feed(spans)
	b := s.as(collab.RoleViewer)
	for _, class := range []string{"PriceJob", "MailJob"} {
		if got := answerOf[workDetail](t, b, "/api/v1/jobs/"+class); got.Handled != 4 {
			t.Errorf("%s: %v runs, want 4", class, got.Handled)
		}
	}
	if got := answerOf[workDetail](t, b, "/api/v1/queues/low"); got.Sent != 4 || got.Handled != 8 {
		t.Errorf("the queue: %v sent, %v runs, want 4 and 8", got.Sent, got.Handled)
	}
	b.api(http.MethodPost, "/api/v1/query", `{"calculations":[{"op":"COUNT"}],"filters":[{"column":"span.kind","op":"=","value":"consumer"},{"column":"work.nested","op":"=","value":false}]}`, http.StatusOK, nil).
		want(t, "work.nested", http.StatusOK, `"COUNT":8`)
	th := answerOf[struct{ Ripple graph.Ripple }](t, b, fmt.Sprintf("/api/v1/traces/%s/thread", spans[0].TraceID))
	all := answerOf[struct{ Endpoints []graph.RippleMeasures }](t, b, "/api/v1/ripples")
	if th.Ripple.Jobs != 2 || len(all.Endpoints) != 1 || all.Endpoints[0].Jobs != 8 {
		t.Errorf("the thread of one of 4 requests has %d jobs, all threads %+v; want 2 and 8", th.Ripple.Jobs, all)
	}
}

func TestWorkBeforeAnything(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleViewer)
	b.get("/jobs").want(t, "no jobs", http.StatusOK, "No job classes in the last 1 h", "bullmq-otel", "job.class", "honeykiq")
	b.get("/messages").want(t, "no messages", http.StatusOK, "No topics in the last 1 h", "messaging.destination.name")
	b.get("/services").want(t, "no services", http.StatusOK, "Nothing happened")
	s.feed(exploreSpans(s.Now()))
	b.get("/services").want(t, "services without messages", http.StatusOK, "web-uk", "!map-topics")
	b.get("/messages?range=nonsense").want(t, "a bad window", http.StatusBadRequest, "Write the time range")
}

// TestOneNameFromSeveralSenders: who looks a name up by one attribute must not lose
// those who give it by another.
func TestOneNameFromSeveralSenders(t *testing.T) {
	s := newSite(t)
	var spans []trace.Span
	add := func(name string, pairs ...string) {
		n := byte(len(spans) + 1)
		x := trace.Span{TraceID: trace.ID{4, 15: n}, SpanID: trace.SpanID{n}, Service: "worker", Name: name, Kind: trace.KindConsumer,
			StartUnixNano: s.Now().Add(-10 * time.Minute).UnixNano(), DurationNano: 1e6}
		for i := 0; i < len(pairs); i += 2 {
			x.Attributes = append(x.Attributes, trace.Attribute{Key: pairs[i], Value: trace.String(pairs[i+1])})
		}
		spans = append(spans, x)
	}
	add("orders process", "messaging.system", "kafka", "messaging.destination.name", "orders")
	add("orders process", "messaging.system", "kafka", "messaging.destination.name", "orders", "kafka.topic", "orders")
	add("orders", "messaging.system", "kafka", "kafka.topic", "orders")
	add("other", "messaging.system", "kafka", "messaging.destination.name", "other", "kafka.topic", "orders")
	add("cars process", "messaging.system", "kafka", "messaging.destination.name", "cars", "kafka.topic", "cars")
	add("low process", "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "PriceJob", "messaging.destination.name", "low")
	add("PriceJob process", "messaging.system", "resque", "messaging.destination.name", "low")
	add("PriceJob process", "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "OtherJob", "messaging.destination.name", "low")
	add("OtherJob process", "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "LoneJob", "messaging.destination.name", "low")
	s.feed(spans)
	b := s.as(collab.RoleViewer)
	sum := func(d workDetail) (n float64) {
		for _, o := range d.Origins {
			n += o.Count
		}
		for _, u := range d.OriginsUnknown {
			n += u.Count
		}
		return n
	}
	for path, want := range map[string]float64{"messages/orders": 3, "messages/cars": 1, "messages/other": 1, "jobs/PriceJob": 2, "jobs/OtherJob": 1, "jobs/LoneJob": 1, "queues/low": 4} {
		if got := answerOf[workDetail](t, b, "/api/v1/"+path); got.Handled != want || sum(got) != want {
			t.Errorf("%s: %v handled, %v with or without an origin, want %v", path, got.Handled, sum(got), want)
		}
	}
}

// TestManyTopics: 2,000 topics with long and hostile names are listed in pages,
// found, and folded on the map.
func TestManyTopics(t *testing.T) {
	s := newSite(t)
	now := s.Now()
	var spans []trace.Span
	for i := range 2000 {
		name := fmt.Sprintf("carwow.%s.events.v%04d", strings.Repeat("very-", 20), i)
		if i == 7 {
			name = "odd/topic <script>alert(1)</script> ?&%2F"
		}
		a := trace.Span{TraceID: trace.ID{3, 14: byte(i >> 8), 15: byte(i)}, SpanID: trace.SpanID{1}, Service: "sender", Name: "send", Kind: trace.KindProducer,
			StartUnixNano: now.Add(-10*time.Minute).UnixNano() + int64(i), DurationNano: 1e6,
			Attributes: []trace.Attribute{{Key: "messaging.system", Value: trace.String("kafka")}, {Key: "messaging.destination.name", Value: trace.String(name)}}}
		c := a
		c.SpanID, c.ParentID, c.Service, c.Name, c.Kind, c.StartUnixNano = trace.SpanID{2}, a.SpanID, "handler", "process", trace.KindConsumer, a.StartUnixNano+5e6
		spans = append(spans, a, c)
	}
	s.feed(spans)
	b := s.as(collab.RoleMember)
	b.get("/messages").want(t, "the first page", http.StatusOK, "1–100 of 2000", "Next")
	b.get("/messages?from_row=1900").want(t, "the last page", http.StatusOK, "1901–2000 of 2000", "First page", "!>Next<")
	b.get("/messages?from_row=99999").want(t, "beyond the last page", http.StatusOK, "1901–2000 of 2000")
	b.get("/messages?q=odd").want(t, "the odd one", http.StatusOK, "&lt;script&gt;", "!<script>alert")
	b.get("/messages/"+url.PathEscape("odd/topic <script>alert(1)</script> ?&%2F")).want(t, "its page", http.StatusOK, "Who sends", "sender", "handler", "!<script>alert")
	b.get("/services").want(t, "the map", http.StatusOK, "2000 topics", "are drawn as one", "Unfold")
	if n := strings.Count(b.get("/services?all=1").body, `class="Map-node `); n > maxMapAll {
		t.Errorf("%d nodes are drawn, want at most %d", n, maxMapAll)
	}
}

// A trace that sends more than is read of most: those of its sends that nothing
// handled are told, and no others.
func TestSentAndNotHandledOfAStorm(t *testing.T) {
	s := newSite(t)
	const sends, lost = 2400, 1234
	at := s.Now().Add(-20 * time.Minute).UnixNano()
	span := func(id trace.ID, n int, kind trace.Kind, parent trace.SpanID) trace.Span {
		x := trace.Span{TraceID: id, SpanID: trace.SpanID{id[0], byte(n >> 8), byte(n), 1}, ParentID: parent, Service: "worker", Name: "pricing", Kind: kind,
			StartUnixNano: at + int64(n)*1e6, DurationNano: 1e6}
		if kind != trace.KindServer {
			x.Attributes = []trace.Attribute{{Key: "messaging.system", Value: trace.String("sidekiq")}, {Key: "messaging.sidekiq.job_class", Value: trace.String("PricingJob")},
				{Key: "messaging.destination.name", Value: trace.String("pricing")}}
		}
		return x
	}
	storm := trace.ID{1, 15: 1}
	spans := []trace.Span{span(storm, 0, trace.KindServer, trace.SpanID{})}
	for i := 1; i <= sends; i++ {
		sent := span(storm, i, trace.KindProducer, spans[0].SpanID)
		spans = append(spans, sent)
		if i == lost {
			continue
		}
		run := span(trace.ID{2, byte(i >> 8), byte(i), 15: 1}, i, trace.KindConsumer, trace.SpanID{})
		run.Links = []trace.Link{{TraceID: storm, SpanID: sent.SpanID}}
		spans = append(spans, run)
	}
	s.feed(spans[:len(spans)/2])
	s.feed(spans[len(spans)/2:])
	b := s.as(collab.RoleMember)
	// Sent one by one at random; the sample is the same each time.
	page := b.get("/jobs/PricingJob?part=causes")
	if strings.Contains(page.body, "not seen to be handled") && !strings.Contains(page.body, "1 of 200 looked at, of 2,400 sent") {
		t.Errorf("sends that were handled are called lost: %.3000s", page.body)
	}
	b.get("/jobs/PricingJob?range=24h").want(t, "the class", http.StatusOK, "2,400")
	search := sentSearch{store: s.Store, rules: s.Graph.Rules(), traces: map[trace.ID]*sentTrace{}}
	for i := 1; i <= sends; i++ {
		handled, sure, err := search.isHandled(t.Context(), trace.Ref{TraceID: storm, SpanID: trace.SpanID{1, byte(i >> 8), byte(i), 1}})
		if err != nil || !sure || handled == (i == lost) {
			t.Fatalf("send %d: handled %v, sure %v, %v", i, handled, sure, err)
		}
	}
}

// The measures of a thread are the same on its page, in queries and on the Ripples
// page, for all threads of both captures; what may be of others is said to be.
func TestOneAnswerOfThreads(t *testing.T) {
	b := capturedSite(t)
	names := []string{"traces", "spans", "messages", "jobs", "requests", "errors", "busy_ms"}
	calculations := ""
	for _, n := range names {
		calculations += fmt.Sprintf(`,{"op":"SUM","column":"ripple.%s"}`, n)
	}
	a := b.api(http.MethodPost, "/api/v1/query", `{"time_range":7200,"limit":1000,"breakdowns":["trace.trace_id"],"calculations":[`+calculations[1:]+`],"filters":[{"column":"ripple.traces","op":"exists"}]}`, http.StatusOK, nil)
	var answer struct {
		Results  []struct{ Data map[string]any }
		Warnings []string
	}
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil || len(answer.Results) < 20 {
		t.Fatalf("%d threads, %v: %.300s", len(answer.Results), err, a.body)
	}
	listed := map[trace.ID]graph.Ripple{}
	type thread struct {
		TraceID trace.ID `json:"trace_id"`
		graph.Ripple
	}
	for _, x := range answerOf[struct{ Largest []thread }](t, b, "/api/v1/ripples?range=2h").Largest {
		listed[x.TraceID] = x.Ripple
	}
	// Work on batches of one endpoint is in its line, though in none of its threads.
	type line struct {
		graph.Endpoint
		Jobs    int `json:"jobs"`
		Several int `json:"of_several_threads"`
	}
	for _, e := range answerOf[struct{ Endpoints []line }](t, b, "/api/v1/ripples?range=2h").Endpoints {
		if e.Service != "web-de" || e.Name != "POST /quotes" {
			continue
		}
		if e.Jobs != 13 || e.Several == 0 {
			t.Errorf("POST /quotes of web-de set off %d jobs, %d traces of several of its threads; want 13 jobs", e.Jobs, e.Several)
		}
		b.get("/ripples?range=2h&service=web-de&name=POST+%2Fquotes&in="+e.Environment).want(t, "its batches", http.StatusOK, "work on batches of messages from several of its threads")
	}
	b.get("/api/v1/ripples?range=2h").want(t, "waiting time, which is not known there", http.StatusOK, "busy_nano", "!waiting_nano")
	shared, compared := 0, 0
	for _, x := range answer.Results {
		id, err := trace.ParseID(fmt.Sprint(x.Data["trace.trace_id"]))
		if err != nil {
			t.Fatal(err)
		}
		r := answerOf[struct{ Ripple graph.Ripple }](t, b, "/api/v1/traces/"+id.String()+"/thread").Ripple
		if r.Shared > 0 {
			shared++
			b.get("/thread/"+id.String()).want(t, "a thread with a part of others", http.StatusOK, "Some of it may not be this thread", "up to ")
		}
		for i, want := range []float64{float64(r.Traces), float64(r.Spans), float64(r.Messages), float64(r.Jobs), float64(r.Requests), float64(r.Errors), float64(r.BusyNano) / 1e6} {
			got, _ := x.Data["SUM(ripple."+names[i]+")"].(float64)
			if math.Abs(got-want) > 1e-6 && r.Shared == 0 || got < want-1e-6 {
				t.Errorf("trace %s: ripple.%s is %v, its thread says %v (%d traces shared)", id, names[i], got, want, r.Shared)
			}
		}
		if l, ok := listed[id]; ok && r.Shared == 0 {
			compared++
			l.WaitingNano, r.WaitingNano, l.LastEffectNano, r.LastEffectNano = 0, 0, 0, 0
			if l != r {
				t.Errorf("trace %s: the Ripples page says %+v, its thread %+v", id, l, r)
			}
		}
	}
	if shared == 0 || compared == 0 || !strings.Contains(strings.Join(answer.Warnings, "\n"), "upper bounds") {
		t.Errorf("%d threads share batches, %d were compared with the Ripples page; warnings: %q", shared, compared, answer.Warnings)
	}
}
