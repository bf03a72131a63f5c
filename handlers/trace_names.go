package handlers

import (
	"strings"
	"unicode"
)

// maxRowName bounds a name as drawn, in bytes.
const maxRowName = 240

// rowName is a name as it stands in a line: never empty, not too long, and with
// nothing in it that turns the rest of the line round.
func rowName(name string) string {
	if name == "" {
		return "(no name)"
	}
	return clip(name, maxRowName)
}

// clip cuts a text after n bytes, at the end of a letter, and makes marks of
// direction visible: an override in a name would reorder what stands after it.
func clip(s string, n int) string {
	cut := len(s) > n
	if cut {
		for n > 0 && s[n]&0xC0 == 0x80 {
			n--
		}
		s = s[:n]
	}
	s = plainDirection(s)
	if cut {
		s += "…"
	}
	return s
}

// shown is a name of a service, topic, class or queue as it stands in a line: the
// same as rowName, but what is empty stays so.
func shown(name string) string { return clip(name, maxRowName) }

// plainDirection replaces the controls of Unicode's bidirectional algorithm (UAX
// 9, 2.1 to 2.6), and those that draw nothing (C0, C1), by U+FFFD. Letters of every
// script stay.
func plainDirection(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 && r != '\t' && r != '\n' && r != '\r', 0x7F <= r && r <= 0x9F:
			return '\uFFFD'
		case unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, s)
}
