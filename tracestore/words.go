package tracestore

import (
	"context"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/tracestore/traffic"
)

// withWords puts before the calculated fields of a query those of messages and jobs
// ([traffic.Vocabulary]) that it names, itself or in its own fields, and that neither
// it nor the data defines. during has the query's times and environment.
func (s *Store) withWords(ctx context.Context, during query.Spec, own []query.CalculatedField, names []string) ([]query.CalculatedField, error) {
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
	words := traffic.NewVocabulary(columns)
	if slices.Contains(wanted, traffic.Nested) {
		if err := s.told(ctx, words, during); err != nil {
			return nil, err
		}
	}
	fields := slices.DeleteFunc(words.Fields(wanted...), func(f query.CalculatedField) bool {
		return defined(f.Name) || slices.ContainsFunc(columns, func(c query.ColumnInfo) bool { return c.Name == f.Name })
	})
	return before(fields, own), nil
}

// Vocabulary returns the words for messages and jobs by which queries can ask about the
// rows of a time and environment, those of during.
func (s *Store) Vocabulary(ctx context.Context, during query.Spec) (*traffic.Vocabulary, error) {
	columns, err := s.Columns(ctx, "", "")
	if err != nil {
		return nil, err
	}
	words := traffic.NewVocabulary(columns)
	return words, s.told(ctx, words, during)
}

// maxToldServices bounds the services that are asked about.
const maxToldServices = 1000

// told finds the services whose runs a framework and its queue tell of both, each in
// traces of its own.
func (s *Store) told(ctx context.Context, words *traffic.Vocabulary, during query.Spec) error {
	limit := maxToldServices
	ask := func(groups []string, filters ...query.Filter) (*query.Result, error) {
		return s.Query(ctx, query.Spec{Calculations: []query.Calculation{{Op: "COUNT"}}, Breakdowns: groups, Filters: filters, Limit: &limit,
			TimeRange: during.TimeRange, StartTime: during.StartTime, EndTime: during.EndTime, Environment: during.Environment})
	}
	const service, system = "service.name", "messaging.system"
	runs := query.Filter{Column: "span.kind", Op: "=", Value: "consumer"}
	var framed []any
	for _, id := range words.QueueIDs() {
		r, err := ask([]string{service}, runs, query.Filter{Column: id, Op: "exists"})
		if err != nil {
			return err
		}
		for _, g := range r.Results {
			framed = append(framed, textIn(g, service))
		}
	}
	if len(framed) == 0 {
		return nil
	}
	r, err := ask([]string{service, system}, runs, query.Filter{Column: service, Op: "in", Value: framed},
		query.Filter{Column: system, Op: "not-in", Value: []any{"active_job", "activejob"}}, query.Filter{Column: system, Op: "exists"})
	if err != nil {
		return err
	}
	tells := map[string][]string{}
	for _, g := range r.Results {
		if queue := textIn(g, system); graph.IsJobSystem(queue) {
			tells[textIn(g, service)] = append(tells[textIn(g, service)], queue)
		}
	}
	words.Told(tells)
	return nil
}

// textIn is the value of a group's column, "" if it has none.
func textIn(g query.Group, column string) string {
	v, _ := g.Data[column].(trace.Value)
	return v.Text()
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

// spec is a specification with the calculated fields that withWords finds.
func (s *Store) spec(ctx context.Context, spec query.Spec, more ...string) (query.Spec, error) {
	fields, err := s.withWords(ctx, spec, spec.CalculatedFields, append(namesIn(&spec), more...))
	spec.CalculatedFields = fields
	return spec, err
}

// searchSpec is spec for a search.
func (s *Store) searchSpec(ctx context.Context, q query.Search) (query.Search, error) {
	during := query.Spec{TimeRange: q.TimeRange, StartTime: q.StartTime, EndTime: q.EndTime, Environment: q.Environment}
	if q.AnyTime {
		begin, end := 0.0, float64(s.o.Now().Unix()+1)
		during.StartTime, during.EndTime = &begin, &end
	}
	fields, err := s.withWords(ctx, during, q.CalculatedFields, append(columnsOf(q.Filters), q.Columns...))
	q.CalculatedFields = fields
	return q, err
}

// compile compiles a question to which words were added. What is wrong with it is said
// of it as it was asked.
func compile[Q, P any](s *Store, asked, worded Q, with func(Q, time.Time) (P, error)) (P, error) {
	p, err := with(worded, s.o.Now())
	if err != nil {
		if _, plain := with(asked, s.o.Now()); plain != nil {
			err = plain
		}
	}
	return p, err
}
