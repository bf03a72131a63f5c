package query

import (
	"context"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// anywhere keeps the rows that have a text as the value of one of their columns,
// whichever it is: what a person typed who does not know where it stands.
type anywhere struct {
	filter
	text string
}

// newAnywhere makes the test; nil for no text.
func newAnywhere(text string) *anywhere {
	if text == "" {
		return nil
	}
	a := &anywhere{text: text}
	a.equal([]trace.Value{trace.String(text)})
	return a
}

// reads reports whether the test looks at a column. Ids have their own searches,
// times and lengths of time are nothing that people know by heart, and what is true
// or false, or has one of a handful of names, is so in half of all rows.
func (a *anywhere) reads(c column.Info) bool {
	switch c.Key {
	case column.Name, column.Service, column.Environment, column.StatusMessage:
		return true
	}
	_, fixed := column.FixedType(c.Key)
	return !fixed && c.Type != trace.TypeBool
}

// pick narrows the selection. Most columns of most blocks are left unread: their
// statistics and filters say that the text is not there. When ctx ends it keeps what
// was found until then and reports that it was cut.
func (a *anywhere) pick(ctx context.Context, v *view, sel *selection) (cut bool, err error) {
	left := sel.bitmap() // the rows in which it was not found so far
	kept := column.NewBitmap(v.rows)
	for _, info := range v.block.Columns() {
		if !a.reads(info) || a.known(v, info.Key, info.Type) == keepsNone {
			continue
		}
		if ctx.Err() != nil {
			cut = true
			break
		}
		vec, err := v.block.Column(info.Key, info.Type)
		if err != nil {
			return false, err
		}
		if vec == nil {
			continue
		}
		hit := column.NewBitmap(v.rows)
		a.test(vec, &a.ints, left, hit)
		for w := range left {
			kept[w] |= hit[w]
			left[w] &^= hit[w]
		}
	}
	sel.bits = kept
	return cut, nil
}

// columnOf names the column of the span that has the text, "" if none has.
func (a *anywhere) columnOf(s *trace.Span) string {
	switch a.text {
	case s.Name:
		return column.Name
	case s.Service:
		return column.Service
	case s.Environment:
		return column.Environment
	case s.StatusMessage:
		return column.StatusMessage
	}
	for i := range s.Attributes {
		if s.Attributes[i].Value.Text() == a.text {
			return s.Attributes[i].Key
		}
	}
	return ""
}
