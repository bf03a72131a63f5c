package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"redthread/tracestore/trace"
)

// TestCauseCommands asks for origins and threads from the terminal.
func TestCauseCommands(t *testing.T) {
	p := start(t, t.TempDir())
	s := tell(t, p)
	run := s.job.String() + ":" + s.run.String()
	wantSay(t, 0, []string{`"status": "found"`, `"trace_id": "` + s.request.String() + `"`, `"rule": "span_link"`}, "origin", run, "--data", p.dir)
	wantSay(t, 0, []string{"Caused by POST /quotes in web-uk at ", s.request.String() + ":" + s.root.String(), "→ PriceQuoteJob process in pricing-worker  (recorded link, rule span_link"}, "origin", run, "--data", p.dir, "--text")
	wantSay(t, 0, []string{"Caused by POST /quotes in web-uk"}, "origin", s.job.String(), "--url", p.url, "--token", p.token, "--text")
	wantSay(t, 0, []string{"It is the origin itself."}, "origin", "--text", "--data", p.dir, s.request.String()+":"+s.root.String())
	wantSay(t, 0, []string{`"ripple"`, `"jobs": 1`}, "thread", s.request.String(), "--data", p.dir)
	wantSay(t, 0, []string{"POST /quotes in web-uk at ", "1 job run", "    → PriceQuoteJob process in pricing-worker  (recorded link"}, "thread", run, "--data", p.dir, "--text")

	wantSay(t, 1, []string{"nothing is known about"}, "origin", "4bf92f3577b34da6a3ce929d0e0e4736", "--data", p.dir)
	wantSay(t, 1, []string{"nothing is known about"}, "origin", s.job.String()+":00f067aa0ba902b7", "--data", p.dir)
	wantSay(t, 1, []string{"nothing is known about"}, "thread", s.job.String()+":00f067aa0ba902b7", "--data", p.dir)
	wantSay(t, 2, []string{"span id", "usage: redthread thread TRACE[:SPAN]"}, "thread", s.job.String()+":zz", "--data", p.dir)
	wantSay(t, 1, []string{"is the server running?"}, "thread", s.job.String(), "--url", "http://127.0.0.1:1", "--token", "t")
	wantSay(t, 1, []string{"This token is unknown"}, "thread", s.job.String(), "--url", p.url, "--token", "wrong")
	wantSay(t, 0, []string{"usage: redthread origin", "ambiguous", "-text"}, "origin", "--help")
	p.stop()
}

// What a sender writes does not steer a terminal, and large answers are cut with
// a word.
func TestCauseText(t *testing.T) {
	var out bytes.Buffer
	print := func(text func(*bytes.Buffer, []byte) error, answer map[string]any) string {
		t.Helper()
		raw, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := text(&out, raw); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	origin := func(w *bytes.Buffer, raw []byte) error { return originText(w, raw) }
	thread := func(w *bytes.Buffer, raw []byte) error { return threadText(w, raw) }
	at := func(n int, name string) map[string]any {
		return map[string]any{"trace_id": trace.ID{byte(n >> 8), byte(n)}.String(), "span_id": trace.SpanID{1}.String(), "service": "web", "name": name, "start_unix_nano": "1700000000000000000"}
	}
	var many []any
	for i := range 300 {
		many = append(many, at(i, "POST /cars"))
	}
	got := print(origin, map[string]any{"status": "ambiguous", "origins": many})
	if !strings.HasPrefix(got, "Ambiguous: caused by one of 300.\n") || !strings.HasSuffix(got, "  and 100 more: the JSON has all\n") || strings.Count(got, "\n") != 202 {
		t.Errorf("300 candidates: %.400s", got)
	}
	got = print(origin, map[string]any{"status": "unknown", "reason": "links_dropped", "furthest": at(1, "evil\x1b[2J\u202Ename"), "expired": true, "incomplete": true,
		"links": map[string]any{"of": at(1, "poll"), "recorded": 128, "dropped": 372, "inferred": 370}})
	for _, want := range []string{"Unknown: a sender dropped links", "evil\uFFFD[2J\uFFFDname in web", "poll in web: 128 of 500 links were sent, 370 of the others found by ids.", "never arrived", "have expired"} {
		if !strings.Contains(got, want) {
			t.Errorf("unknown: %q has no %q", got, want)
		}
	}
	var legs []any
	for i := range 1000 {
		l := at(i, "job "+strings.Repeat("x", i%3))
		l["cause"], l["by"], l["duration_nano"], l["wait_nano"], l["errors"] = max(0, (i-1)/10), "link", "1000000", "2000000", i%2
		if i == 0 {
			l["cause"], l["by"] = -1, ""
		}
		legs = append(legs, l)
	}
	got = print(thread, map[string]any{"origin": at(0, "GET /"), "legs": legs, "selected": -1, "cut": true, "folded": 5000,
		"ripple": map[string]any{"traces": 1000, "messages": 0, "jobs": 1, "requests": 2, "errors": 3, "busy_nano": "1000", "waiting_nano": "0", "last_effect_nano": "5"}})
	for _, want := range []string{"GET / in web at 2023-11-14 22:13:20.000 UTC", "0 messages, 1 job run, 2 further requests and 3 errors in 1,000 traces; 1,000 legs; trace time 1 µs",
		"5,000 of the traces are counted", "larger than what was read", "  → job x in web ×4  (recorded link, waited up to 2 ms, took up to 1 ms, 2 failed)"} {
		if !strings.Contains(got, want) {
			t.Errorf("thread has no %q:\n%.1500s", want, got)
		}
	}
	// Of a storm a few are examples: the line tells of all that their fold counts.
	storm := []any{}
	for i := range 9 {
		l := at(i, "pricing process")
		l["cause"], l["by"], l["fold"], l["topic"], l["duration_nano"], l["wait_nano"], l["errors"] = 0, "link", 0, "PricingJob", "50000000", "23400000000", i%3
		if i == 0 {
			l["name"], l["cause"], l["by"], l["fold"] = "imports process", -1, "", -1
		}
		storm = append(storm, l)
	}
	got = print(thread, map[string]any{"origin": at(0, "POST /admin/reprice"), "legs": storm, "selected": -1, "folded": 5992, "folds": []any{
		map[string]any{"cause": 0, "parent": -1, "traces": 6000, "failed": 120, "service": "web", "name": "pricing process", "max_nano": "60000000", "max_wait_nano": "31000000000"},
		map[string]any{"cause": -1, "parent": 0, "traces": 700, "failed": 7, "service": "mail", "name": "send", "max_nano": "9000000", "max_wait_nano": "0"}},
		"ripple": map[string]any{"traces": 6702, "busy_nano": "1000", "waiting_nano": "0", "last_effect_nano": "5"}})
	for _, want := range []string{"  → pricing process in web ×6,000  (recorded link, by PricingJob, waited up to 31 s, took up to 60 ms, 120 failed)\n    → send in mail ×700  (took up to 9 ms, 7 failed)\n", "5,992 of the traces are counted from their summaries"} {
		if !strings.Contains(got, want) {
			t.Errorf("a storm has no %q:\n%s", want, got)
		}
	}
	var chain []any
	for i := range 500 {
		l := at(i, "hop")
		l["cause"] = i - 1
		chain = append(chain, l)
	}
	got = print(thread, map[string]any{"status": "unknown", "reason": "not_arrived", "start": at(0, "hop"), "legs": chain,
		"ripple": map[string]any{"busy_nano": "0", "waiting_nano": "0", "last_effect_nano": "0"}})
	if !strings.HasSuffix(got, "and more: the JSON has all\n") || strings.Count(got, "→ hop") != maxTextLines-1 {
		t.Errorf("a chain of 500: %d lines, ends with %q", strings.Count(got, "\n"), got[len(got)-80:])
	}
}
