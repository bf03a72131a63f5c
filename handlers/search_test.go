package handlers

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSearchAPI(t *testing.T) {
	spans, _, _ := jobSpans()
	srv := traceServer(t, spans)
	search := func(body string) (int, map[string]any) {
		t.Helper()
		res, err := srv.Client().Post(srv.URL+"/api/v1/search", "application/json", strings.NewReader(body))
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
	status, got := search(`{"filters":[{"column":"bullmq.job.id","op":"=","value":7}],"columns":["bullmq.job.id","nothing"],` + queryWindow() + `}`)
	rows, _ := got["rows"].([]any)
	if status != http.StatusOK || len(rows) != 1 {
		t.Fatalf("status %d, %v; want one row", status, got)
	}
	row := rows[0].(map[string]any)
	job := spans[0]
	for _, s := range spans {
		if v, ok := s.Attribute("bullmq.job.id"); ok && v.Text() == "7" {
			job = s
		}
	}
	want := map[string]any{"trace_id": job.TraceID.String(), "span_id": job.SpanID.String(), "service": job.Service, "name": job.Name,
		"kind": job.Kind.String(), "error": job.Error, "attributes": map[string]any{"bullmq.job.id": 7.0}}
	for name, v := range want {
		if diff := cmp.Diff(v, row[name]); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, diff)
		}
	}
	if _, ok := row["start_unix_nano"].(string); !ok {
		t.Errorf("start_unix_nano is %v, want a decimal string", row["start_unix_nano"])
	}
	if w, _ := got["warnings"].([]any); len(w) != 1 {
		t.Errorf("warnings %v, want one about the column nothing", got["warnings"])
	}

	_, got = search(`{"any_time":true,"filters":[{"column":"is_root","op":"=","value":true},{"column":"origin.trace.trace_id","op":"=","value":"` + spans[0].TraceID.String() + `"}]}`)
	if rows, _ := got["rows"].([]any); len(rows) != 2 { // the request and its job
		t.Errorf("the traces of a thread by its origin: %v, want 2 rows", got)
	}

	_, first := search(`{"limit":1,` + queryWindow() + `}`)
	next, _ := first["next"].(string)
	if next == "" {
		t.Fatalf("the first page of three names no next: %v", first)
	}
	seen := len(first["rows"].([]any))
	for next != "" {
		_, page := search(`{"limit":1,"after":"` + next + `",` + queryWindow() + `}`)
		seen += len(page["rows"].([]any))
		next, _ = page["next"].(string)
	}
	if seen != len(spans) {
		t.Errorf("pages of one show %d rows, want %d", seen, len(spans))
	}

	for body, field := range map[string]string{
		`{"limit":-1}`: "limit", `{"order":"best"}`: "order", `{"filter":[]}`: "filter", `[]`: "",
	} {
		status, got := search(body)
		e, _ := got["error"].(map[string]any)
		if f, _ := e["field"].(string); status != http.StatusBadRequest || f != field {
			t.Errorf("%s: status %d, %v; want 400 naming %q", body, status, got, field)
		}
	}
}
