package handlers

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/query"
)

// Tabs of the Explore page.
const (
	tabResults = "results"
	tabBubble  = "bubbleup"
	tabTraces  = "traces"
	tabRaw     = "raw"
)

// Parameters of the address for each clause, in their text form. All may repeat
// but the limit, the granularity and the combination.
const (
	paramVisualize   = "v"
	paramWhere       = "w"
	paramGroupBy     = "g"
	paramOrder       = "o"
	paramHaving      = "h"
	paramCalculated  = "f" // name = expression
	paramLimit       = "n"
	paramMatch       = "match" // any: the filters are joined by OR
	paramGranularity = "step"  // seconds
	paramColumns     = "c"     // columns of the raw rows
	paramTab         = "tab"
	paramAfter       = "after" // the raw rows after those of the page before
	paramWindow      = "range"
	paramEnvironment = "environment"

	// What the tab BubbleUp compares with the rest: filters that repeat, and times
	// in seconds.
	paramSelect     = "s"
	paramSelectFrom = "sfrom"
	paramSelectTo   = "sto"
)

const (
	defaultExploreRange = "1h"
	maxClauses          = 200  // of each kind; a longer address is a mistake
	maxClauseBytes      = 8192 // of one clause
)

// clause is one clause as the person typed it.
type clause struct {
	Text, Error string
}

// exploreState is everything the address of the Explore page says.
type exploreState struct {
	Spec    query.Spec // without time window
	Window  timeWindow
	Tab     string
	Columns []string
	Select  exploreSelection

	// The clauses as typed, with what is wrong with them; where there is no
	// error they say the same as Spec.
	Clauses map[string][]clause
	// implied are calculated fields of Spec that the store knows too: they need not be
	// said.
	implied map[string]bool
	// Error is a fault that belongs to no clause.
	Error string
	// Fresh says that nothing was asked: the page shows a first question.
	Fresh bool
}

// exploreSelection is a part of the query's rows: those of a stretch of time, that
// pass filters.
type exploreSelection struct {
	Filters  []query.Filter
	From, To *float64 // seconds since the epoch; nil: not bounded
}

// any reports whether something is selected.
func (s *exploreSelection) any() bool { return len(s.Filters) > 0 || s.From != nil || s.To != nil }

// dropSelection takes the selection out of an address.
func dropSelection(q url.Values) {
	q.Del(paramSelect)
	q.Del(paramSelectFrom)
	q.Del(paramSelectTo)
}

// readExplore reads the address: either q, a query specification in JSON, or
// the clauses in their text form. Time range and environment may be given
// beside q and then count instead of what it says.
func readExplore(q url.Values, now time.Time) exploreState {
	st := exploreState{Clauses: map[string][]clause{}, Tab: tabResults}
	if t := q.Get(paramTab); t == tabTraces || t == tabRaw || t == tabBubble {
		st.Tab = t
	}
	for _, c := range q[paramColumns] {
		if c = cleanText(c); c != "" && len(st.Columns) < maxClauses {
			st.Columns = append(st.Columns, c)
		}
	}
	fallback := defaultExploreRange
	if raw := strings.TrimSpace(q.Get("q")); raw != "" {
		spec, err := query.ParseSpec([]byte(raw))
		if err != nil {
			st.Error = "The query in the address cannot be read: " + sentenceOf(err)
			spec = query.Spec{}
		}
		q, fallback = withSpec(q, spec)
	} else if !asks(q) {
		st.Fresh = true
		q = withFirstQuery(q)
	}
	st.readClauses(q)
	st.Spec.Environment = q.Get(paramEnvironment)
	if st.Spec.Environment == "*" {
		st.Spec.Environment = ""
	}
	w, err := readWindow(q, fallback, now)
	if err != nil {
		st.Clauses[paramWindow] = []clause{{Text: q.Get("range"), Error: err.Error()}}
		w, _ = relativeWindow(defaultExploreRange, now)
	}
	st.Window = w
	return st
}

// asks reports whether the address has any clause.
func asks(q url.Values) bool {
	for _, p := range clauseParams {
		if len(q[p]) > 0 {
			return true
		}
	}
	return false
}

// withFirstQuery is the address of a page opened without a query: how long
// everything takes, and how much there is.
func withFirstQuery(q url.Values) url.Values {
	out := url.Values{paramVisualize: {"HEATMAP(duration_ms)", "COUNT"}}
	for p, vs := range q {
		out[p] = vs
	}
	return out
}

// withSpec writes a specification as the clauses of an address, beside what
// the address q says about view, time and environment. The second value is the
// relative range that counts if nothing else is said.
func withSpec(q url.Values, spec query.Spec) (url.Values, string) {
	out := specValues(spec)
	for _, p := range []string{paramTab, paramColumns, paramEnvironment, paramSelect, paramSelectFrom, paramSelectTo, "range", "from", "to"} {
		if vs, ok := q[p]; ok {
			out[p] = vs
		}
	}
	_, hasRange := q["range"]
	_, hasFrom := q["from"]
	fallback := formatRange(2 * time.Hour) // the API's default (DESIGN.md §8)
	if hasRange || hasFrom {
		return out, fallback
	}
	length := 7200.0
	if spec.TimeRange != nil {
		length = *spec.TimeRange
		fallback = formatRange(time.Duration(length * float64(time.Second)))
	}
	switch {
	case spec.StartTime != nil && spec.EndTime != nil:
		out.Set("from", seconds(*spec.StartTime))
		out.Set("to", seconds(*spec.EndTime))
	case spec.StartTime != nil:
		out.Set("from", seconds(*spec.StartTime))
		out.Set("to", seconds(*spec.StartTime+length))
	case spec.EndTime != nil:
		out.Set("from", seconds(*spec.EndTime-length))
		out.Set("to", seconds(*spec.EndTime))
	}
	return out, fallback
}

func seconds(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// specValues is the specification's clauses in their text form.
func specValues(spec query.Spec) url.Values {
	q := url.Values{}
	for _, c := range spec.Calculations {
		q.Add(paramVisualize, formatCalculation(c))
	}
	for _, f := range spec.Filters {
		q.Add(paramWhere, formatFilter(f))
	}
	for _, b := range spec.Breakdowns {
		q.Add(paramGroupBy, quoteColumn(b))
	}
	for _, o := range spec.Orders {
		q.Add(paramOrder, formatOrder(o))
	}
	for _, h := range spec.Havings {
		q.Add(paramHaving, formatHaving(h))
	}
	for _, f := range spec.CalculatedFields {
		q.Add(paramCalculated, formatCalculated(f))
	}
	if strings.EqualFold(spec.FilterCombination, "OR") {
		q.Set(paramMatch, "any")
	}
	if spec.Limit != nil {
		q.Set(paramLimit, strconv.Itoa(*spec.Limit))
	}
	if spec.Granularity != nil && *spec.Granularity > 0 {
		q.Set(paramGranularity, strconv.FormatInt(*spec.Granularity, 10))
	}
	if spec.Environment != "" && spec.Environment != "*" {
		q.Set(paramEnvironment, spec.Environment)
	}
	return q
}

func (st *exploreState) readClauses(q url.Values) {
	s := &st.Spec
	readClause(st, q, paramVisualize, parseCalculation, formatCalculation, &s.Calculations)
	readClause(st, q, paramWhere, parseFilter, formatFilter, &s.Filters)
	readClause(st, q, paramGroupBy, parseColumn, quoteColumn, &s.Breakdowns)
	readClause(st, q, paramOrder, parseOrder, formatOrder, &s.Orders)
	readClause(st, q, paramHaving, parseHaving, formatHaving, &s.Havings)
	readClause(st, q, paramCalculated, parseCalculated, formatCalculated, &s.CalculatedFields)
	readClause(st, q, paramSelect, parseFilter, formatFilter, &st.Select.Filters)
	for param, into := range map[string]**float64{paramSelectFrom: &st.Select.From, paramSelectTo: &st.Select.To} {
		if text := cleanText(q.Get(param)); text != "" {
			if at, err := parseMoment(text); err != nil {
				st.Clauses[param] = []clause{{Text: text, Error: err.Error()}}
			} else {
				sec := secondsOf(at)
				*into = &sec
				st.Clauses[param] = []clause{{Text: seconds(sec)}}
			}
		}
	}
	if q.Get(paramMatch) == "any" {
		s.FilterCombination = "OR"
	}
	if n := st.readNumber(q, paramLimit, "The limit is a whole number, at least 1."); n > 0 {
		limit := int(n)
		s.Limit = &limit
	}
	if n := st.readNumber(q, paramGranularity, "The bucket width is a whole number of seconds, at least 1."); n > 0 {
		s.Granularity = &n
	}
}

// readClause reads the clauses under one parameter, in their order; empty ones
// are passed over. A clause that cannot be read is kept as typed with its error.
func readClause[T any](st *exploreState, q url.Values, param string, parse func(string) (T, error), format func(T) string, into *[]T) {
	for _, text := range q[param] {
		text = cleanText(text)
		if text == "" || len(st.Clauses[param]) >= maxClauses {
			continue
		}
		c := clause{Text: text}
		if len(text) > maxClauseBytes {
			c = clause{Text: text[:64] + "…", Error: "This is too long."}
		} else if v, err := parse(text); err != nil {
			c.Error = err.Error()
		} else {
			c.Text = format(v)
			*into = append(*into, v)
		}
		st.Clauses[param] = append(st.Clauses[param], c)
	}
}

func (st *exploreState) readNumber(q url.Values, param, message string) int64 {
	text := cleanText(q.Get(param))
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	c := clause{Text: text}
	if err != nil || n < 1 {
		c.Error, n = message, 0
	}
	st.Clauses[param] = []clause{c}
	return n
}

func parseCalculated(s string) (query.CalculatedField, error) {
	name, rest, err := cutColumn(s, "=")
	expression, ok := strings.CutPrefix(rest, "=")
	if err == nil && (!ok || name == "" || strings.TrimSpace(expression) == "") {
		err = textError("Write a calculated field as name = expression.")
	}
	return query.CalculatedField{Name: name, Expression: strings.TrimSpace(expression)}, err
}

func formatCalculated(f query.CalculatedField) string {
	return quoteColumn(f.Name) + " = " + f.Expression
}

// cleanText trims a parameter and makes it valid UTF-8.
func cleanText(s string) string {
	return strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
}

// faulty reports whether something in the address cannot be read.
func (st *exploreState) faulty() bool {
	if st.Error != "" {
		return true
	}
	for _, cs := range st.Clauses {
		for _, c := range cs {
			if c.Error != "" {
				return true
			}
		}
	}
	return false
}

// values is the canonical address of the state.
func (st *exploreState) values() url.Values {
	q := url.Values{}
	for param, cs := range st.Clauses {
		if param == paramWindow {
			continue
		}
		for _, c := range cs {
			q.Add(param, c.Text)
		}
	}
	if st.Spec.FilterCombination == "OR" {
		q.Set(paramMatch, "any")
	}
	if st.Spec.Environment != "" {
		q.Set(paramEnvironment, st.Spec.Environment)
	}
	if len(st.Columns) > 0 {
		q[paramColumns] = st.Columns
	}
	if st.Tab != tabResults {
		q.Set(paramTab, st.Tab)
	}
	st.Window.values(q)
	return q
}

// bubbleUp is the comparison that the tab BubbleUp shows.
func (st *exploreState) bubbleUp() query.BubbleUp {
	b := query.BubbleUp{Query: st.bound(), SelectionFilters: st.Select.Filters}
	b.Query.Granularity = nil
	if st.Select.From != nil || st.Select.To != nil {
		b.Selection = &query.Box{StartTime: st.Select.From, EndTime: st.Select.To}
	}
	return b
}

// address is the page's address with some parameters changed.
func (st *exploreState) address(change func(url.Values)) string {
	q := st.values()
	if change != nil {
		change(q)
	}
	return "/explore?" + q.Encode()
}

// specJSON is the query as the API takes it, with the window made absolute.
func (st *exploreState) specJSON() string {
	spec := st.bound()
	spec.CalculatedFields = slices.DeleteFunc(slices.Clone(spec.CalculatedFields), func(f query.CalculatedField) bool { return st.implied[f.Name] })
	b, err := json.Marshal(spec)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// title names the query in a few words: "P99(duration_ms) by app.dealer_id".
func (st *exploreState) title() string {
	var names []string
	for _, c := range st.calculations() {
		names = append(names, c.Name())
	}
	title := strings.Join(names, ", ")
	if len(st.Spec.Breakdowns) > 0 {
		title += " by " + strings.Join(st.Spec.Breakdowns, ", ")
	}
	if r := []rune(title); len(r) > maxQueryTitle {
		title = string(r[:maxQueryTitle]) + "…"
	}
	return title
}

// maxQueryTitle keeps the name of a query on one line.
const maxQueryTitle = 80

// bound is the specification with the window's times.
func (st *exploreState) bound() query.Spec {
	s := st.Spec
	start, end := secondsOf(st.Window.From), secondsOf(st.Window.To)
	s.StartTime, s.EndTime = &start, &end
	return s
}

// fieldOf matches the field of a query.InvalidError, such as filters[1].op.
var fieldOf = regexp.MustCompile(`^([a-z_]+)(?:\[([0-9]+)\])?`)

// specParams maps the parts of a specification to the parameters of the address.
var specParams = map[string]string{
	"calculations": paramVisualize, "filters": paramWhere, "filter_combination": paramMatch, "breakdowns": paramGroupBy,
	"orders": paramOrder, "havings": paramHaving, "limit": paramLimit, "granularity": paramGranularity,
	"calculated_fields": paramCalculated, "selection_filters": paramSelect, "selection": paramSelectFrom, "time_range": paramWindow, "start_time": paramWindow, "end_time": paramWindow,
}

// refuse notes what the engine found wrong beside the clause it belongs to.
func (st *exploreState) refuse(e *query.InvalidError) {
	m := fieldOf.FindStringSubmatch(e.Field)
	if m == nil || specParams[m[1]] == "" {
		st.Error = e.Message
		return
	}
	param := specParams[m[1]]
	i, _ := strconv.Atoi(m[2])
	cs := st.Clauses[param]
	switch {
	case i < len(cs):
		cs[i].Error = e.Message
	case param == paramWindow:
		st.Clauses[param] = []clause{{Error: e.Message}}
	default:
		st.Error = e.Message
	}
}

// sentenceOf is an error as a person is told it.
func sentenceOf(err error) string {
	if e, ok := err.(*query.InvalidError); ok {
		return e.Message
	}
	return err.Error()
}
