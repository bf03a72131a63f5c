package otlp

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads JSON in place (RFC 8259) and knows the path of the value it
// stands at.
type jsonReader struct {
	b    []byte
	i    int
	path []pathStep
}

// pathStep is a field and, inside an array, the element.
type pathStep struct {
	name  string
	index int // -1: not in an array
}

// maxPathSteps bounds the path in an error.
const maxPathSteps = 24

// invalid is an error at the current place.
func (r *jsonReader) invalid(why string) error {
	var p strings.Builder
	for i, s := range r.path {
		if i == maxPathSteps {
			p.WriteString("…")
			break
		}
		if p.Len() > 0 {
			p.WriteByte('.')
		}
		if len(s.name) > 64 {
			s.name = s.name[:64] + "…"
		}
		p.WriteString(s.name)
		if s.index >= 0 {
			fmt.Fprintf(&p, "[%d]", s.index)
		}
	}
	return &InvalidError{Field: p.String(), Offset: r.i, Message: why}
}

// wrongType says what was wanted and what is there.
func (r *jsonReader) wrongType(want string) error {
	got := "the end of the body"
	switch c := r.peek(); {
	case c == '{':
		got = "an object"
	case c == '[':
		got = "an array"
	case c == '"':
		at := r.i
		s, err := r.str("")
		r.i = at
		if err != nil {
			return err
		}
		if len(s) > 64 {
			s = s[:64] + "…"
		}
		got = fmt.Sprintf("the string %q", s)
	case c == 't' || c == 'f':
		got = "a boolean"
	case c == 'n':
		got = "null"
	case c == '-' || c >= '0' && c <= '9':
		end := r.i
		for end < len(r.b) && end < r.i+32 && decimal(string(r.b[end:end+1])) {
			end++
		}
		got = "the number " + string(r.b[r.i:end])
	case c != 0:
		return r.invalid(fmt.Sprintf("not JSON: unexpected %q", rune(c)))
	}
	return r.invalid("want " + want + ", got " + got)
}

func (r *jsonReader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek passes over space and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	r.space()
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// literal passes over a word such as true if it is next.
func (r *jsonReader) literal(word string) bool {
	r.space()
	if r.i+len(word) <= len(r.b) && string(r.b[r.i:r.i+len(word)]) == word {
		r.i += len(word)
		return true
	}
	return false
}

// object reads an object; fn reads the value of each field.
func (r *jsonReader) object(fn func(name string) error) error {
	if r.peek() != '{' {
		return r.wrongType("an object")
	}
	r.i++
	if r.peek() == '}' {
		r.i++
		return nil
	}
	for {
		name, err := r.str("a field name")
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return r.invalid("not JSON: a colon is missing behind a field name")
		}
		r.i++
		r.path = append(r.path, pathStep{name, -1})
		if err := fn(name); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
		switch r.peek() {
		case ',':
			r.i++
		case '}':
			r.i++
			return nil
		default:
			return r.unfinished("object", '}')
		}
	}
}

// array reads an array; fn reads each element.
func (r *jsonReader) array(fn func() error) error {
	if r.peek() != '[' {
		return r.wrongType("an array")
	}
	r.i++
	if r.peek() == ']' {
		r.i++
		return nil
	}
	at := len(r.path) - 1 // the field whose value this is; -1 outside of any
	for n := 0; ; n++ {
		if at >= 0 {
			r.path[at].index = n
		}
		if err := fn(); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.i++
		case ']':
			r.i++
			if at >= 0 {
				r.path[at].index = -1
			}
			return nil
		default:
			return r.unfinished("array", ']')
		}
	}
}

func (r *jsonReader) unfinished(what string, end byte) error {
	if r.peek() == 0 && r.i >= len(r.b) {
		return r.invalid("the JSON is cut short inside an " + what)
	}
	return r.invalid(fmt.Sprintf("not JSON: want a comma or %q, got %q", rune(end), rune(r.b[r.i])))
}

// str reads a string. Without escapes it aliases the input.
func (r *jsonReader) str(want string) (string, error) {
	if r.peek() != '"' {
		return "", r.wrongType(want)
	}
	from := r.i + 1
	for i := from; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '"':
			r.i = i + 1
			return alias(r.b[from:i]), nil
		case c == '\\':
			return r.escaped(from, i)
		case c < 0x20:
			r.i = i
			return "", r.invalid("not JSON: a control character inside a string")
		}
	}
	r.i = len(r.b)
	return "", r.invalid("the JSON is cut short inside a string")
}

// escaped reads the rest of a string from its first backslash, at b[i].
func (r *jsonReader) escaped(from, i int) (string, error) {
	s := append([]byte(nil), r.b[from:i]...)
	for i < len(r.b) {
		c := r.b[i]
		switch {
		case c == '"':
			r.i = i + 1
			return alias(s), nil
		case c < 0x20:
			r.i = i
			return "", r.invalid("not JSON: a control character inside a string")
		case c != '\\':
			s = append(s, c)
			i++
			continue
		}
		if i+1 >= len(r.b) {
			break
		}
		i += 2
		switch e := r.b[i-1]; e {
		case '"', '\\', '/':
			s = append(s, e)
		case 'b':
			s = append(s, '\b')
		case 'f':
			s = append(s, '\f')
		case 'n':
			s = append(s, '\n')
		case 'r':
			s = append(s, '\r')
		case 't':
			s = append(s, '\t')
		case 'u':
			c, ok := r.hex4(i)
			if !ok {
				r.i = i
				return "", r.invalid(`not JSON: \u wants four hex digits`)
			}
			i += 4
			if utf16.IsSurrogate(c) {
				low := rune(utf8.RuneError)
				if i+1 < len(r.b) && r.b[i] == '\\' && r.b[i+1] == 'u' {
					if second, ok := r.hex4(i + 2); ok {
						low = second
					}
				}
				if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
					i += 6
				}
			}
			s = utf8.AppendRune(s, c)
		default:
			r.i = i - 1
			return "", r.invalid("not JSON: unknown escape in a string")
		}
	}
	r.i = len(r.b)
	return "", r.invalid("the JSON is cut short inside a string")
}

func (r *jsonReader) hex4(i int) (rune, bool) {
	if i+4 > len(r.b) {
		return 0, false
	}
	var v rune
	for _, c := range r.b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, true
}

// num reads a number and returns its text.
func (r *jsonReader) num(want string) (string, error) {
	c := r.peek()
	if c != '-' && (c < '0' || c > '9') {
		return "", r.wrongType(want)
	}
	from, i := r.i, r.i
	digits := func() bool {
		start := i
		for i < len(r.b) && r.b[i] >= '0' && r.b[i] <= '9' {
			i++
		}
		return i > start
	}
	at := func(c byte) bool { return i < len(r.b) && r.b[i] == c }
	if at('-') {
		i++
	}
	ok := true
	if at('0') {
		i++
	} else {
		ok = digits()
	}
	if ok && at('.') {
		i++
		ok = digits()
	}
	if ok && (at('e') || at('E')) {
		i++
		if at('+') || at('-') {
			i++
		}
		ok = digits()
	}
	if !ok || i < len(r.b) && r.b[i] >= '0' && r.b[i] <= '9' {
		return "", r.invalid("not JSON: a malformed number")
	}
	r.i = i
	return alias(r.b[from:i]), nil
}

// skip passes over any value.
func (r *jsonReader) skip(depth int) error {
	if depth > maxDepth {
		return r.invalid("values are nested deeper than 100 levels")
	}
	switch c := r.peek(); {
	case c == '{':
		return r.object(func(string) error { return r.skip(depth + 1) })
	case c == '[':
		return r.array(func() error { return r.skip(depth + 1) })
	case c == '"':
		_, err := r.str("")
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.num("")
		return err
	case r.literal("true"), r.literal("false"), r.literal("null"):
		return nil
	}
	return r.wrongType("a value")
}
