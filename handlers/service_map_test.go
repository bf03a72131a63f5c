package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

func TestServiceMapOfCaptures(t *testing.T) {
	b := capturedSite(t)
	g := answerOf[serviceGraph](t, b, "/api/v1/service-map")
	edges := map[string]mapEdge{}
	for _, e := range g.Edges {
		edges[e.From+" → "+e.To] = e
	}
	for want, count := range map[string]float64{
		"service:quotes-api-uk → topic:uk.quote-requested":      12,
		"topic:uk.quote-requested → service:dealer-consumer-uk": 12,
		"service:worker-uk → topic:uk.price-changed":            8,
		"queue:mailers → service:worker-uk":                     9,
		"service:worker-uk → queue:uk-recalc":                   15,
	} {
		if got := edges[want]; got.Count != count {
			t.Errorf("%s: %v, want %v", want, got.Count, count)
		}
	}
	waits := 0
	for _, n := range g.Nodes {
		if n.Kind != mapService && n.WaitMS == nil {
			t.Errorf("how long %s waited is not known", n.ID)
		} else if n.ID == "queue:mailers" {
			waits++
			one := answerOf[workDetail](t, b, "/api/v1/queues/mailers")
			if e := edges["queue:mailers → service:worker-uk"]; one.EdgeWaitMS == nil || *n.WaitMS != one.EdgeWaitMS.P95 || e.WaitMS == nil || *e.WaitMS != *n.WaitMS {
				t.Errorf("%s waited %v, its page says %+v, its edge %v", n.ID, *n.WaitMS, one.EdgeWaitMS, e.WaitMS)
			}
		}
	}
	if waits != 1 {
		t.Error("there is no queue of mailers")
	}
	if e, ok := edges["service:web-uk → service:quotes-api-uk"]; !ok || e.Kind != mapCall || e.Count < 4 {
		t.Errorf("web-uk calls quotes-api-uk: %+v", e)
	}
	for name := range edges {
		if strings.Count(name, "service:") == 2 && strings.Contains(name, "→ service:dealer-consumer") {
			t.Errorf("%s: a message is no call", name)
		}
	}
	if g.Every != 1 {
		t.Errorf("calls from one of %d traces, want all", g.Every)
	}
	a := b.get("/services")
	a.want(t, "map", http.StatusOK, `class="Map-picture`, "web-uk", "uk.quote-requested", `href="/services/web-uk"`, `href="/messages/uk.quote-requested"`, "Who calls, sends and handles")
	b.get("/services?focus="+url.QueryEscape("topic:uk.price-changed")).want(t, "around a topic", http.StatusOK, "around uk.price-changed", "dealer-consumer-de", "!quotes-api-uk", "Whole map")
	b.get("/services?q=quote-requested").want(t, "a search with several hits", http.StatusOK, "Map-node--found", "uk.quote-requested", "de.quote-requested")
	b.get("/services?q=moon").want(t, "a search without hits", http.StatusOK, "Nothing on the map has “moon”")
	b.get("/services?range=1s").want(t, "nothing in the window", http.StatusOK, "Nothing happened in the last 1 s")
	b.get("/services?thread=x").want(t, "no trace id", http.StatusBadRequest)
	b.get("/services?thread=4bf92f3577b34da6a3ce929d0e0e4736").want(t, "an unknown trace", http.StatusNotFound)

	way := b.get("/service-map/traces?source=service:quotes-api-uk&target=topic:uk.quote-requested")
	to := way.header.Get("Location")
	if u, err := url.Parse(to); err != nil || u.Path != "/explore" {
		t.Fatalf("the traces of an edge are at %q: status %d: %.300s", to, way.status, way.body)
	}
	b.get(to).want(t, "the traces of an edge", http.StatusOK, "quotes-api-uk", "12 matched")
	to = b.get("/service-map/traces?source=topic:uk.price-changed&target=service:dealer-consumer-de").header.Get("Location")
	b.get(to).want(t, "the traces of messages that were polled", http.StatusOK, "8 matched")
	to = b.get("/service-map/traces?source=service:web-uk&target=service:quotes-api-uk").header.Get("Location")
	b.get(to).want(t, "the traces of a call", http.StatusOK, fmt.Sprintf("%.0f matched", edges["service:web-uk → service:quotes-api-uk"].Count))
	for _, nodes := range []string{"source=moon:x&target=service:y", "source=topic:x&target=queue:y"} {
		b.get("/service-map/traces?"+nodes).want(t, nodes, http.StatusBadRequest, "Want the ids of two nodes")
	}
	b.get("/service-map/traces?source=x&target=y").want(t, "no nodes", http.StatusBadRequest)
	if a := b.get("/service-map/traces"); a.status != http.StatusSeeOther || a.header.Get("Location") != "/services" {
		t.Errorf("the traces of no edge: status %d to %q, want the map", a.status, a.header.Get("Location"))
	}

	services := answerOf[serviceList](t, b, "/api/v1/services")
	if len(services.Services) < 8 {
		t.Errorf("%d services, want at least 8: %+v", len(services.Services), services)
	}
	b.get("/services/quotes-api-uk").want(t, "a service", http.StatusOK, "Called by", "web-uk", "Messages it sends", "uk.quote-requested", "POST /quotes")
	b.get("/services/worker-uk").want(t, "a worker", http.StatusOK, "Jobs it runs", "RecalculateQuotes")
	b.get("/services/nobody").want(t, "an unknown service", http.StatusOK, "Nothing of nobody")
}

func TestNamelessOnTheMap(t *testing.T) {
	s := newSite(t)
	at := s.Now().Add(-10 * time.Minute).UnixNano()
	span := func(n byte, service string, kind trace.Kind, links ...trace.Link) trace.Span {
		return trace.Span{TraceID: trace.ID{7, 15: n}, SpanID: trace.SpanID{n}, Service: service, Name: "work", Kind: kind, StartUnixNano: at + int64(n)*1e9, DurationNano: 1e6,
			Links: links, Attributes: []trace.Attribute{{Key: "messaging.system", Value: trace.String("kafka")}}}
	}
	web := span(3, "web", trace.KindServer)
	s.feed([]trace.Span{span(1, "sender", trace.KindProducer), span(2, "stranger", trace.KindConsumer), web, span(4, "handler", trace.KindConsumer, trace.Link{TraceID: web.TraceID, SpanID: web.SpanID})})
	b := s.as(collab.RoleMember)
	g := answerOf[serviceGraph](t, b, "/api/v1/service-map")
	next := map[string][]string{}
	for _, e := range g.Edges {
		next[e.From] = append(next[e.From], e.To)
	}
	reached := func(from string) map[string]bool {
		seen, todo := map[string]bool{}, []string{from}
		for len(todo) > 0 {
			at := todo[0]
			todo = todo[1:]
			if !seen[at] {
				seen[at] = true
				todo = append(todo, next[at]...)
			}
		}
		return seen
	}
	if r := reached("service:sender"); len(r) != 2 || r["service:stranger"] || r["service:handler"] {
		t.Errorf("sender reaches %v", r)
	}
	if r := reached("service:web"); len(r) != 3 || !r["service:handler"] {
		t.Errorf("web reaches %v, want the handler of what it caused", r)
	}
	a := b.get("/services")
	a.want(t, "the map", http.StatusOK, "(no topic named) · sender", "(no topic named) · stranger")
	for _, x := range []struct {
		way string
		n   string
	}{{"source=service:sender&target=topic-sent-by:sender", "1 matched"}, {"source=topic-handed-to:stranger&target=service:stranger", "1 matched"}} {
		b.get(b.get("/service-map/traces?"+x.way).header.Get("Location")).want(t, x.way, http.StatusOK, x.n)
	}
	b.get("/services?focus=topic-handed-to:handler").want(t, "around one", http.StatusOK, "web", "!stranger")
}

func TestMapOfOneThread(t *testing.T) {
	b := capturedSite(t)
	one := answerOf[workDetail](t, b, "/api/v1/messages/uk.price-changed")
	if one.Handled != 8 {
		t.Fatalf("%+v", one)
	}
	found := b.get("/messages/uk.price-changed?part=all").body
	at := strings.Index(found, "/thread/")
	if at < 0 {
		t.Fatal("no thread on the page")
	}
	id := found[at+len("/thread/") : at+len("/thread/")+32]
	g := answerOf[serviceGraph](t, b, "/api/v1/service-map?thread="+id)
	kinds := map[string]int{}
	for _, n := range g.Nodes {
		kinds[n.Kind]++
	}
	if kinds[mapService] < 3 || kinds[mapTopic]+kinds[mapJob] < 2 || kinds[mapQueue] > 0 || len(g.Edges) < 4 {
		t.Errorf("the thread of %s: %+v", id, g)
	}
	// Some of these messages were taken in twos.
	for _, e := range g.Edges {
		if e.From == "service:worker-uk" && e.To == "topic:uk.price-changed" || e.From == "topic:uk.price-changed" {
			if e.Count != one.Handled {
				t.Errorf("%s → %s: %v messages, the topic's page says %v", e.From, e.To, e.Count, one.Handled)
			}
		}
	}
	b.get("/thread/"+id).want(t, "the messages of a thread", http.StatusOK, ">8 messages<", "!>5 messages<", "×5 · 8 messages · min ")
	b.get("/thread/"+id+"?view=table").want(t, "the table of a thread", http.StatusOK, "×5 · 8 messages", "sort=-messages")
	told := answerOf[struct {
		Legs []struct {
			Topic    string
			Work     graph.Work
			Messages int
		}
		Path string
	}](t, b, "/api/v1/traces/"+id+"/thread")
	polled := 0
	for i := range told.Legs {
		if l := &told.Legs[i]; l.Topic == "uk.price-changed" && l.Work == graph.WorkMessage {
			polled += l.Messages
		}
	}
	if polled != 8 || !strings.Contains(told.Path, "poll uk.price-changed ×5 · 8 messages in dealer-consumer-de") {
		t.Errorf("the thread tells of %d messages: %s", polled, told.Path)
	}
	b.get("/services?thread="+id).want(t, "the map of a thread", http.StatusOK, "of <a href=\"/thread/"+id, "Map-line--thread", "×")
}
