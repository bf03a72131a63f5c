package collab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A person or a team whom a text can name.
type mentionable struct {
	ID, Name, Email string
	Members         []string // of a team, whose handle is its Name: users' ids
}

// team reports whether many are meant.
func (m *mentionable) team() bool { return strings.HasPrefix(m.ID, "m_") }

// local is the part of a person's email before the @.
func (m *mentionable) local() string {
	local, _, _ := strings.Cut(m.Email, "@")
	return local
}

// mentionables lists the active people and the teams.
func mentionables(ctx context.Context, q querier) ([]mentionable, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, name, email FROM users WHERE deactivated_at IS NULL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	defer rows.Close()
	var list []mentionable
	for rows.Next() {
		var p mentionable
		if err := rows.Scan(&p.ID, &p.Name, &p.Email); err != nil {
			return nil, fmt.Errorf("list people: %w", err)
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	teams, err := findTeams(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range teams {
		m := mentionable{ID: string(teams[i].ID), Name: teams[i].Handle}
		for _, p := range teams[i].Members {
			m.Members = append(m.Members, p.ID)
		}
		list = append(list, m)
	}
	return list, nil
}

// told are the people behind the ids that a text names: with the members of its
// teams, each once.
func told(named []string, list []mentionable) []string {
	var users []string
	for _, id := range named {
		for i := range list {
			if list[i].ID != id {
				continue
			}
			who := list[i].Members
			if !list[i].team() {
				who = []string{id}
			}
			for _, u := range who {
				if !slices.Contains(users, u) {
					users = append(users, u)
				}
			}
		}
	}
	return users
}

// mentioned returns the ids of the people and teams that text names by "@", in
// the order of their first mention, each once. A team is named by its handle, a
// person by the full name with or without its spaces, by the part of the email
// before the @, or by a first name that only one person has; case does not matter.
// An @ inside a word, as in an email address, names nobody, and neither does a part
// of a longer name: @quotes-api is not the team quotes.
func mentioned(text string, people []mentionable) []string {
	names := mentionNames(people)
	var ids []string
	for i := 0; i < len(text); i++ {
		if text[i] != '@' {
			continue
		}
		if before, _ := utf8.DecodeLastRuneInString(text[:i]); i > 0 && isNameRune(before) {
			continue
		}
		rest := strings.ToLower(text[i+1 : min(len(text), i+1+maxMentionBytes)])
		for _, n := range names { // longest first
			if !strings.HasPrefix(rest, n.name) {
				continue
			}
			if goesOn(rest[len(n.name):]) {
				continue
			}
			if n.id != "" && !slices.Contains(ids, n.id) {
				ids = append(ids, n.id)
			}
			break
		}
	}
	return ids
}

// goesOn reports whether a name goes on with what follows it: with a letter or a
// digit, at once or behind a sign that joins names, as in quotes-api.
func goesOn(after string) bool {
	if after != "" && strings.Contains("-_.+", after[:1]) {
		after = after[1:]
	}
	next, size := utf8.DecodeRuneInString(after)
	return size > 0 && (unicode.IsLetter(next) || unicode.IsDigit(next))
}

// maxMentionBytes is how far after an @ a name is looked for.
const maxMentionBytes = 256

type mentionName struct{ name, id string }

// mentionNames lists every name somebody goes by, lower-case, longest first. A
// name that two people share has the empty id: nobody is meant for certain.
func mentionNames(people []mentionable) []mentionName {
	owner := map[string]string{}
	put := func(name, id string) {
		if name == "" {
			return
		}
		if o, taken := owner[name]; taken && o != id {
			id = ""
		}
		owner[name] = id
	}
	for _, p := range people {
		full := strings.ToLower(strings.TrimSpace(p.Name))
		put(full, p.ID)
		put(strings.ReplaceAll(full, " ", ""), p.ID)
		put(strings.ReplaceAll(full, " ", "."), p.ID)
		put(strings.ToLower(p.local()), p.ID) // a team has none
	}
	for _, p := range people {
		if p.team() {
			continue
		}
		first, _, more := strings.Cut(strings.ToLower(strings.TrimSpace(p.Name)), " ")
		if more {
			put(first, p.ID)
		}
	}
	names := make([]mentionName, 0, len(owner))
	for n, id := range owner {
		names = append(names, mentionName{n, id})
	}
	slices.SortFunc(names, func(a, b mentionName) int {
		if d := len(b.name) - len(a.name); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
	return names
}

func isNameRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '.' || r == '-' || r == '+'
}
