package query

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"redthread/tracestore/trace"
)

// SyntaxError is an expression that cannot be read. It is an [InvalidError] too;
// Offset says where in the expression the fault is, in bytes.
type SyntaxError struct {
	InvalidError
	Offset int
}

// Unwrap returns the InvalidError.
func (e *SyntaxError) Unwrap() error { return &e.InvalidError }

// faultAt makes a SyntaxError whose message says the place as a person counts.
func faultAt(source string, offset int, format string, args ...any) *SyntaxError {
	offset = min(offset, len(source))
	message := fmt.Sprintf("%s (character %d).", fmt.Sprintf(format, args...), utf8.RuneCountInString(source[:offset])+1)
	return &SyntaxError{InvalidError{"", message}, offset}
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenColumn
	tokenLiteral
	tokenName // of a function, or AND and OR
	tokenSign // operators, parentheses and commas
)

// token is a word of an expression.
type token struct {
	kind  tokenKind
	text  string // column, name in upper case, or sign
	value trace.Value
	at    int // byte offset
}

// lexer cuts an expression into tokens, those of Honeycomb's grammar (HCDC.g4 in
// github.com/honeycombio/honeycomb-derived-column-validator). Names are accepted
// in either case.
type lexer struct {
	source string
	at     int
}

func (l *lexer) fault(at int, format string, args ...any) *SyntaxError {
	return faultAt(l.source, at, format, args...)
}

// inColumn reports whether a rune belongs to a column's name without quotes.
func inColumn(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_./:=+?-", r)
}

func isNameStart(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool     { return c >= '0' && c <= '9' }

// peek is the byte so many after the next one, 0 beyond the end.
func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.source) {
		return l.source[l.at+n]
	}
	return 0
}

// run goes over the bytes that belong and returns them.
func (l *lexer) run(belongs func(byte) bool) string {
	from := l.at
	for l.at < len(l.source) && belongs(l.source[l.at]) {
		l.at++
	}
	return l.source[from:l.at]
}

func (l *lexer) next() (token, *SyntaxError) {
	for l.at < len(l.source) {
		r, n := utf8.DecodeRuneInString(l.source[l.at:])
		if !unicode.IsSpace(r) {
			break
		}
		l.at += n
	}
	t := token{at: l.at}
	if l.at == len(l.source) {
		return t, nil
	}
	var err *SyntaxError
	switch c := l.peek(0); {
	case c == '$':
		t.kind = tokenColumn
		t.text, err = l.column()
	case c == '"' || c == '`':
		var text string
		t.kind = tokenLiteral
		text, err = l.text()
		t.value = trace.String(text)
	case isDigit(c) || c == '.' && isDigit(l.peek(1)):
		t.kind = tokenLiteral
		t.value, err = l.number()
	case isNameStart(c):
		t.kind = tokenName
		word := l.run(func(c byte) bool { return isNameStart(c) || isDigit(c) || c == '_' })
		switch t.text = strings.ToUpper(word); t.text {
		case "TRUE", "FALSE":
			t.kind, t.value = tokenLiteral, trace.Bool(t.text == "TRUE")
		case "NULL":
			t.kind = tokenLiteral
		}
	default:
		t.kind = tokenSign
		t.text, err = l.sign()
	}
	return t, err
}

func (l *lexer) column() (string, *SyntaxError) {
	from := l.at
	l.at++
	if c := l.peek(0); c == '"' || c == '`' {
		name, err := l.text()
		if err == nil && name == "" {
			err = l.fault(from, "A column name is missing here")
		}
		return name, err
	}
	start := l.at
	for l.at < len(l.source) {
		r, n := utf8.DecodeRuneInString(l.source[l.at:])
		if !inColumn(r) || r == utf8.RuneError && n == 1 {
			break
		}
		l.at += n
	}
	if l.at == start {
		return "", l.fault(from, `After $ comes the name of a column, in quotes if it has spaces: $"my column"`)
	}
	return l.source[start:l.at], nil
}

// text reads a string: "with escapes", or `as it stands`.
func (l *lexer) text() (string, *SyntaxError) {
	from, quote := l.at, l.source[l.at]
	l.at++
	rest := l.source[l.at:]
	if quote == '`' {
		end := strings.IndexByte(rest, '`')
		if end < 0 {
			return "", l.fault(from, "The text that begins here has no closing `")
		}
		l.at += end + 1
		return rest[:end], nil
	}
	var b strings.Builder
	for rest != "" && rest[0] != '"' {
		if strings.HasPrefix(rest, `\'`) { // strconv takes it in single quotes only
			b.WriteByte('\'')
			rest = rest[2:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		switch {
		case err != nil:
			return "", l.fault(len(l.source)-len(rest), "This backslash stands before nothing it can escape; write \\\\ for a backslash, or the text between backquotes")
		case rest[0] != '\\': // as it stands, even if it is not UTF-8
			b.WriteString(rest[:len(rest)-len(tail)])
		case multibyte:
			b.WriteRune(r)
		default:
			b.WriteByte(byte(r))
		}
		rest = tail
	}
	if rest == "" {
		return "", l.fault(from, `The text that begins here has no closing "`)
	}
	l.at = len(l.source) - len(rest) + 1
	return b.String(), nil
}

// number reads an integer, or a float if it has a point, an exponent, or more
// digits than an integer holds.
func (l *lexer) number() (trace.Value, *SyntaxError) {
	from := l.at
	l.run(isDigit)
	whole := true
	if l.peek(0) == '.' && isDigit(l.peek(1)) {
		whole = false
		l.at++
		l.run(isDigit)
	}
	if l.peek(0)|0x20 == 'e' {
		n := 1
		if c := l.peek(1); c == '+' || c == '-' {
			n = 2
		}
		if isDigit(l.peek(n)) {
			whole = false
			l.at += n
			l.run(isDigit)
		}
	}
	text := l.source[from:l.at]
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return trace.Int(n), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return trace.Value{}, l.fault(from, "The number %s is out of range", text)
	}
	return trace.Float(f), nil
}

func (l *lexer) sign() (string, *SyntaxError) {
	rest := l.source[l.at:]
	for _, hint := range [][2]string{{"==", "="}, {"<>", "!="}, {"&&", "AND"}, {"||", "OR"}, {"'", `"`}} {
		if strings.HasPrefix(rest, hint[0]) {
			return "", l.fault(l.at, "Write %s here, not %s", hint[1], hint[0])
		}
	}
	for _, s := range []string{"<=", ">=", "!=", "<", ">", "=", "!", "+", "-", "*", "/", "%", "(", ")", ","} {
		if strings.HasPrefix(rest, s) {
			l.at += len(s)
			return s, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return "", l.fault(l.at, "%q means nothing here", r)
}
