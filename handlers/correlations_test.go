package handlers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// outbox is a request that writes to an outbox, and the handling of what was
// written, which knows only the id of the outbox's row.
func outbox(n byte) (send, handle trace.Span) {
	now := time.Now().UnixNano()
	send, handle = testSpan(1, 0, "web", 0, 20), testSpan(2, 0, "relay", 0, 10)
	send.TraceID, send.Kind, send.Name, send.StartUnixNano = trace.ID{0xa0, n}, trace.KindServer, "POST /orders", now
	handle.TraceID, handle.Kind, handle.Name, handle.StartUnixNano = trace.ID{0xa1, n}, trace.KindConsumer, "relay orders", now+50e6
	send.Attributes = []trace.Attribute{{Key: "app.outbox_id", Value: trace.Int(1000 + int64(n))}}
	handle.Attributes = []trace.Attribute{{Key: "app.event_id", Value: trace.String("100" + string('0'+n))}, {Key: "messaging.system", Value: trace.String("outbox")}}
	return send, handle
}

// TestCorrelations: what the settings say joins rows that arrive afterwards, and
// is remembered.
func TestCorrelations(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	send, handle := outbox(1)
	s.send([]trace.Span{send, handle})
	page := "/settings/correlations"
	admin.get(page).want(t, "empty", 200, "Two attributes mean the same", "check --rebuild-edges", "http.request.header.x-request-id", `<option value="app.outbox_id">`, "!Remove")
	admin.get("/t/"+handle.TraceID.String()).want(t, "before", 200, "its sender left nothing that says for certain what caused it", "!POST /orders")
	admin.get(page+"?preview=1&name=outbox&means=message&cause=app.outbox_id&effect=app.event_id,+app.never").want(t, "preview", 200,
		"In the last hour", "1 span<", "no span", "Nothing is saved yet", `value="app.outbox_id"`)

	for field, form := range map[string][]string{
		"Give the correlation a name":       {"name", " ", "means", "message", "cause", "a", "effect", "b"},
		"Choose what the value names":       {"name", "x", "means", "colour", "cause", "a", "effect", "b"},
		"that the sending side records":     {"name", "x", "means", "job", "cause", " , ", "effect", "b"},
		"that the receiving side records":   {"name", "x", "means", "job", "cause", "a", "effect", ""},
		"leave the sending side empty":      {"name", "x", "means", "trace", "cause", "a", "effect", "b"},
		"name of an attribute may have 200": {"name", "x", "means", "job", "cause", strings.Repeat("a", 201), "effect", "b"},
	} {
		admin.post(page, form...).want(t, "refused", http.StatusUnprocessableEntity, field)
	}
	admin.post(page, "name", "outbox", "means", "message", "cause", "app.outbox_id", "effect", "app.event_id").wantRedirect(t, "add", page+"?done=added")
	admin.post(page, "name", "outbox", "means", "message", "cause", "a", "effect", "b").want(t, "twice", http.StatusUnprocessableEntity, "There is a correlation", "outbox")
	admin.get(page+"?done=added").want(t, "added", 200, "Added.", `aria-label="Remove outbox"`, "app.event_id")

	send, handle = outbox(2)
	s.send([]trace.Span{send, handle})
	admin.get("/t/"+handle.TraceID.String()).want(t, "after", 200, "POST /orders", "inferred: same id", "waited 30 ms", "◁ POST /orders", "rule attribute")
	admin.get("/t/"+send.TraceID.String()).want(t, "effect", 200, "relay orders", "▶ 1 consumer")

	admin.post(page+"/kept", "kept", "user.id\nuser.id app.tenant").wantRedirect(t, "keep", page+"?done=kept")
	var got Correlations
	a := admin.get("/api/v1/correlations")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Correlations) != 1 || strings.Join(got.Kept, " ") != "user.id app.tenant" {
		t.Errorf("settings: %s, %v", a.body, err)
	}
	again, err := LoadCorrelations(t.Context(), s.Collab)
	if err != nil || len(again.Correlations) != 1 || again.Correlations[0].Effect[0] != "app.event_id" {
		t.Errorf("stored: %+v, %v", again, err)
	}
	admin.post(page+"/kept", "kept", strings.Repeat("a", 201)).want(t, "long", http.StatusUnprocessableEntity, "may have 200 bytes")
	admin.post(page+"/kept", "default", "1").wantRedirect(t, "back", page+"?done=kept")
	admin.post(page+"/delete", "name", "outbox").wantRedirect(t, "remove", page+"?done=removed")
	admin.post(page+"/delete", "name", "outbox").want(t, "gone", http.StatusNotFound)
	admin.get("/settings/audit").want(t, "audit log", 200, "correlation.added", "correlation.removed", "kept_attributes.changed", "outbox")

	if again, err = LoadCorrelations(t.Context(), s.Collab); err != nil || len(again.Correlations) != 0 || len(again.Kept) != len(graph.DefaultKept()) {
		t.Errorf("after all: %+v, %v", again, err)
	}
}

func TestCorrelationsAPI(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	put := func(body string) reply {
		return admin.do(http.MethodPut, "/api/v1/correlations", body, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin")
	}
	put(`{"correlations":[{"name":"trace","means":"trace","effect":["app.cause"]},{"name":"order","means":"job","cause":["app.order"],"effect":["app.order"],"scope":["queue"]}]}`).
		want(t, "put", 200, `"name":"order"`, `"kept":["user.id"`, `"scope":["queue"]`)
	admin.get("/api/v1/correlations").want(t, "get", 200, `"means":"trace"`)
	put(`{"correlations":[{"name":"a","means":"job"}]}`).want(t, "no cause", 400, `"field":"cause"`)
	put(`{"correlations":[`+strings.TrimSuffix(strings.Repeat(`{"name":"a","means":"trace","effect":["b"]},`, 51), ",")+`]}`).want(t, "too many", 400, "50 correlations")
	put(`{"correlations":[{"name":"a","means":"job","cause":["b"],"effect":["c"]},{"name":"d","means":"job","cause":["b"],"effect":["c"]}]}`).want(t, "the same twice", 400, `"field":"effect"`, "joins these attributes already")
	put(`{"correlations":[{"name":"a","means":"job","cause":["b\u0000"],"effect":["c"]}]}`).want(t, "a sign that cannot be shown", 400, `"field":"cause"`, "type it anew")
	put(`{"correlations":[],"colour":1}`).want(t, "unknown field", 400, "colour")
	put(`[]`).want(t, "no object", 400, "has to be a JSON object")
	put(`{"correlations":["order"]}`).want(t, "no objects", 400, `"field":"correlations"`, "Expected an object, got string.", "!graph.", "!handlers.", "!Go ")
	put(`{"correlations":[{"name":"a","cause":"b"}]}`).want(t, "no list", 400, `"field":"correlations.cause"`, "Expected a list, got string.", "!Go ")
	admin.get("/api/v1/correlations").want(t, "nothing half done", 200, `"name":"order"`)
	put(`{"correlations":[],"kept":[]}`).want(t, "nothing", 200, `"correlations":[],"kept":[]`)
	s.as(collab.RoleMember).get("/api/v1/correlations").want(t, "member", http.StatusForbidden)
}
