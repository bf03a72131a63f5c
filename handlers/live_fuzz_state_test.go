package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"redthread/collab"
)

// board is the state of the database, in the words of [fuzzState.plain].
func (w *fuzzWorld) board(ctx context.Context) map[string]map[string]string {
	b, err := w.own.Board(ctx, w.inv)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.plainBoard(ctx, b)
}

// plainBoard puts a board and the timeline of now in the words of
// [fuzzState.plain].
func (w *fuzzWorld) plainBoard(ctx context.Context, b *collab.Board) map[string]map[string]string {
	s := newFuzzState()
	add := func(id string, v any) map[string]json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		s.put(w.t, id, raw)
		return s.objects[id]
	}
	i := b.Investigation
	of := add(string(w.inv), i)
	people, teams, services := map[string]string{}, map[collab.TeamID]bool{}, map[string]bool{}
	for _, p := range i.People {
		people[p.ID] = p.Role
	}
	for _, t := range i.Teams {
		teams[t.ID] = true
	}
	for _, service := range i.Services {
		if service.ByHand {
			services[service.Name] = true
		}
	}
	of["people"], of["teams"], of["services"] = encodeJSON(w.t, people), encodeJSON(w.t, teams), encodeJSON(w.t, services)
	for k := range b.Blocks {
		add(string(b.Blocks[k].ID), b.Blocks[k])
	}
	for k := range b.Annotations {
		a := &b.Annotations[k]
		reactions := map[string]bool{}
		for _, r := range a.Reactions {
			for _, p := range r.People {
				reactions[string(r.Reaction)+" "+p.ID] = true
			}
		}
		of := add(string(a.ID), a)
		of["reactions"], of["resolved"] = encodeJSON(w.t, reactions), encodeJSON(w.t, a.ResolvedUnixNano > 0)
	}
	timeline, err := w.own.Timeline(ctx, w.inv, collab.TimelineQuery{All: true, Limit: 2_000})
	if err != nil {
		w.t.Fatal(err)
	}
	for k := range timeline.Entries {
		e := &timeline.Entries[k]
		said := map[string]any{"text": e.Text, "pinned": e.Pinned, "hidden": e.Hidden}
		if strings.HasPrefix(string(e.ID), "e_") {
			said["happened_unix_nano"] = fmt.Sprint(e.HappenedUnixNano)
		}
		add(string(e.ID), said)
	}
	return s.plain()
}

// fuzzFields are compared; others, as who was the last to change something, are
// not told in the log. Those of fuzzMaps are told by what of them changed.
var (
	fuzzFields = []string{"kind", "position", "title", "text", "url", "state", "done", "assignee", "due_unix_nano", "status", "severity", "lead", "visibility",
		"next_update_unix_nano", "impact_start_unix_nano", "parent_id", "resolved", "happened_unix_nano", "pinned", "hidden"}
	fuzzMaps = []string{"references", "people", "teams", "services", "reactions"}
)

// fuzzState is what the changes of a log add up to.
type fuzzState struct {
	objects map[string]map[string]json.RawMessage
}

func newFuzzState() *fuzzState { return &fuzzState{map[string]map[string]json.RawMessage{}} }

func (s *fuzzState) put(t testing.TB, id string, raw json.RawMessage) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Errorf("data of %s: %v", id, err)
	}
	if strings.HasPrefix(id, "a_") {
		delete(fields, "reactions") // of a new one, none; a board tells them in its own way
	}
	s.objects[id] = fields
}

func (s *fuzzState) apply(t testing.TB, c *collab.Change) {
	var u struct {
		Fields   map[string]json.RawMessage `json:"fields"`
		Erased   bool                       `json:"erased"`
		Reaction string                     `json:"reaction"`
		On       bool                       `json:"on"`
	}
	if err := json.Unmarshal(c.Data, &u); err != nil {
		t.Errorf("change %d: %v", c.Offset, err)
		return
	}
	_, verb, _ := strings.Cut(string(c.Type), ".")
	switch verb {
	case "created", "added":
		s.put(t, c.ID, c.Data)
		return
	case "deleted":
		delete(s.objects, c.ID)
		return
	case "merged": // what it brings is added by the changes that follow
		return
	}
	of := s.objects[c.ID]
	if of == nil {
		if strings.HasPrefix(c.ID, "c_") { // of the timeline: what somebody says about another change
			of = map[string]json.RawMessage{}
			s.objects[c.ID] = of
		} else {
			if !u.Erased {
				t.Errorf("change %d is of %s, which is not there", c.Offset, c.ID)
			}
			return
		}
	}
	switch verb {
	case "reacted":
		of["reactions"] = mergedMap(t, of["reactions"], encodeJSON(t, map[string]bool{u.Reaction + " " + c.Actor: u.On}))
	case "resolved", "reopened":
		of["resolved"] = encodeJSON(t, verb == "resolved")
	}
	for name, value := range u.Fields {
		for _, m := range fuzzMaps {
			if name == m {
				value = mergedMap(t, of[name], value)
			}
		}
		of[name] = value
	}
}

// mergedMap applies a change to a map: null, false and "" take an entry out, but
// for people, of whom "" is a role.
func mergedMap(t testing.TB, was, change json.RawMessage) json.RawMessage {
	all, some := map[string]any{}, map[string]any{}
	if err := json.Unmarshal(change, &some); err != nil {
		t.Error(err)
	}
	if len(was) > 0 {
		if err := json.Unmarshal(was, &all); err != nil {
			t.Error(err)
		}
	}
	maps.Copy(all, some)
	maps.DeleteFunc(all, func(key string, v any) bool {
		return v == nil || v == false || v == "" && !strings.HasPrefix(key, "u_")
	})
	return encodeJSON(t, all)
}

func encodeJSON(t testing.TB, v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return raw
}

// plain is the state as texts, by object and field.
func (s *fuzzState) plain() map[string]map[string]string {
	out := map[string]map[string]string{}
	for id, fields := range s.objects {
		one := map[string]string{}
		for _, name := range fuzzFields {
			if v := string(fields[name]); v != "" && v != `""` && v != "null" && v != "false" && v != `"0"` {
				one[name] = v
			}
		}
		for _, name := range fuzzMaps {
			all := map[string]any{}
			if raw := fields[name]; len(raw) > 0 && json.Unmarshal(raw, &all) == nil && len(all) > 0 {
				one[name] = fmt.Sprint(all) // sorted
			}
		}
		if len(one) > 0 || !strings.HasPrefix(id, "c_") { // of a change that nobody said anything about, nothing
			out[id] = one
		}
	}
	return out
}
