package collab

import (
	"context"
	"slices"
	"strings"
)

// MentionChoice is a person or a team whom a text can name.
type MentionChoice struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Insert is what stands behind the @ to name nobody else.
	Insert string `json:"insert"`
	Team   bool   `json:"team"`
}

// FindMentions returns the first few whose name, a word of it, or the part of whose
// email before the @ begins with a text. With an investigation only those who may see
// it, and of the teams those of whom somebody may.
func (s *Store) FindMentions(ctx context.Context, id InvestigationID, begin string, limit int) ([]MentionChoice, error) {
	list, err := mentionables(ctx, s.read)
	if err != nil {
		return nil, err
	}
	sees := func(string) bool { return true }
	if id != "" {
		if err := s.MaySee(ctx, id); err != nil {
			return nil, err
		}
		var people []string
		for i := range list {
			if !list[i].team() {
				people = append(people, list[i].ID)
			}
		}
		if people, err = s.Readers(ctx, id, people); err != nil {
			return nil, err
		}
		sees = func(user string) bool { return slices.Contains(people, user) }
	}
	names := map[string]string{}
	for _, n := range mentionNames(list) {
		names[n.name] = n.id
	}
	begin = strings.ToLower(begin)
	out := []MentionChoice{}
	for i := range list {
		m := &list[i]
		if !m.begins(begin) || m.team() && !slices.ContainsFunc(m.Members, sees) || !m.team() && !sees(m.ID) {
			continue
		}
		for _, name := range []string{m.Name, m.local()} {
			if name != "" && names[strings.ToLower(name)] == m.ID {
				out = append(out, MentionChoice{ID: m.ID, Name: m.Name, Insert: name, Team: m.team()})
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b MentionChoice) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return out[:min(len(out), limit)], nil
}

// begins reports whether a name of it begins with a lower-case text.
func (m *mentionable) begins(text string) bool {
	name := strings.ToLower(m.Name)
	return strings.HasPrefix(name, text) || strings.Contains(name, " "+text) || strings.HasPrefix(strings.ToLower(m.local()), text)
}
