package handlers

import (
	"strconv"
	"time"

	"redthread/views"
)

// blockWords is what a block that was added is, without who did what.
func blockWords(d changeData) string {
	what, detail := blockAdded(d)
	if d.Title != "" {
		return string(d.Kind) + ": " + d.Title
	}
	if detail != "" {
		return string(d.Kind) + ": " + detail
	}
	return what
}

// lifeWords say what else an update changed: who may see it, who takes part, when
// the impact was.
func (w changeWords) lifeWords(d changeData) (parts []string) {
	if to, ok := d.Fields["kind"].(string); ok {
		parts = append(parts, map[string]string{"drill": "called it a drill", "real": "called it real"}[to])
	}
	if to, ok := d.Fields["visibility"].(string); ok {
		parts = append(parts, map[string]string{"workspace": "opened it to everybody here", "team": "closed it to all but its teams", "private": "made it private"}[to])
	}
	if to, ok := d.Fields["next_update_unix_nano"].(string); ok {
		parts = append(parts, updateWords(to))
	}
	if to, ok := d.Fields["impact_start_unix_nano"].(string); ok {
		parts = append(parts, impactWords("began", to))
	}
	if to, ok := d.Fields["impact_end_unix_nano"].(string); ok {
		parts = append(parts, impactWords("was over", to))
	}
	people, _ := d.Fields["people"].(map[string]any)
	were, _ := d.Was["people"].(map[string]any)
	for _, id := range sortedKeys(people) {
		parts = append(parts, personWords(w.nameOf(id), people[id], were[id]))
	}
	teams, _ := d.Fields["teams"].(map[string]any)
	for _, id := range sortedKeys(teams) {
		if teams[id] == true {
			parts = append(parts, "asked the team "+w.teamName(id)+" in")
		} else {
			parts = append(parts, "took the team "+w.teamName(id)+" out")
		}
	}
	services, _ := d.Fields["services"].(map[string]any)
	for _, name := range sortedKeys(services) {
		switch services[name] {
		case true:
			parts = append(parts, "put "+name+" among the affected services")
		case false:
			parts = append(parts, "took "+name+" out of the affected services")
		default:
			parts = append(parts, "left "+name+" to the evidence")
		}
	}
	return parts
}

func personWords(name string, to, was any) string {
	role, in := to.(string)
	switch {
	case !in:
		return "took " + name + " out"
	case role == "" && was == nil:
		return "asked " + name + " in"
	case role == "":
		return "took the role of " + name + " away"
	case was == nil:
		return "asked " + name + " in as " + role
	}
	return "made " + name + " " + role
}

func (w changeWords) nameOf(id string) string {
	if name := w.people[id]; name != "" {
		return name
	}
	return "somebody"
}

func (w changeWords) teamName(id string) string {
	if name := w.teams[id]; name != "" {
		return name
	}
	return "that is no more"
}

// changeTime reads a time of a change, zero for none.
func changeTime(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return nanoTime(n)
}

func dueWords(text string) string {
	t := changeTime(text)
	if t.IsZero() {
		return "took the due time away"
	}
	return "set " + views.At(t) + " as due"
}

func updateWords(text string) string {
	t := changeTime(text)
	if t.IsZero() {
		return "promised no further update"
	}
	return "promised the next update by " + views.At(t)
}

func impactWords(what, text string) string {
	t := changeTime(text)
	if t.IsZero() {
		return "does not know any more when the impact " + what
	}
	return "said that the impact " + what + " at " + views.At(t)
}
