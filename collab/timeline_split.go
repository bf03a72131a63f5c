package collab

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// entry is that of a change: the only one mostly, else the first.
func (c *Change) entry() EntryID { return EntryID("c_" + strconv.FormatInt(c.Offset, 10)) }

// momentFields are those of an investigation that say when something was so, with
// what the ids of their entries end with.
var momentFields = []struct{ name, suffix string }{
	{"impact_start_unix_nano", "_begun"},
	{"impact_end_unix_nano", "_over"},
}

// splitEntry takes the entry of a change apart by the times that the change speaks of:
// what was done is of when it was told; that the impact began, or was over, of when it
// did. The first keeps the id of the whole, so that each change has the entry of that
// id. A change stays as it is, but for its bytes being erased, and so do the ids.
func splitEntry(e *TimelineEntry) ([]TimelineEntry, error) {
	c := e.Change
	if c.Type == AnnotationAdded {
		var d struct{ Anchor Anchor }
		if err := json.Unmarshal(c.Data, &d); err != nil {
			return nil, fmt.Errorf("change %d: %w", c.Offset, err)
		}
		if d.Anchor.AtUnixNano > 0 {
			e.HappenedUnixNano, e.EndedUnixNano = d.Anchor.AtUnixNano, d.Anchor.UntilUnixNano
		}
	}
	if c.Type != InvestigationUpdated {
		return []TimelineEntry{*e}, nil
	}
	var d struct{ Fields, Was map[string]json.RawMessage }
	if err := json.Unmarshal(c.Data, &d); err != nil {
		return nil, fmt.Errorf("change %d: %w", c.Offset, err)
	}
	var parts []TimelineEntry
	add := func(suffix string, at int64, in func(field string) bool) error {
		p := *e
		if len(parts) > 0 {
			p.ID += EntryID(suffix)
		}
		p.HappenedUnixNano = at
		p.matters = slices.ContainsFunc(fieldsThatMatter, func(name string) bool { return d.Fields[name] != nil && in(name) })
		change, err := c.only(in)
		p.Change = change
		parts = append(parts, p)
		return err
	}
	moments := map[string]nanoText{}
	for _, m := range momentFields {
		var at nanoText
		if err := setFields(d.Fields, map[string]any{m.name: &at}); err != nil {
			return nil, fmt.Errorf("change %d: %w", c.Offset, err)
		}
		if at > 0 { // 0 takes it back, and that was done when it was told
			moments[m.name] = at
		}
	}
	if len(d.Fields) != len(moments) || len(moments) == 0 {
		if err := add("", e.HappenedUnixNano, func(field string) bool { return moments[field] == 0 }); err != nil {
			return nil, err
		}
	}
	for _, m := range momentFields {
		if at := moments[m.name]; at > 0 {
			if err := add(m.suffix, int64(at), func(field string) bool { return field == m.name }); err != nil {
				return nil, err
			}
		}
	}
	return parts, nil
}

// only is the change with those of its fields alone that are in.
func (c *Change) only(in func(field string) bool) (*Change, error) {
	var data map[string]json.RawMessage
	if err := json.Unmarshal(c.Data, &data); err != nil {
		return nil, fmt.Errorf("change %d: %w", c.Offset, err)
	}
	for _, side := range []string{"fields", "was"} {
		if data[side] == nil {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data[side], &fields); err != nil {
			return nil, fmt.Errorf("%s of change %d: %w", side, c.Offset, err)
		}
		maps.DeleteFunc(fields, func(field string, _ json.RawMessage) bool { return !in(field) })
		var err error
		if data[side], err = json.Marshal(fields); err != nil {
			return nil, fmt.Errorf("%s of change %d: %w", side, c.Offset, err)
		}
	}
	out := *c
	var err error
	out.Data, err = json.Marshal(data)
	return &out, err
}
