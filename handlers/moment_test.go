package handlers

import (
	"strings"
	"testing"
	"time"

	"redthread/collab"
)

// TestAnnotateAMoment writes about moments and stretches of time by the forms of a
// board and of a trace.
func TestAnnotateAMoment(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	b := s.as(collab.RoleMember)
	inv := b.openInvestigation("Slow quotes")
	id := string(inv.ID)
	at := time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)
	find := func(query, text string) collab.Anchor {
		t.Helper()
		var list annotationList
		b.api("GET", "/api/v1/annotations?"+query, "", 200, &list)
		for _, a := range list.Annotations {
			if a.Text == text {
				return a.Anchor
			}
		}
		t.Fatalf("%s: %q is not among %+v", query, text, list.Annotations)
		return collab.Anchor{}
	}
	b.post("/annotations", "investigation_id", id, "text", "the queue fills", "at", "2026-11-22T14:03:11", "until", "2026-11-22T14:05").wantRedirect(t, "a stretch of time", "/i/"+id+"#"+annotationNamed(b, id, "the queue fills"))
	if a := find("investigation_id="+id, "the queue fills"); a.AtUnixNano != at.UnixNano() || a.UntilUnixNano != at.Add(109*time.Second).UnixNano() {
		t.Errorf("the board's anchor: %+v", a)
	}
	b.get("/i/"+id).want(t, "the board", 200, "2026-11-22 14:03:11", "2026-11-22 14:05:00", "the queue fills")
	var tl collab.Timeline
	b.api("GET", "/api/v1/investigations/"+id+"/timeline", "", 200, &tl)
	found := false
	for _, e := range tl.Entries {
		found = found || e.Change != nil && e.Change.Type == collab.AnnotationAdded && e.HappenedUnixNano == at.UnixNano() && e.EndedUnixNano == at.Add(109*time.Second).UnixNano()
	}
	if !found {
		t.Errorf("the timeline does not tell it at its time: %+v", tl.Entries)
	}
	// On a trace the time counts from its begin, which the form names.
	page := b.get("/t/" + boardTrace)
	_, rest, ok := strings.Cut(page.body, `name="base" value="`)
	base, _, ok2 := strings.Cut(rest, `"`)
	if !ok || !ok2 {
		t.Fatalf("the trace's form names no begin:\n%.2000s", page.body)
	}
	b.post("/annotations", "trace_id", boardTrace, "text", "it waits here", "base", base, "at", "1.5", "until", "20", "back", "/t/"+boardTrace).wantRedirect(t, "on a trace", "/t/"+boardTrace)
	a := find("trace_id="+boardTrace, "it waits here")
	if a.UntilUnixNano-a.AtUnixNano != 18_500_000 {
		t.Errorf("the trace's anchor: %+v", a)
	}
	b.get("/t/"+boardTrace).want(t, "the trace", 200, "+1.5 ms to +20 ms")
	for _, bad := range [][]string{{"at", "yesterday"}, {"at", "-1", "base", base}, {"at", "NaN", "base", base}, {"at", "1", "base", "x"}, {"until", "2026-11-22T14:05"}, {"at", "2026-11-22T14:05", "until", "2026-11-22T14:03"}} {
		b.post("/annotations", append([]string{"trace_id", boardTrace, "text", "x"}, bad...)...).want(t, strings.Join(bad, " "), 422)
	}
	// Muting is a person's own.
	b.post("/i/"+id+"/mute", "muted", "true").wantRedirect(t, "mute", "/i/"+id)
	b.get("/i/"+id).want(t, "muted", 200, "Hear of it again")
	s.as(collab.RoleAdmin).get("/i/"+id).want(t, "of somebody else", 200, "!Hear of it again")
	b.get("/inbox/rules").want(t, "the rules", 200, "Slow quotes")
	b.post("/i/"+id+"/mute", "muted", "false").wantRedirect(t, "hear again", "/i/"+id)
	b.get("/i/"+id).want(t, "no longer muted", 200, "!Hear of it again")
}

// annotationNamed is the id of the remark on a board that has a text.
func annotationNamed(b *browser, id, text string) string {
	b.t.Helper()
	var list annotationList
	b.api("GET", "/api/v1/annotations?investigation_id="+id, "", 200, &list)
	for _, a := range list.Annotations {
		if a.Text == text {
			return string(a.ID)
		}
	}
	return ""
}
