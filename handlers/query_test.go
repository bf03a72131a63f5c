package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
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
	for _, tt := range []struct{ prefix, want string }{
		{"origin.messaging.", "origin.messaging."}, {"none.name", "none.name"}, {"ripple.j", "ripple.jobs"}, {"parent.", "parent."},
	} {
		var page struct {
			Columns []struct{ Name string }
		}
		getJSON(t, srv, "/api/v1/columns?prefix="+tt.prefix, http.StatusOK, &page)
		if len(page.Columns) == 0 || !strings.HasPrefix(page.Columns[0].Name, tt.want) {
			t.Errorf("columns with the prefix %s are %v, want those that begin with %s", tt.prefix, page.Columns, tt.want)
		}
	}
	getJSON(t, srv, "/api/v1/columns?limit=none", http.StatusBadRequest, &got)
}

// TestQueryStream: a query asked for line by line tells how far it is while it
// runs, and then its result or its error.
func TestQueryStream(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	post := func(body string) (int, string, string) {
		req, err := http.NewRequest(http.MethodPost, srv.URL+"/api/v1/query", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/x-ndjson, application/json")
		req.Header.Set("Content-Type", "application/json")
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Content-Type"), string(text)
	}
	status, kind, text := post(`{` + queryWindow() + `}`)
	if status != http.StatusOK || kind != "application/x-ndjson" || !strings.HasPrefix(text, `{"result":{"results":[{"data":{"COUNT":`) || strings.Count(text, "\n") != 1 {
		t.Errorf("a fast query: %d %s %q, want one line with its result", status, kind, text)
	}
	if status, kind, text := post(`{"breakdowns":[""]}`); status != http.StatusBadRequest || !strings.HasPrefix(kind, "application/json") || !strings.Contains(text, `"field":"breakdowns[0]"`) {
		t.Errorf("a query at fault: %d %s %q, want 400 and the field", status, kind, text)
	}
	if status, _, text := post(`{`); status != http.StatusBadRequest {
		t.Errorf("no JSON: %d %q, want 400", status, text)
	}

	for name, c := range map[string]struct {
		res  *query.Result
		err  error
		want string
	}{
		"result": {&query.Result{}, nil, `{"result":{"results":null,"other":null,"total":null,"warnings":null,"stats":{"rows_scanned":0,"rows_matched":0,"segments":0,"elapsed_nano":"0","sampled":false}}}` + "\n"},
		"busy":   {nil, &query.BusyError{Message: "Wait.", RetryAfter: time.Second}, `{"error":{"code":"busy","message":"Wait."}}` + "\n"},
	} {
		e := echo.New()
		rec := httptest.NewRecorder()
		ctx := e.NewContext(httptest.NewRequest(http.MethodPost, "/", nil), rec)
		tick, told := make(chan time.Time), make(chan struct{})
		go func() {
			tick <- time.Time{}
			tick <- time.Time{}
			close(told)
		}()
		err := streamQuery(ctx, tick, func(*query.Progress) (*query.Result, error) {
			<-told
			return c.res, c.err
		})
		want := strings.Repeat(`{"progress":{"rows_scanned":0,"rows_total":0}}`+"\n", 2) + c.want
		if got := rec.Body.String(); got != want || !errors.Is(err, c.err) {
			t.Errorf("%s: lines\n%s, error %v; want\n%s", name, got, err, want)
		}
	}
}
