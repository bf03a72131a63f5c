package handlers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"redthread/tracestore/trace"
)

// postQuery sends a query and reads the answer.
func postQuery(t *testing.T, srv *httptest.Server, body string) (int, map[string]any) {
	t.Helper()
	res, err := srv.Client().Post(srv.URL+"/api/v1/query", "application/json", strings.NewReader(body))
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

// queryWindow is the time range of the test spans, as two fields of a query.
func queryWindow() string {
	sec := apiTime / int64(time.Second)
	return fmt.Sprintf(`"start_time":%d,"end_time":%d`, sec, sec+60)
}

func TestQueryAPI(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	status, got := postQuery(t, srv, `{"calculations":[{"op":"COUNT"},{"op":"MAX","column":"duration_ms"},{"op":"HEATMAP","column":"bullmq.job.id"}],
		"breakdowns":["service.name","bullmq.job.id"],"filters":[{"column":"messaging.system","op":"=","value":"sidekiq"},{"column":"nothing","op":"does-not-exist"}],
		"granularity":60,`+queryWindow()+`}`)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, got)
	}
	stats, _ := got["stats"].(map[string]any)
	if _, ok := stats["elapsed_nano"].(string); !ok || stats["rows_scanned"] != 3.0 || stats["rows_matched"] != 2.0 || stats["sampled"] != false {
		t.Errorf("stats %v: want 3 rows scanned, 2 matched, not sampled, elapsed_nano a string", stats)
	}
	delete(got, "stats")
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"results":[
			{"data":{"service.name":"web","bullmq.job.id":null,"COUNT":1,"MAX(duration_ms)":5,"HEATMAP(bullmq.job.id)":[]}},
			{"data":{"service.name":"worker","bullmq.job.id":7,"COUNT":1,"MAX(duration_ms)":20,"HEATMAP(bullmq.job.id)":[{"min":7,"max":7.0625,"count":1}]}}],
		"series":[
			{"time":"2026-11-22T12:00:00Z","data":{"service.name":"web","bullmq.job.id":null,"COUNT":1,"MAX(duration_ms)":5,"HEATMAP(bullmq.job.id)":[]}},
			{"time":"2026-11-22T12:00:00Z","data":{"service.name":"worker","bullmq.job.id":7,"COUNT":1,"MAX(duration_ms)":20,"HEATMAP(bullmq.job.id)":[{"min":7,"max":7.0625,"count":1}]}}],
		"other":null,
		"total":{"data":{"COUNT":2,"MAX(duration_ms)":20,"HEATMAP(bullmq.job.id)":[{"min":7,"max":7.0625,"count":1}]}},
		"warnings":["No row in this time range has the column \"nothing\"."]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
	if _, got := postQuery(t, srv, `{`+queryWindow()+`}`); got["series"] != nil || len(got["results"].([]any)) != 1 {
		t.Errorf("a query without granularity answers %v; want one result and no series", got)
	}
}

func TestQueryAPIRefuses(t *testing.T) {
	srv := traceServer(t, []trace.Span{{TraceID: trace.ID{1}, SpanID: trace.SpanID{1}, StartUnixNano: apiTime}})
	for _, c := range []struct{ body, field, says string }{
		{``, "", "at least {}"},
		{`nonsense`, "", "not JSON"},
		{`{"calculations":[{"op":"MEDIAN","column":"x"}]}`, "calculations[0].op", "Unknown operator"},
		{`{"filters":[{"column":"x","op":"~","value":"y"}]}`, "filters[0].op", "Unknown operator"},
		{`{"limit":100000}`, "limit", "1 to 10000"},
		{`{"start_time":"yesterday"}`, "start_time", "a number"},
	} {
		status, got := postQuery(t, srv, c.body)
		e, _ := got["error"].(map[string]any)
		field, _ := e["field"].(string)
		message, _ := e["message"].(string)
		if status != http.StatusBadRequest || field != c.field || !strings.Contains(message, c.says) {
			t.Errorf("%s: status %d, %v; want 400 about %q that says %q", c.body, status, got, c.field, c.says)
		}
	}
}

// TestQueryAPIReadsAnyContentType sends a query as curl -d does.
func TestQueryAPIReadsAnyContentType(t *testing.T) {
	read := limitBody(route{group: groupAPI, access: accessViewer})(func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil || string(body) != `{"limit":1}` {
			t.Errorf("the handler reads %q, %v", body, err)
		}
		return nil
	})
	for _, kind := range []string{"", echo.MIMEApplicationForm, echo.MIMEApplicationJSON, "text/plain"} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader(`{"limit":1}`))
		r.Header.Set("Content-Type", kind)
		if err := read(echo.New().NewContext(r, httptest.NewRecorder())); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestColumnsAPI(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	var got, want any
	getJSON(t, srv, "/api/v1/columns?prefix=messaging.", http.StatusOK, &got)
	if err := json.Unmarshal([]byte(`{"columns":[
		{"name":"messaging.message_id","types":["string"],"rows":2,"distinct":1,"top":[{"value":"jid-1","rows":2}]},
		{"name":"messaging.system","types":["string"],"rows":2,"distinct":1,"top":[{"value":"sidekiq","rows":2}]}],"next":""}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns differ (-want +got):\n%s", diff)
	}
	var names []string
	for after, more := "", true; more; {
		var page struct {
			Columns []struct{ Name string }
			Next    string
		}
		getJSON(t, srv, "/api/v1/columns?environment=*&limit=5&after="+after, http.StatusOK, &page)
		for _, c := range page.Columns {
			names = append(names, c.Name)
		}
		after, more = page.Next, page.Next != ""
	}
	for _, name := range []string{"duration_ms", "service.name", "user.id", "bullmq.job.id", "trace.trace_id"} {
		if n := strings.Count(" "+strings.Join(names, " ")+" ", " "+name+" "); n != 1 {
			t.Errorf("%s is listed %d times in %v", name, n, names)
		}
	}
	getJSON(t, srv, "/api/v1/columns?environment=nowhere", http.StatusOK, &got)
	if diff := cmp.Diff(map[string]any{"columns": []any{}, "next": ""}, got); diff != "" {
		t.Errorf("columns of an environment without rows differ (-want +got):\n%s", diff)
	}
	getJSON(t, srv, "/api/v1/columns?limit=none", http.StatusBadRequest, &got)
}
