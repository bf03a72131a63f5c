package tracestore

import (
	"context"
	"slices"
	"strings"

	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
)

// withWords puts before the calculated fields of a query those of messages and jobs
// ([traffic.Vocabulary]) that it names, itself or in its own fields, and that neither
// it nor the data defines.
func (s *Store) withWords(ctx context.Context, own []query.CalculatedField, names []string) ([]query.CalculatedField, error) {
	defined := func(name string) bool {
		return slices.ContainsFunc(own, func(f query.CalculatedField) bool { return f.Name == name })
	}
	var wanted []string
	for _, n := range names {
		if at := strings.Index(n, "."+traffic.Prefix); at > 0 { // of another span: root.work.class
			n = n[at+1:]
		}
		if traffic.Calculated(n) && !defined(n) {
			wanted = append(wanted, n)
		}
	}
	for _, f := range own {
		if !strings.Contains(f.Expression, traffic.Prefix) {
			continue
		}
		for _, n := range traffic.Names() {
			if !defined(n) && strings.Contains(f.Expression, n) {
				wanted = append(wanted, n)
			}
		}
	}
	if len(wanted) == 0 {
		return own, nil
	}
	columns, err := s.Columns(ctx, "", "")
	if err != nil {
		return nil, err
	}
	fields := slices.DeleteFunc(traffic.NewVocabulary(columns).Fields(wanted...), func(f query.CalculatedField) bool {
		return defined(f.Name) || slices.ContainsFunc(columns, func(c query.ColumnInfo) bool { return c.Name == f.Name })
	})
	return before(fields, own), nil
}

// before puts words before a query's own fields, which may read them; those words
// that read one of the own fields, defined under the name of a word, come after it.
func before(words, own []query.CalculatedField) []query.CalculatedField {
	last := -1
	var redefined []string
	for i, f := range own {
		if traffic.Calculated(f.Name) {
			last, redefined = i, append(redefined, f.Name)
		}
	}
	var early, late []query.CalculatedField
	for _, w := range words {
		if slices.ContainsFunc(redefined, func(name string) bool { return traffic.Reads(w.Expression, name) }) {
			late, redefined = append(late, w), append(redefined, w.Name)
		} else {
			early = append(early, w)
		}
	}
	return slices.Concat(early, own[:last+1], late, own[last+1:])
}

// namesIn are the columns that a query names outside its calculated fields.
func namesIn(spec *query.Spec) (list []string) {
	list = append(list, spec.Breakdowns...)
	for _, c := range spec.Calculations {
		list = append(list, c.Column)
	}
	for _, o := range spec.Orders {
		list = append(list, o.Column)
	}
	return append(list, columnsOf(spec.Filters)...)
}

func columnsOf(filters []query.Filter) []string {
	list := make([]string, len(filters))
	for i := range filters {
		list[i] = filters[i].Column
	}
	return list
}

// spec is a specification with the calculated fields that withWords finds. What is
// wrong with it is said of it as it was given.
func (s *Store) spec(ctx context.Context, spec query.Spec, more ...string) (query.Spec, error) {
	fields, err := s.withWords(ctx, spec.CalculatedFields, append(namesIn(&spec), more...))
	if err != nil || len(fields) == len(spec.CalculatedFields) {
		return spec, err
	}
	if _, err := query.Compile(spec, s.o.Now()); err != nil {
		return spec, err
	}
	spec.CalculatedFields = fields
	return spec, nil
}

// searchSpec is spec for a search.
func (s *Store) searchSpec(ctx context.Context, q query.Search) (query.Search, error) {
	fields, err := s.withWords(ctx, q.CalculatedFields, append(columnsOf(q.Filters), q.Columns...))
	if err != nil || len(fields) == len(q.CalculatedFields) {
		return q, err
	}
	if _, err := query.CompileSearch(q, s.o.Now()); err != nil {
		return q, err
	}
	q.CalculatedFields = fields
	return q, nil
}
