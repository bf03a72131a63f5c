package main

import (
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// page reads a page of the server as an administrator.
func (p *process) page(path string) string {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.admin())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		p.t.Fatalf("%s: %s %v", path, res.Status, err)
	}
	return string(b)
}

// cards are what a board shows of its pins, without what differs at each look.
func cards(page string) []string {
	list := regexp.MustCompile(`(?s)<div class="Block-body">.*?</article>`).FindAllString(page, -1)
	for i := range list {
		list[i] = regexp.MustCompile(`name="ref" value="[^"]+"`).ReplaceAllString(list[i], "")
	}
	return list
}

// TestEvidenceSurvives pins, lets retention remove the spans, and looks at the
// board: it shows what it did and says that the live data is gone. Then somebody
// alters a copy in the database: the check names it.
func TestEvidenceSurvives(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	body, sent := batchOf(rand.New(rand.NewPCG(9, 9)), 3)
	if !post(p.otlpHTTP+"/v1/traces", body) {
		t.Fatal("a batch was refused")
	}
	id := sent[0].id
	eventually(t, patience, "the trace", func() error {
		if got := p.spanCount(id); got != sent[0].spans {
			return fmt.Errorf("%d spans, want %d", got, sent[0].spans)
		}
		return nil
	})
	var tr struct {
		Spans []struct {
			SpanID string `json:"span_id"`
		}
	}
	p.api(http.MethodGet, "/api/v1/traces/"+id.String(), nil, &tr)
	var inv struct{ ID string }
	if status := p.api(http.MethodPost, "/api/v1/investigations", map[string]string{"ref": "a", "title": "Slow quotes"}, &inv); status != 201 {
		t.Fatalf("make an investigation: %d", status)
	}
	pins := "/api/v1/investigations/" + inv.ID + "/pins"
	var ids []string
	for i, what := range []map[string]any{
		{"kind": "span", "trace_id": id.String(), "span_id": tr.Spans[0].SpanID}, {"kind": "trace", "trace_id": id.String()}, {"kind": "thread", "trace_id": id.String()},
		{"kind": "query", "query": map[string]any{"breakdowns": []string{"request.id"}, "calculations": []any{map[string]any{"op": "COUNT"}}}},
	} {
		what["ref"] = fmt.Sprint("pin ", i)
		var made struct{ ID string }
		if status := p.api(http.MethodPost, pins, what, &made); status != 201 {
			t.Fatalf("pin a %s: %d", what["kind"], status)
		}
		ids = append(ids, made.ID)
	}
	before := cards(p.page("/i/" + inv.ID))
	p.stop() // everything is in a segment

	p = start(t, dir, "--span-retention", "1ms", "--edge-retention", "1ms")
	eventually(t, patience, "retention", func() error {
		if got := p.spanCount(id); got != 0 {
			return fmt.Errorf("%d spans are left", got)
		}
		return nil
	})
	for _, pin := range ids {
		eventually(t, patience, "pin "+pin+" is gone", func() error { // edges go after spans
			var now struct{ State string }
			if status := p.api(http.MethodGet, pins+"/"+pin+"/compare", nil, &now); status != 200 || now.State != "gone" {
				return fmt.Errorf("it is %q (%d)", now.State, status)
			}
			return nil
		})
		if page := p.page("/i/" + inv.ID + "/blocks/" + pin + "/compare"); !strings.Contains(page, "It is gone") {
			t.Errorf("the page that compares pin %s does not say that it is gone", pin)
		}
	}
	page := p.page("/i/" + inv.ID)
	if diff := cmp.Diff(before, cards(page)); len(before) != len(ids) || diff != "" {
		t.Errorf("%d pins are drawn otherwise (-before +after):\n%s", len(before), diff)
	}
	if got := strings.Count(page, "now: gone"); got != len(ids) || !strings.Contains(page, id.String()) {
		t.Errorf("the board says gone of %d pins, want %d", got, len(ids))
	}
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir) // the server checks itself
	p.stop()
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)

	db, err := sql.Open("sqlite3", "file:"+databasePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var was string
	if err := db.QueryRow(`SELECT body FROM evidence WHERE block_id = ?`, ids[0]).Scan(&was); err != nil {
		t.Fatal(err)
	}
	alter := func(body string) {
		t.Helper()
		if _, err := db.Exec(`UPDATE evidence SET body = ? WHERE block_id = ?`, []byte(body), ids[0]); err != nil {
			t.Fatal(err)
		}
	}
	alter(strings.Replace(was, "crash-test", "crash-fest", 1))
	wantSay(t, 1, []string{"fault: ", "frozen copy of pin " + ids[0], "investigation " + inv.ID, "is not what it was"}, "check", "--data", dir)
	alter(was)
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
	if _, err := db.Exec(`DELETE FROM evidence WHERE block_id = ?`, ids[1]); err != nil {
		t.Fatal(err)
	}
	wantSay(t, 1, []string{"frozen copy of pin " + ids[1], "investigation " + inv.ID, "missing"}, "check", "--data", dir)
}
