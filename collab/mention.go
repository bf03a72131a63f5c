package collab

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A person whom a text can name.
type mentionable struct{ ID, Name, Email string }

// mentionedUsers returns the ids of the people that text names by "@", in the
// order of their first mention, each once. A person is named by the full name
// with or without its spaces, by the part of the email before the @, or by a
// first name that only one person has; case does not matter. An @ inside a
// word, as in an email address, names nobody.
func mentionedUsers(text string, people []mentionable) []string {
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
			if after, _ := utf8.DecodeRuneInString(rest[len(n.name):]); len(rest) > len(n.name) && (unicode.IsLetter(after) || unicode.IsDigit(after)) {
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
		local, _, _ := strings.Cut(strings.ToLower(p.Email), "@")
		put(local, p.ID)
	}
	for _, p := range people {
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
