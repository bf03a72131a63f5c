package handlers

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func postBubbleUp(t *testing.T, srv *httptest.Server, body string) (int, map[string]any) {
	t.Helper()
	res, err := srv.Client().Post(srv.URL+"/api/v1/bubbleup", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s answers %q: %v", body, text, err)
	}
	return res.StatusCode, answer
}

func TestBubbleUpAPI(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	status, got := postBubbleUp(t, srv, `{"query":{`+queryWindow()+`},"selection":{"column":"duration_ms","min":15,"max":25},"limit":1}`)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, got)
	}
	stats, _ := got["stats"].(map[string]any)
	if stats["rows_scanned"] != 3.0 || stats["rows_matched"] != 3.0 || stats["sampled"] != false {
		t.Errorf("stats %v: want 3 rows scanned and matched, not sampled", stats)
	}
	delete(got, "stats")
	compared, _ := got["compared"].(float64)
	if compared < 8 {
		t.Errorf("compared %v columns, want every one", got["compared"])
	}
	delete(got, "compared")
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"selection":{"rows":1,"count":1,"rows_read":1,"sampled":false},
		"baseline":{"rows":2,"count":2,"rows_read":2,"sampled":false},
		"columns":[{"name":"bullmq.job.id","types":["int"],"score":0,"defines_selection":false,"near_unique":false,
			"best":{"op":"=","value":7,"selection":1,"baseline":0},
			"present":{"selection":{"count":1,"share":1},"baseline":{"count":0,"share":0}},
			"values":[{"value":7,"selection":{"count":1,"share":1},"baseline":{"count":0,"share":0}}],
			"other":{"selection":{"count":0,"share":0},"baseline":{"count":0,"share":0}},
			"histogram":[]}],
		"warnings":[]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
}

func TestBubbleUpAPIErrors(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	for _, c := range []struct{ body, field, says string }{
		{``, "", "ends too early"},
		{`{"query":{}}`, "selection", "Say what is selected"},
		{`{"query":{"limit":"x"},"selection_filters":[]}`, "query.limit", "whole number"},
		{`{"query":{"start_time":9,"end_time":1},"selection_filters":[{"column":"a","op":"exists"}]}`, "query.start_time", "before the end"},
		{`{"query":{},"selection":{"column":"a","min":1,"most":2}}`, "most", "Unknown field"},
		{`{"query":{},"selection_filters":[{"column":"a","op":"like","value":1}]}`, "selection_filters[0].op", "Unknown operator"},
	} {
		status, got := postBubbleUp(t, srv, c.body)
		e, _ := got["error"].(map[string]any)
		field, _ := e["field"].(string)
		message, _ := e["message"].(string)
		if status != http.StatusBadRequest || field != c.field || !strings.Contains(message, c.says) {
			t.Errorf("%s: status %d, %v; want 400 about %q that says %q", c.body, status, got, c.field, c.says)
		}
	}
}
