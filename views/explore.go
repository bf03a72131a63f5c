package views

import (
	"time"

	"github.com/a-h/templ"
)

// Explore is the page that asks questions: the query as a form and its answer.
type Explore struct {
	Page   Page
	Form   ExploreForm
	Answer ExploreAnswer
	Pin    templ.Component // pins the query to an investigation; nil: not allowed
	// ShareURL is this view with its time range fixed, so that whoever opens it
	// later sees the same rows.
	ShareURL string
}

// ExploreForm is the query as inputs. It works without script: each clause is
// one text input, and one empty input waits behind the last.
type ExploreForm struct {
	Visualize, Where, GroupBy, Order, Having, Calculated ExploreClauses

	MatchAny    bool
	Limit       ExploreClause
	Granularity ExploreClause
	Automatic   string // the width of a bucket if none is given: "30 s"
	Window      ExploreWindow

	// Of the tab BubbleUp: what is compared with the rest.
	Select               ExploreClauses
	SelectFrom, SelectTo ExploreClause

	Environment string
	Tab         string
	RawColumns  []string
	Suggestions []string      // columns there are, for the inputs
	Operators   []string      // of calculations, in the order to offer them
	Functions   []string      // of calculated fields
	Error       string        // a fault of the whole query
	Examples    []ExploreLink // questions across traces, while none was asked yet
}

// ExploreClauses are the inputs under one parameter of the address.
type ExploreClauses struct {
	Param       string
	Name        string // "Filter", to name the inputs for those who hear them
	Placeholder string
	Clauses     []ExploreClause
}

// ExploreClause is one clause in its text form.
type ExploreClause struct {
	Text  string
	Error string
}

// ExploreWindow is the time range: Range, or From and To.
type ExploreWindow struct {
	Range    string // "1h"; "" if absolute
	From, To time.Time
	Error    string
}

// Label says the window in words.
func (w ExploreWindow) Label() string {
	if w.Range != "" {
		return "the last " + RangeLabel(w.Range)
	}
	return w.From.UTC().Format("2 Jan 2006 15:04:05") + " to " + w.To.UTC().Format("2 Jan 2006 15:04:05") + " UTC"
}

// RangeLabel writes "90m" as "90 min".
func RangeLabel(r string) string {
	if r == "" {
		return ""
	}
	number, unit := r[:len(r)-1], r[len(r)-1:]
	switch unit {
	case "s", "h":
		return number + " " + unit
	case "m":
		return number + " min"
	case "d":
		return countOf(number, "day")
	case "w":
		return countOf(number, "week")
	}
	return r + " s"
}

func countOf(number, noun string) string {
	if number == "1" {
		return number + " " + noun
	}
	return number + " " + noun + "s"
}

// ExploreAnswer is what the query gave.
type ExploreAnswer struct {
	Ran      bool // false: the query could not be run; the form says why
	Warnings []string
	Charts   []ExploreChart
	Markers  []MarkerRow // what happened in this time
	Tabs     []ExploreTab
	Results  *ExploreResults
	Traces   *ExploreTraces
	Raw      *ExploreRaw
	BubbleUp *ExploreBubbleUp
	Empty    *ExploreEmpty
	Foot     ExploreFoot
	JSONURL  string
	CSVURL   string
	Now      time.Time
}

// ExploreTab is one view of the answer.
type ExploreTab struct {
	Label, Count, URL string
	Current           bool
}

// ExploreFoot says what the answer cost.
type ExploreFoot struct {
	Scanned, Matched, Elapsed, Segments string
	Sampled                             bool
	Sample                              bool // not all rows were read
}

// ExploreResults is the table of groups.
type ExploreResults struct {
	Columns []ExploreColumn
	Rows    []ExploreRow
	Other   *ExploreRow // all groups beyond the limit together
	Total   *ExploreRow
}

// ExploreColumn heads a column of the results.
type ExploreColumn struct {
	Name    string
	Group   bool   // a GROUP BY column, else a calculation
	SortURL string // "" if it cannot be sorted
	Sorted  string // "ascending", "descending" or ""
}

// ExploreRow is one group.
type ExploreRow struct {
	Key       string // ties the row to its line in the charts
	Class     string // of the colour ring
	Cells     []ExploreCell
	TracesURL string // the traces of this group
	// CompareURL compares this group with the rest.
	CompareURL string
	Label      string // the group in words
}

// ExploreCell is one value. Column and Value are set where the value can be
// filtered by; Value is JSON.
type ExploreCell struct {
	Text    string
	Title   string // the exact value, if Text is shortened
	Missing bool   // the rows have no value there
	Number  bool
	Column  string
	Value   string
	Bars    string // path of a small histogram, 100 by 20
}

// ExploreTraces are the traces that have matching rows, newest first.
type ExploreTraces struct {
	Rows []ExploreTrace
	More bool // there are more than are shown
}

// ExploreTrace is one trace and the newest of its rows that match.
type ExploreTrace struct {
	URL, SpanURL, ThreadURL   string
	TraceID                   string
	RootService, RootName     string // "" while the root is not known
	Spans, Errors, Took       string // of the trace, "" if not known
	HasErrors                 bool
	Service, Name, Duration   string // of the matching row
	Error                     bool
	Start                     time.Time
	RootClass, MatchClassName string
}

// ExploreRaw are single rows with chosen columns.
type ExploreRaw struct {
	Columns []ExploreRawColumn
	Rows    []ExploreRawRow
	NextURL string
	AddName string // the name of the parameter of chosen columns
	Keep    []ExploreParam
}

// ExploreRawColumn heads a column of the raw rows.
type ExploreRawColumn struct {
	Name      string
	Number    bool   // every cell is a number
	RemoveURL string // "" if it is always there
}

// ExploreRawRow is one row.
type ExploreRawRow struct {
	URL, TraceID, SpanID string
	ThreadURL            string
	Start                time.Time
	Error                bool
	Cells                []ExploreCell
}

// ExploreParam is a parameter that a form carries along.
type ExploreParam struct{ Name, Value string }

// ExploreEmpty says that nothing matches and what may help.
type ExploreEmpty struct {
	NoData  bool // there is no row at all
	Window  string
	Newest  time.Time // the newest matching row at any time; zero: none
	Links   []ExploreLink
	Filters bool // filters are set
	Now     time.Time
}

// ExploreLink is a way on from an empty answer.
type ExploreLink struct{ Label, URL string }
