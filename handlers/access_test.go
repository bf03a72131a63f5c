package handlers

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab"
	"redthread/collab/live"
)

// hiddenRoutes are the routes that name an investigation, or what is in one, each
// with a request that does something there. A route that takes an investigation
// has to be written here.
func hiddenRoutes(h *hiddenBoard) map[string]string {
	form := func(v ...string) string {
		f := url.Values{}
		for i := 0; i+1 < len(v); i += 2 {
			f.Set(v[i], v[i+1])
		}
		return f.Encode()
	}
	return map[string]string{
		"GET /i/:id":                                                 "",
		"GET /i/:id?at=2":                                            "",
		"GET /i/:id?at=2026-11-22T14:03:00Z":                         "",
		"GET /i/:id?at=nonsense":                                     "",
		"GET /i/:id?view=lanes&since=1":                              "",
		"GET /i/:id/timeline?timeline=all&at=2":                      "",
		"GET /api/v1/investigations/:id?at=2":                        "",
		"GET /api/v1/investigations/:id/timeline?at=1":               "",
		"GET /api/v1/investigations/:id/changes?after=99":            "",
		"GET /live/investigations/:id?epoch=x&after=1":               "",
		"GET /api/v1/annotations?investigation_id=:id":               "",
		"GET /api/v1/annotations?investigation_id=:id&pin_id=:block": "",
		"POST /api/v1/annotations (on it)":                           `{"anchor":{"investigation_id":":id"},"text":"x"}`,
		"POST /api/v1/annotations (on a pin)":                        `{"anchor":{"pin_id":":block"},"text":"x"}`,
		"POST /api/v1/annotations (a reply)":                         `{"parent_id":":annotation","text":"x"}`,
		"POST /annotations (on it)":                                  "investigation_id=:id&text=x",
		"POST /annotations (on a pin)":                               "pin_id=:block&text=x",
		"POST /annotations (a reply)":                                "parent_id=:annotation&text=x&back=/",
		"POST /investigations/pin":                                   "investigation=:id&kind=trace&trace_id=" + boardTrace,
		"POST /inbox (mute)":                                         "mute=:id",
		"POST /inbox/rules (unmute)":                                 "unmute=:id",
		"POST /i/{other}/merge (into it)":                            "sure=1&into=:id",
		"POST /api/v1/investigations/{other}/merge (into it)":        `{"into":":id","sure":true}`,
		"POST /api/v1/investigations/{other}/blocks (cites)":         `{"kind":"hypothesis","title":"x","references":{":block":"for"}}`,
		"POST /api/v1/investigations/{other}/blocks (compares)":      `{"kind":"comparison","title":"x","sides":[{"pin_id":":block"},{"kind":"trace","trace_id":"` + boardTrace + `"}]}`,
		"GET /api/v1/investigations/{other}/blocks/:block":           "",
		"PATCH /api/v1/investigations/{other}/blocks/:block":         `{"seen":1,"title":"changed"}`,
		"DELETE /api/v1/investigations/{other}/blocks/:block":        "",
		"GET /i/{other}/blocks/:block/picture":                       "",
		"GET /i/{other}/offer?text=/i/:id":                           "",
		"GET /i/{other}/offer?text=:block":                           "",
		"GET /find?q=:id":                                            "",
		"GET /find?q=:annotation":                                    "",
		"GET /api/v1/find?q=:id":                                     "",
		"GET /api/v1/palette?q=:id":                                  "",
		"GET /api/v1/palette?i=:id":                                  "",
		"GET /api/v1/investigations?after=:id&limit=1":               "",
		"GET /investigations?q=:id&show=all":                         "",
		"GET /inbox?after=:id":                                       "",
		"POST /i/:id":                                                form("seen", "1", "title", "changed"),
		"POST /i/:id/delete":                                         form("sure", "1"),
		"POST /i/:id/mute":                                           "muted=true",
		"POST /i/:id/ask":                                            form("user_id", h.users[collab.RoleAdmin].ID),
		"POST /i/:id/merge":                                          form("sure", "1", "into", string(h.other)),
		"GET /i/:id/head":                                            "",
		"GET /i/:id/remarks":                                         "",
		"GET /i/:id/timeline":                                        "",
		"POST /i/:id/timeline":                                       form("text", "x"),
		"GET /i/:id/timeline/:entry":                                 "",
		"POST /i/:id/timeline/:entry":                                form("seen", "1", "pinned", "true"),
		"POST /i/:id/timeline/:entry/delete":                         "",
		"GET /api/v1/investigations/:id/timeline":                    "",
		"POST /api/v1/investigations/:id/timeline":                   `{"text":"x"}`,
		"PATCH /api/v1/investigations/:id/timeline/:entry":           `{"seen":1,"pinned":true}`,
		"DELETE /api/v1/investigations/:id/timeline/:entry":          "",
		"POST /annotations/:annotation/react":                        form("reaction", "agree"),
		"POST /annotations/:annotation/resolve":                      "",
		"GET /annotations/:annotation/history":                       "",
		"GET /api/v1/annotations/:annotation/history":                "",
		"PUT /api/v1/annotations/:annotation/reactions/:reaction":    "",
		"DELETE /api/v1/annotations/:annotation/reactions/:reaction": "",
		"POST /i/:id/blocks":                                         form("kind", "note", "text", "x"),
		"GET /i/:id/blocks":                                          "",
		"GET /i/:id/blocks/:block":                                   "",
		"GET /i/:id/blocks/:block/compare":                           "",
		"POST /i/:id/blocks/:block":                                  form("seen", "1", "title", "changed"),
		"POST /i/:id/blocks/:block/delete":                           "",
		"POST /i/:id/blocks/:block/cite":                             form("seen", "1", "hypothesis", string(h.pin), "side", "for"),
		"GET /i/:id/blocks/:block/picture":                           "",
		"GET /i/:id/offer":                                           "",
		"GET /live/investigations/:id":                               "",
		"GET /api/v1/investigations/:id":                             "",
		"PATCH /api/v1/investigations/:id":                           `{"seen":1,"title":"changed"}`,
		"DELETE /api/v1/investigations/:id":                          "",
		"GET /api/v1/investigations/:id/changes":                     "",
		"POST /api/v1/investigations/:id/ask":                        `{"user_id":"` + h.users[collab.RoleAdmin].ID + `"}`,
		"POST /api/v1/investigations/:id/merge":                      `{"into":"` + string(h.other) + `","sure":true}`,
		"POST /api/v1/investigations/:id/pins":                       `{"kind":"span","trace_id":"` + boardTrace + `","span_id":"0000000000000002"}`,
		"GET /api/v1/investigations/:id/pins/:block":                 "",
		"PATCH /api/v1/investigations/:id/pins/:block":               `{"seen":1,"title":"changed"}`,
		"DELETE /api/v1/investigations/:id/pins/:block":              "",
		"GET /api/v1/investigations/:id/pins/:block/compare":         "",
		"POST /api/v1/investigations/:id/blocks":                     `{"kind":"note","text":"x"}`,
		"GET /api/v1/investigations/:id/blocks/:block":               "",
		"PATCH /api/v1/investigations/:id/blocks/:block":             `{"seen":1,"title":"changed"}`,
		"DELETE /api/v1/investigations/:id/blocks/:block":            "",
		"POST /annotations/:annotation":                              form("text", "changed"),
		"POST /annotations/:annotation/delete":                       "",
		"GET /api/v1/annotations/:annotation":                        "",
		"PATCH /api/v1/annotations/:annotation":                      `{"seen":1,"text":"changed"}`,
		"DELETE /api/v1/annotations/:annotation":                     "",
	}
}

// hiddenBoard is a site with a private investigation of the member, who sees it,
// and a team that may come to see it.
type hiddenBoard struct {
	*site
	id, other    collab.InvestigationID
	pin, picture collab.BlockID
	remark       collab.AnnotationID
	team         collab.TeamID
	secrets      []string // what nobody else may read anywhere
	token        string   // of a member token
}

const hiddenWord = "Zwiebelkuchen"

func newHiddenBoard(t *testing.T) *hiddenBoard {
	t.Helper()
	s := newSite(t)
	s.addTrace()
	h := &hiddenBoard{site: s}
	for _, name := range []string{"teamed", "asked"} {
		u, err := s.Collab.CreateUser(t.Context(), collab.NewUser{Email: name + "@example.com", Name: "The " + name, Role: collab.RoleMember, PasswordHash: siteHash()})
		if err != nil {
			t.Fatal(err)
		}
		s.users[collab.Role(name)] = u
	}
	admin := collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: s.users[collab.RoleAdmin].ID, Name: "The admin", Role: collab.RoleAdmin})
	secret, _, err := s.Auth.CreateToken(admin, "bot", collab.RoleMember, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.token = secret
	team, err := s.Collab.CreateTeam(admin, collab.TeamNew{Name: "Quotes"})
	if err != nil {
		t.Fatal(err)
	}
	h.team = team.ID
	if _, err := s.Collab.UpdateTeam(admin, team.ID, collab.TeamUpdate{Members: map[string]bool{s.users["teamed"].ID: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collab.CreateTarget(admin, collab.TargetNew{Name: "all", URL: "https://hooks.example.com/x", Reasons: collab.Reasons}); err != nil {
		t.Fatal(err)
	}
	// A board that everybody sees shows the same trace.
	owner := s.as(collab.RoleMember)
	h.other = owner.openInvestigation("Open to all").ID
	owner.api("POST", "/api/v1/investigations/"+string(h.other)+"/pins", `{"kind":"trace","trace_id":"`+boardTrace+`"}`, 201, nil)
	var inv collab.Investigation
	owner.api("POST", "/api/v1/investigations", `{"title":"`+hiddenWord+` title","visibility":"private","pin":{"kind":"span","trace_id":"`+boardTrace+`","span_id":"0000000000000003","title":"`+hiddenWord+` pin"}}`, 201, &inv)
	h.id = inv.ID
	base := "/api/v1/investigations/" + string(h.id)
	var board struct{ Blocks []collab.Block }
	owner.api("GET", base, "", 200, &board)
	h.pin = board.Blocks[0].ID
	var b collab.Block
	owner.api("POST", base+"/blocks", `{"kind":"picture","title":"`+hiddenWord+` picture","picture":"`+base64.StdEncoding.EncodeToString(smallPNG(t))+`"}`, 201, &b)
	h.picture = b.ID
	owner.api("POST", base+"/blocks", `{"kind":"note","text":"`+hiddenWord+` note for @theviewer and @theadmin"}`, 201, nil)
	var a collab.Annotation
	owner.api("POST", "/api/v1/annotations", `{"anchor":{"pin_id":"`+string(h.pin)+`"},"text":"`+hiddenWord+` remark for @theviewer"}`, 201, &a)
	h.remark = a.ID
	owner.api("PATCH", base, fmt.Sprintf(`{"seen":%d,"status":"mitigated","next_update_unix_nano":"1900000000000000000"}`, 100), 400, nil)
	var now collab.Investigation
	owner.api("GET", base, "", 200, &now)
	owner.api("PATCH", base, fmt.Sprintf(`{"seen":%d,"status":"mitigated","next_update_unix_nano":"1900000000000000000"}`, now.Offset), 200, nil)
	h.secrets = []string{hiddenWord, string(h.id), string(h.pin), string(h.picture), string(h.remark)}
	return h
}

// swapped is an id that looks like another and names nothing.
func swapped(id string) string {
	last := "0"
	if strings.HasSuffix(id, last) {
		last = "1"
	}
	return id[:len(id)-1] + last
}

// fill puts the ids of the hidden investigation into a request, or ids of the same
// shape that name nothing. What stands in brackets behind an address tells requests
// to it apart.
func (h *hiddenBoard) fill(route, body string, hidden bool) (method, path, filled string) {
	method, path, _ = strings.Cut(route, " ")
	path, _, _ = strings.Cut(path, " (")
	block := h.pin
	if strings.HasSuffix(path, "/picture") {
		block = h.picture
	}
	params := []string{":id", string(h.id), ":block", string(block), ":annotation", string(h.remark)}
	if !hidden {
		for i := 1; i < len(params); i += 2 {
			params[i] = swapped(params[i])
		}
	}
	r := strings.NewReplacer(append(params, ":entry", "c_1", ":reaction", "agree", "{other}", string(h.other))...)
	return method, r.Replace(path), r.Replace(body)
}

func (h *hiddenBoard) try(b *browser, route, body string, hidden bool) reply {
	method, path, body := h.fill(route, body, hidden)
	header := []string{"Sec-Fetch-Site", "same-origin"}
	if strings.HasPrefix(path, "/api/") {
		header = append(header, "Content-Type", "application/json")
	} else {
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	if b.client.Jar == nil {
		header = append(header, "Authorization", "Bearer "+h.token)
	}
	return b.do(method, path, body, header...)
}

// varying is what differs between two answers to one request.
var varying = regexp.MustCompile(`Request [A-Za-z0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}[^"<]*|[0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// same is an answer without what varies, and without the ids that it was asked with.
func (h *hiddenBoard) same(a reply) string {
	for _, name := range []string{"Date", "X-Request-Id"} {
		a.header.Del(name)
	}
	text := fmt.Sprint(a.status, a.header, a.body)
	for _, id := range []string{string(h.id), string(h.pin), string(h.picture), string(h.remark)} {
		text = strings.ReplaceAll(strings.ReplaceAll(text, id, "ID"), swapped(id), "ID")
	}
	return varying.ReplaceAllString(text, "")
}

// TestHiddenRoutes tries every route that names an investigation as everybody:
// who may not see it gets the very answer that they get when there is none.
func TestHiddenRoutes(t *testing.T) {
	h := newHiddenBoard(t)
	routes := hiddenRoutes(h)
	for _, r := range h.routes() {
		if r.access == accessAdmin { // members are refused before anything is looked up
			continue
		}
		name := r.method + " " + r.path
		names := strings.Contains(r.path, "/i/:id") || strings.Contains(r.path, "investigations/:id") || strings.Contains(r.path, ":annotation")
		if _, known := routes[name]; names && !known {
			t.Errorf("%s names an investigation and is not tried here", name)
		}
	}
	token := h.browser()
	token.client.Jar = nil
	outsiders := map[string]*browser{"nobody": h.as(""), "viewer": h.as(collab.RoleViewer), "administrator": h.as(collab.RoleAdmin), "member of a team": h.as("teamed"), "member": h.as("asked"), "token": token}
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		_, path, body := h.fill(name, routes[name], true)
		for who, b := range outsiders {
			got, none := h.try(b, name, routes[name], true), h.try(b, name, routes[name], false)
			named := path != name[strings.Index(name, " ")+1:] && strings.Contains(path, string(h.id)) && !strings.Contains(path, "?")
			if named && got.status != http.StatusNotFound && who != "nobody" && (who != "viewer" || got.status != http.StatusForbidden) {
				t.Errorf("%s as %s: status %d, want 404", name, who, got.status)
			}
			if hidden, absent := h.same(got), h.same(none); hidden != absent {
				t.Errorf("%s as %s answers otherwise than if there is none:\n%.900s\n%.900s", name, who, hidden, absent)
			}
			for _, s := range h.secrets {
				if !strings.Contains(path, s) && !strings.Contains(body, s) && strings.Contains(got.body, s) {
					t.Errorf("%s as %s tells %q: %.400s", name, who, s, got.body)
				}
			}
		}
	}
	// Nothing was changed, and whose it is may do all of it. What deletes comes last.
	owner := h.as(collab.RoleMember)
	var inv collab.Investigation
	owner.api("GET", "/api/v1/investigations/"+string(h.id), "", 200, &inv)
	if inv.Title != hiddenWord+" title" || inv.Blocks != 3 {
		t.Fatalf("somebody changed it: %+v", inv)
	}
	order := slices.Sorted(maps.Keys(routes))
	slices.SortStableFunc(order, func(a, b string) int { return lastRoutes(a) - lastRoutes(b) })
	for _, name := range order {
		if lastRoutes(name) > 2 || strings.HasPrefix(name, "GET /live/") || strings.Contains(name, "{other}") {
			continue // of those that end it one is enough
		}
		if a := h.try(owner, name, routes[name], true); a.status == http.StatusNotFound || a.status == http.StatusForbidden || a.status >= 500 {
			t.Errorf("%s as its owner: status %d: %.300s", name, a.status, a.body)
		}
	}
}

// lastRoutes sorts what deletes behind what needs it.
func lastRoutes(name string) int {
	switch {
	case name == "DELETE /api/v1/investigations/:id":
		return 2
	case strings.HasSuffix(name, "/merge"), name == "POST /i/:id/delete":
		return 3
	case strings.HasSuffix(name, "/reactions/:reaction"):
		return 0
	case strings.HasPrefix(name, "DELETE /api/v1/annotations"):
		return 1
	case strings.HasPrefix(name, "DELETE"), strings.HasSuffix(name, "/delete"):
		return 3
	}
	return 0
}

// leakPages are the addresses that may tell of an investigation without naming it.
func leakPages(h *hiddenBoard) []string {
	span := "/t/" + boardTrace + "/0000000000000003"
	list := []string{"/", "/investigations", "/investigations?show=all", "/investigations?show=mine", "/investigations?show=team", "/investigations?show=all&q=" + hiddenWord,
		"/investigations/new", "/t/" + boardTrace, span, "/t/" + boardTrace + "/rows", "/thread/" + boardTrace, "/explore", "/explore?v=COUNT&tab=traces", "/inbox", "/inbox?show=all", "/find?q=" + hiddenWord,
		"/i/" + string(h.other), "/i/" + string(h.other) + "/head", "/i/" + string(h.other) + "/remarks", "/i/" + string(h.other) + "/timeline", "/i/" + string(h.other) + "/timeline?timeline=all", "/i/" + string(h.other) + "?at=2", "/api/v1/investigations/" + string(h.other) + "/timeline?timeline=all", "/i/" + string(h.other) + "/offer?text=" + boardTrace,
		"/settings/notifications", "/settings/audit", "/settings/teams", "/settings/people", "/settings/account", "/settings/storage", "/metrics",
		"/api/v1/investigations", "/api/v1/investigations?limit=200", "/api/v1/investigations?q=" + hiddenWord, "/api/v1/investigations?user=" + h.users[collab.RoleMember].ID,
		"/api/v1/investigations/" + string(h.other), "/api/v1/investigations/" + string(h.other) + "/changes", "/api/v1/annotations?trace_id=" + boardTrace,
		"/api/v1/annotations?trace_id=" + boardTrace + "&span_id=0000000000000003", "/api/v1/annotations?investigation_id=" + string(h.other),
		"/api/v1/inbox", "/api/v1/inbox?show=all", "/api/v1/inbox/count", "/api/v1/inbox/news?after=1", "/inbox?show=unread", "/inbox?show=done", "/inbox/rules", "/api/v1/palette", "/api/v1/palette?q=" + hiddenWord, "/api/v1/palette?i=" + string(h.id), "/api/v1/teams", "/api/v1/traces/" + boardTrace, "/api/v1/traces/" + boardTrace + "/thread", "/api/v1/find?q=" + boardTrace}
	for _, r := range h.routes() { // and every other page that needs no more than its address
		if r.method == http.MethodGet && !strings.ContainsAny(r.path, ":*") && r.group != groupLive && !slices.Contains(list, r.path) {
			list = append(list, r.path)
		}
	}
	return list
}

// wantNoLeak reads every page as somebody and looks for what is hidden.
func (h *hiddenBoard) wantNoLeak(t *testing.T, who string, b *browser) {
	t.Helper()
	for _, path := range leakPages(h) {
		header := []string{"Sec-Fetch-Site", "same-origin"}
		if b.client.Jar == nil {
			header = append(header, "Authorization", "Bearer "+h.token)
		}
		a := b.get(path, header...)
		if a.status >= 500 {
			t.Errorf("%s as %s: status %d", path, who, a.status)
		}
		body := strings.ReplaceAll(a.body, "q="+hiddenWord, "")
		for _, s := range h.secrets {
			if s == hiddenWord && strings.Contains(path, hiddenWord) {
				s = hiddenWord + " " // the box says what was looked for
			}
			if strings.Contains(body, s) || strings.Contains(fmt.Sprint(a.header), s) && !strings.Contains(path, s) {
				at := strings.Index(body, s)
				t.Errorf("%s as %s tells %q: …%.200s…", path, who, s, body[max(0, at-100):])
			}
		}
	}
}

// TestHiddenLeaksNowhere searches whole answers for what is hidden, while people
// come to see it and do not any more.
func TestHiddenLeaksNowhere(t *testing.T) {
	h := newHiddenBoard(t)
	if _, err := h.Collab.RemindDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := h.browser()
	token.client.Jar = nil
	outsiders := map[string]*browser{"viewer": h.as(collab.RoleViewer), "administrator": h.as(collab.RoleAdmin), "token": token, "member of the team": h.as("teamed"), "one to be asked in": h.as("asked")}
	for who, b := range outsiders {
		h.wantNoLeak(t, who, b)
	}
	// The owner finds it in all these places, so the search can find something.
	found := 0
	owner := h.as(collab.RoleMember)
	for _, path := range leakPages(h) {
		if strings.Contains(owner.get(path).body, string(h.id)) {
			found++
		}
	}
	if found < 8 {
		t.Errorf("its owner finds it on %d pages, want at least 8", found)
	}
	// Slack hears nothing.
	deliveries, err := h.Collab.FindDeliveries(t.Context(), 500)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if text := fmt.Sprint(d.Notice); strings.Contains(text, hiddenWord) || strings.Contains(text, string(h.id)) {
			t.Errorf("a target is told %s", text)
		}
	}
	change := func(body string) {
		t.Helper()
		var inv collab.Investigation
		owner.api("GET", "/api/v1/investigations/"+string(h.id), "", 200, &inv)
		owner.api("PATCH", "/api/v1/investigations/"+string(h.id), fmt.Sprintf(`{"seen":%d,%s}`, inv.Offset, body), 200, nil)
	}
	sees := func(who string, want int) {
		t.Helper()
		if a := h.try(outsiders[who], "GET /api/v1/investigations/:id", "", true); a.status != want {
			t.Errorf("%s: status %d, want %d", who, a.status, want)
		}
	}
	// Seen by its team, it is still hidden from the rest.
	change(`"visibility":"team","teams":{"` + string(h.team) + `":true}`)
	sees("member of the team", 200)
	for _, who := range []string{"viewer", "administrator", "token", "one to be asked in"} {
		sees(who, 404)
		h.wantNoLeak(t, who+", of what a team sees", outsiders[who])
	}
	// Asked in, and out again.
	change(`"visibility":"private","people":{"` + h.users["asked"].ID + `":"scribe"}`)
	sees("one to be asked in", 200)
	sees("member of the team", 404)
	if a := outsiders["one to be asked in"].get("/inbox"); !strings.Contains(a.body, hiddenWord+" title") {
		t.Error("who is asked in has nothing in the inbox")
	}
	change(`"people":{"` + h.users["asked"].ID + `":null}`)
	sees("one to be asked in", 404)
	for who, b := range outsiders {
		h.wantNoLeak(t, who+", in the end", b)
	}
	// Out of the team, out of what it sees.
	change(`"visibility":"team"`)
	sees("member of the team", 200)
	admin := collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: h.users[collab.RoleAdmin].ID, Role: collab.RoleAdmin})
	if _, err := h.Collab.UpdateTeam(admin, h.team, collab.TeamUpdate{Members: map[string]bool{h.users["teamed"].ID: false}}); err != nil {
		t.Fatal(err)
	}
	sees("member of the team", 404)
	h.wantNoLeak(t, "who left the team", outsiders["member of the team"])
	// Merged into what all may see, its old address leads on who could see it. To the
	// others it is as if it had never been.
	owner.api("POST", "/api/v1/investigations/"+string(h.id)+"/merge", `{"into":"`+string(h.other)+`","sure":true}`, 200, nil)
	for _, route := range []string{"GET /i/:id", "GET /i/:id/timeline", "POST /i/:id/merge", "GET /api/v1/investigations/:id", "GET /api/v1/investigations/:id/changes", "GET /live/investigations/:id", "PATCH /api/v1/investigations/:id"} {
		body := hiddenRoutes(h)[route]
		for who, b := range outsiders {
			if got, none := h.same(h.try(b, route, body, true)), h.same(h.try(b, route, body, false)); got != none {
				t.Errorf("merged, %s as %s answers otherwise than if there was none:\n%.600s\n%.600s", route, who, got, none)
			}
		}
	}
	if a := h.try(owner, "GET /i/:id", "", true); a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != "/i/"+string(h.other) {
		t.Errorf("merged, as its owner: %d to %q", a.status, a.header.Get("Location"))
	}
}

// TestSocketClosesWithAccess wants the socket of whoever may not see it any more
// closed within five seconds, with a code that says to stay away.
func TestSocketClosesWithAccess(t *testing.T) {
	h := newHiddenBoard(t)
	owner, asked := h.as(collab.RoleMember), h.as("asked")
	change := func(body string) {
		t.Helper()
		var inv collab.Investigation
		owner.api("GET", "/api/v1/investigations/"+string(h.id), "", 200, &inv)
		owner.api("PATCH", "/api/v1/investigations/"+string(h.id), fmt.Sprintf(`{"seen":%d,%s}`, inv.Offset, body), 200, nil)
	}
	dial := func(b *browser) *websocket.Conn {
		t.Helper()
		u, err := url.Parse(h.srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		d := websocket.Dialer{Jar: b.client.Jar, Subprotocols: []string{live.Subprotocol}}
		conn, _, err := d.DialContext(t.Context(), "ws://"+u.Host+"/live/investigations/"+string(h.id), http.Header{"Origin": {h.srv.URL}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for name, end := range map[string]string{
		"taken out":         `"people":{"` + h.users["asked"].ID + `":null}`,
		"closed to private": `"visibility":"private"`,
	} {
		change(`"visibility":"workspace"`)
		if name == "taken out" {
			change(`"visibility":"private","people":{"` + h.users["asked"].ID + `":""}`)
		}
		conn := dial(asked)
		change(end)
		if err := conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			_, _, err := conn.ReadMessage()
			if err == nil {
				continue
			}
			if !websocket.IsCloseError(err, live.CloseForbidden) {
				t.Errorf("%s: the socket ends with %v, want code %d", name, err, live.CloseForbidden)
			}
			break
		}
	}
}
