package handlers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"bytes"
	"io"

	"github.com/gorilla/websocket"

	"redthread/collab"
	"redthread/collab/live"
)

// fuzzEdit is one change that a client asks for: over its socket, or, if it names a
// request, over the API.
type fuzzEdit struct {
	typ  string
	data map[string]any
	api  *fuzzRequest
}

type fuzzRequest struct {
	method, path string
	body         map[string]any // nil: none
}

// edit makes one random change and tries again with the same ref until it knows
// what became of it.
func (c *fuzzClient) edit() {
	e := c.invent()
	c.refs++
	ref := fmt.Sprintf("%s-%d", c.name, c.refs)
	if e.api != nil && e.api.body != nil {
		e.api.body["ref"] = ref
	}
	for range 200 {
		var answer string
		if e.api != nil {
			answer = c.send(*e.api)
		} else {
			answer = c.ask(e.typ, ref, e.data)
		}
		if strings.HasPrefix(answer, live.TypeAck) && strings.HasSuffix(e.typ, ".add") {
			c.made[ref] = true
		}
		if answer != "" {
			return
		}
	}
	c.w.t.Errorf("%s: no answer to %s %s", c.name, e.typ, ref)
}

// ask sends a request over the socket; "" if it was cut before the answer.
func (c *fuzzClient) ask(typ, ref string, data map[string]any) string {
	conn := c.connect()
	if conn == nil {
		return "error no connection"
	}
	raw, err := json.Marshal(map[string]any{"type": typ, "ref": ref, "data": data})
	if err != nil {
		return "error " + err.Error()
	}
	answer := make(chan string, 1)
	c.mu.Lock()
	if c.conn != conn {
		c.mu.Unlock()
		return ""
	}
	c.answers[ref] = answer
	stalled := c.gate != nil
	c.mu.Unlock()
	if conn.WriteMessage(websocket.TextMessage, raw) != nil {
		c.cut()
	}
	if stalled { // it does not read: it will not see the answer for a while
		select {
		case a := <-answer:
			return a
		case <-time.After(time.Duration(c.r.IntN(200)) * time.Millisecond):
			c.open()
		}
	}
	select {
	case a := <-answer:
		return a
	case <-time.After(10 * time.Second):
		c.cut()
		return ""
	}
}

// send sends a request to the API; "" if nobody knows whether it was done.
func (c *fuzzClient) send(r fuzzRequest) string {
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return "error " + err.Error()
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(r.method, c.w.node(c.r).http.URL+r.path, body)
	if err != nil {
		return "error " + err.Error()
	}
	req.Header.Set("Cookie", sessionCookie+"="+c.secret)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		time.Sleep(5 * time.Millisecond) // the next server is on its way
		return ""
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil || res.StatusCode >= 500:
		return ""
	case res.StatusCode/100 == 2:
		return live.TypeAck
	}
	return fmt.Sprintf("error %d %s", res.StatusCode, answer)
}

// fuzzBoard is what a client knows, sorted so that the seed decides.
type fuzzBoard struct {
	byNoun map[string][]string // ids
	blocks []string
	mine   []string // annotations
}

func (c *fuzzClient) knows() fuzzBoard {
	b := fuzzBoard{byNoun: map[string][]string{}}
	for id, o := range c.state.objects {
		var kind, by string
		switch {
		case strings.HasPrefix(id, "i_") || strings.HasPrefix(id, "c_"):
			continue
		case strings.HasPrefix(id, "a_"):
			kind = "annotation"
			if json.Unmarshal(o["created_by"], &by) == nil && by == c.id {
				b.mine = append(b.mine, id)
			}
		case strings.HasPrefix(id, "e_"):
			kind = "entry"
		case json.Unmarshal(o["kind"], &kind) != nil: // erased
			continue
		case kind == "trace" || kind == "query":
			kind = "pin"
		}
		b.byNoun[kind] = append(b.byNoun[kind], id)
	}
	for _, list := range b.byNoun {
		slices.Sort(list)
	}
	slices.Sort(b.mine)
	for _, noun := range []string{"note", "link", "task", "hypothesis", "pin"} {
		b.blocks = append(b.blocks, b.byNoun[noun]...)
	}
	return b
}

func (c *fuzzClient) pick(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[c.r.IntN(len(list))]
}

func (c *fuzzClient) text() string {
	s := fmt.Sprintf("%s says %d.", c.name, c.r.IntN(1000))
	if c.r.IntN(6) == 0 {
		s += strings.Repeat("\n\nA longer line of a long note.", 200)
	}
	return s
}

// edited is a known text with one line of it changed, so that edits of others
// merge with it.
func (c *fuzzClient) edited(id string) string {
	var text string
	if json.Unmarshal(c.state.objects[id]["text"], &text) != nil || text == "" || c.r.IntN(3) == 0 {
		return c.text()
	}
	lines := strings.Split(text, "\n")
	lines[c.r.IntN(len(lines))] = fmt.Sprintf("%s puts %d here.", c.name, c.r.IntN(1000))
	return strings.Join(lines, "\n")
}

// invent makes up a request about what the client knows of the board.
func (c *fuzzClient) invent() fuzzEdit {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	b := c.knows()
	noun := c.pick([]string{"note", "note", "link", "task", "hypothesis", "pin", "annotation", "annotation", "annotation", "entry", "entry", "investigation"})
	switch noun {
	case "investigation":
		return c.inventLife()
	case "annotation":
		return c.inventRemark(b)
	case "entry":
		return c.inventEntry(b)
	}
	target := c.pick(b.byNoun[noun])
	switch n := r.IntN(100); {
	case n < 10 && target != "":
		return fuzzEdit{typ: noun + ".delete", data: map[string]any{"id": target}}
	case n < 50 && target != "":
		return fuzzEdit{typ: noun + ".update", data: c.inventUpdate(b, noun, target)}
	}
	data := map[string]any{"text": c.text()}
	switch noun {
	case "link":
		data = map[string]any{"url": fmt.Sprintf("https://example.com/%d", r.IntN(100)), "title": "A page"}
	case "task", "hypothesis":
		data = map[string]any{"title": c.text()[:12], "text": ""}
	case "pin":
		data = map[string]any{"kind": "trace", "trace_id": c.w.trace, "title": "The trace"}
	}
	e := fuzzEdit{typ: noun + ".add", data: data}
	if r.IntN(5) == 0 && (noun == "note" || noun == "task") {
		body := maps.Clone(data)
		body["kind"] = noun
		e.api = &fuzzRequest{http.MethodPost, c.path("/blocks"), body}
	}
	return e
}

func (c *fuzzClient) path(rest string) string {
	return "/api/v1/investigations/" + string(c.w.inv) + rest
}

// saw is the offset that a page gives with an edit: mostly that of now.
func (c *fuzzClient) saw() int64 {
	if c.last > 5 && c.r.IntN(3) == 0 {
		return c.last - int64(c.r.IntN(5)) // an old page
	}
	return c.last
}

func (c *fuzzClient) inventUpdate(b fuzzBoard, noun, target string) map[string]any {
	r := c.r
	u := map[string]any{"id": target, "seen": c.saw()}
	switch {
	case noun == "note" && r.IntN(2) == 0:
		u["text"] = c.edited(target)
	case r.IntN(3) == 0:
		u["after"] = c.pick(b.blocks)
		if u["after"] == target {
			u["after"] = ""
		}
	case noun == "task":
		switch r.IntN(3) {
		case 0:
			u["done"] = r.IntN(2) == 0
		case 1:
			u["assignee"] = c.pick([]string{"", c.id})
		case 2:
			u["due_unix_nano"] = fmt.Sprint(r.IntN(3) * 1e9)
		}
	case noun == "hypothesis":
		if cited := c.pick(slices.Concat(b.byNoun["note"], b.byNoun["pin"], b.byNoun["link"])); cited != "" && r.IntN(2) == 0 {
			u["references"] = map[string]string{cited: c.pick([]string{"for", "against", ""})} // it moves between the lanes
		} else {
			u["state"] = c.pick([]string{"open", "supported", "refuted", "confirmed"})
		}
	default:
		u["title"] = fmt.Sprintf("Title %d", r.IntN(100))
	}
	return u
}

// inventLife changes what stands above the board, but not who may see it.
func (c *fuzzClient) inventLife() fuzzEdit {
	values := map[string][]any{
		"title": {"One", "Two", "Three"}, "status": {"open", "mitigated", "resolved"}, "severity": {"sev1", "sev2", "unknown"}, "kind": {"real", "drill"},
		"lead":                  {"", c.w.clients[1].id, c.w.clients[2].id}, // never the guest, who would keep access
		"next_update_unix_nano": {"0", "1000", "2000"}, "impact_start_unix_nano": {"0", "1000", "2000"},
		"services": {map[string]any{"dealer": true}, map[string]any{"dealer": nil}, map[string]any{"quotes": true}, map[string]any{"quotes": false}},
	}
	field := c.pick(slices.Sorted(maps.Keys(values)))
	return fuzzEdit{typ: live.TypeInvestigationUpdate, data: map[string]any{field: values[field][c.r.IntN(len(values[field]))], "seen": c.saw()}}
}

// inventRemark writes, edits, answers, marks, resolves, reopens or deletes an
// annotation.
func (c *fuzzClient) inventRemark(b fuzzBoard) fuzzEdit {
	target, mine := c.pick(b.byNoun["annotation"]), c.pick(b.mine)
	switch n := c.r.IntN(100); {
	case n < 8 && mine != "":
		return fuzzEdit{typ: live.TypeAnnotationDelete, data: map[string]any{"id": mine}}
	case n < 28 && mine != "":
		return fuzzEdit{typ: live.TypeAnnotationUpdate, data: map[string]any{"id": mine, "text": c.edited(mine), "seen": c.saw()}}
	case n < 35 && target != "": // of somebody else: administrators may
		return fuzzEdit{typ: live.TypeAnnotationUpdate, data: map[string]any{"id": target, "text": c.edited(target), "seen": c.saw()}}
	case n < 50 && target != "":
		return fuzzEdit{typ: live.TypeAnnotationUpdate, data: map[string]any{"id": target, "resolved": c.r.IntN(2) == 0}}
	case n < 65 && target != "":
		return fuzzEdit{typ: "annotation.react", api: &fuzzRequest{method: c.pick([]string{http.MethodPut, http.MethodPut, http.MethodDelete}),
			path: "/api/v1/annotations/" + target + "/reactions/" + string(collab.AnnotationReactions[c.r.IntN(len(collab.AnnotationReactions))])}}
	case n < 80 && target != "":
		return fuzzEdit{typ: live.TypeAnnotationAdd, data: map[string]any{"parent_id": target, "text": c.text()}}
	}
	data := map[string]any{"text": c.text()}
	if block := c.pick(b.blocks); block != "" && c.r.IntN(2) == 0 {
		data["anchor"] = map[string]any{"pin_id": block}
	}
	return fuzzEdit{typ: live.TypeAnnotationAdd, data: data}
}

// inventEntry writes into the timeline, or edits, pins, hides or deletes what stands
// there.
func (c *fuzzClient) inventEntry(b fuzzBoard) fuzzEdit {
	target := c.pick(b.byNoun["entry"])
	if c.last > 0 && c.r.IntN(3) == 0 {
		target = fmt.Sprint("c_", 1+c.r.IntN(int(c.last))) // another change
	}
	switch n := c.r.IntN(100); {
	case n < 15 && target != "":
		return fuzzEdit{typ: "entry.delete", api: &fuzzRequest{method: http.MethodDelete, path: c.path("/timeline/" + target)}}
	case n < 55 && target != "":
		u := map[string]any{"seen": c.saw()}
		switch c.r.IntN(3) {
		case 0:
			u["text"] = c.text()
		case 1:
			u["pinned"] = c.r.IntN(2) == 0
		case 2:
			u["hidden"] = c.r.IntN(2) == 0
		}
		return fuzzEdit{typ: "entry.update", api: &fuzzRequest{http.MethodPatch, c.path("/timeline/" + target), u}}
	}
	return fuzzEdit{typ: "entry.add", api: &fuzzRequest{http.MethodPost, c.path("/timeline"),
		map[string]any{"text": fmt.Sprintf("%s saw %d", c.name, c.r.IntN(1000)), "happened_unix_nano": fmt.Sprint(1 + c.r.IntN(1000))}}}
}
