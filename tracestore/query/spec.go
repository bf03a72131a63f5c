// Package query turns a query specification into a typed plan and runs it over
// blocks of columns.
//
// [ParseSpec] reads the JSON, [Compile] checks it and binds it to a time window,
// [Run] answers it. A run leaves out the blocks of which their statistics say that
// no row matches (prune.go) and reads the others on as many goroutines as there are
// processors, in turns with other queries (pool.go). Of each block the filters make
// a selection bitmap, testing a dictionary value once (select.go). Then, in chunks
// of some thousand rows, breakdown values become group numbers (encode.go, group.go)
// and numbers, weights and hashes are added to accumulators that are slices by
// group number (scan.go, aggregate.go), one for each time bucket if there is a
// series. Where the groups turn out to be many, percentiles, distinct counts and the
// series wait for a second reading of the blocks, when it is known which groups are
// in the answer (run.go). At the end the goroutines' groups are merged by value,
// ordered and rendered (result.go).
//
// # What a query means
//
// The scripts in testdata are the specification; every backend has to pass them.
// In short:
//
//   - A row belongs to a query if its start lies in the window, start ≤ t < end,
//     its environment is the one asked for, and it passes all filters (or one of
//     them). Log records are left out unless a filter names meta.signal.
//   - Values are equal if their canonical text is ([trace.Value.Text]): "500",
//     500 and 500.0 are one value and one group, shown as the number.
//   - Order compares numbers, and texts that read as numbers, with a number;
//     other texts, byte by byte, with a text; nothing else.
//   - A row without a value passes the negative operators and is the group null.
//   - SUM, AVG, MIN, MAX, percentiles and HEATMAP use the finite numbers only;
//     percentiles are the nearest rank, exact for up to 512 numbers and within
//     0.8 % beyond; COUNT_DISTINCT is exact up to 100,000.
//   - A RATE is the difference of a sum, average or maximum to that of the time
//     bucket before that has one; its result is the change from the first such
//     bucket to the last. CONCURRENCY is how many spans ran at once, on average
//     over the part of the bucket, or of the result, that lies in the window; of
//     spans that start in the window.
//   - A row weighs as much as its sample rate says in all of them but
//     COUNT_DISTINCT, MIN and MAX.
//   - Names that OpenTelemetry has replaced are found under either (alias.go).
//   - An attribute whose key is the name of something else, such as name, error or
//     duration_ms, is the column attr.name ([column.NameOf]).
//   - Columns can be calculated from others ([CalculatedField]). Statistics say
//     nothing of them, so no block is left out because of one.
//
// # Columns of other spans
//
// A column may begin with a scope: then it is that of another span than the row,
// whenever that span was stored, inside the window or not. Before the blocks are
// counted, the rows that the other filters keep are read for their traces; what is
// asked of the spans around them is looked up all at once (scope_resolve.go,
// scope_threads.go), and each block's rows take it over as a dictionary column
// (scope_vector.go). testdata/scopes.txt and threads.txt have examples.
//
//   - root. is the root of the row's trace: the span without a parent, the earliest
//     of several. parent. is the row's parent; of two spans that share its id
//     (Zipkin), the callee's half. A row without one has no value.
//   - any., any2., any3., none. and child. stand in filters only. The filters of one
//     of them are met by one span together: any. by some span of the trace, which
//     may be the row; none. by none; child. by a span right below the row. any2. and
//     any3. ask the same as any. once more, of the same span or another. Of an OR
//     each filter stands for itself. Only spans count, and log records if a filter
//     of the scope names meta.signal; those of other environments count too.
//   - origin. is the span that began the chain which led to the row, across any
//     number of traces ([redthread/tracestore/graph]); of a row that nothing caused
//     its own root. cause. is the span on the other side of the last hop: the
//     producer of the message, the enqueuer of the job, the client of the request,
//     in another trace or in the row's. Rows of one trace may have different ones,
//     as those of a batch of messages do.
//   - Where the origin is ambiguous, a column has the value that all candidates have,
//     if there are 64 at most: of a batch of messages of one endpoint the endpoint is
//     known, and the request is not. Where the origin is unknown, and where several
//     spans are the cause, there is no value. A warning counts the rows of each reason: the
//     rows that were looked at, before filters on other spans. Of an origin whose spans
//     are gone the edge index keeps service, name, route, time and the attributes
//     that the settings name; the others have no value, and a warning counts
//     the rows. What arrives late is seen by the next query: nothing is cached.
//   - ripple. measures the thread that the row began ([RippleColumns], each as
//     [graph.Ripple] defines it); a row that began none has no value. What may be of
//     several threads counts for each, and a warning counts those threads.
//   - A scope stands once: root.origin.name is nothing. A calculated field may
//     read scoped columns, or stand behind a scope itself, but not both.
//     parent.trace_id is an attribute that honeykiq sends, and is no scope.
package query

// Spec is a query as people and the API write it: Honeycomb's query
// specification, plus environment. Times are seconds since the Unix epoch.
type Spec struct {
	Calculations      []Calculation     `json:"calculations,omitempty"`
	Filters           []Filter          `json:"filters,omitempty"`
	FilterCombination string            `json:"filter_combination,omitempty"` // AND (default) or OR
	Breakdowns        []string          `json:"breakdowns,omitempty"`
	Orders            []Order           `json:"orders,omitempty"`
	Havings           []Having          `json:"havings,omitempty"`
	Limit             *int              `json:"limit,omitempty"`
	Granularity       *int64            `json:"granularity,omitempty"` // seconds; 0: automatic; absent: no series
	TimeRange         *float64          `json:"time_range,omitempty"`  // seconds
	StartTime         *float64          `json:"start_time,omitempty"`
	EndTime           *float64          `json:"end_time,omitempty"`
	CalculatedFields  []CalculatedField `json:"calculated_fields,omitempty"`
	Environment       string            `json:"environment,omitempty"` // empty or *: all
}

// Calculation is one aggregate: COUNT, or an operator over a column.
type Calculation struct {
	Op     string `json:"op"`
	Column string `json:"column,omitempty"`
}

// Name is the result's key: COUNT, or OP(column).
func (c Calculation) Name() string {
	if c.Column == "" {
		return c.Op
	}
	return c.Op + "(" + c.Column + ")"
}

// Filter keeps the rows whose column stands in the relation op to value.
type Filter struct {
	Column string `json:"column"`
	Op     string `json:"op"`
	Value  any    `json:"value,omitempty"`
}

// Order sorts the groups by a calculation or by a breakdown.
type Order struct {
	Op     string `json:"op,omitempty"`
	Column string `json:"column,omitempty"`
	Order  string `json:"order,omitempty"` // ascending (default) or descending
}

// Having keeps the groups whose calculation stands in the relation op to value.
type Having struct {
	CalculateOp string  `json:"calculate_op"`
	Column      string  `json:"column,omitempty"`
	Op          string  `json:"op"`
	Value       float64 `json:"value"`
}

// CalculatedField is a column made from others by an expression. It can stand
// wherever a column can, later calculated fields included, and is worked out for
// the rows that are looked at only: once for each value of a dictionary if it reads
// one column, else once for each row (calc_eval.go).
//
// # Expressions
//
// The language is Honeycomb's (docs.honeycomb.io/reference/calculated-field-formula,
// its grammar in calc_lex.go and calc_parse.go, its functions in calc_func.go);
// testdata/calculated.txt has every function. What a person should know:
//
//   - A value is a number (an integer as long as that is exact, else a float), a
//     text, a bool or null. Bytes, lists and maps are their canonical text.
//   - $name is a column; a name with other characters than letters, digits and
//     _ . / : = + ? - stands in quotes. So "$a-1" is a column, "$a - 1" is not.
//   - EQUALS, IN, SWITCH, = and != know types: 500 is not "500". Null is equal to
//     null. LT, LTE, GT, GTE are false but for two numbers or two texts.
//   - SUM, SUB, MUL, DIV, MOD, LOG10, INT and FLOAT read texts as numbers; null and
//     whatever else is no number is 0 to them. Dividing by 0 is null, so is LOG10 of
//     what is not above 0.
//   - true, the text "true" and numbers but 0 hold as conditions. IF and SWITCH
//     without a match are null, and COALESCE skips null and the empty text.
//   - CONTAINS and the like are false, TO_LOWER and the like null, for what is no
//     text. CONCAT and STRING take anything, null as the empty text.
//   - REG_VALUE is the first group, or the match of an expression without groups, and
//     null if there is none. Regular expressions are Go's and look at the first
//     64 KiB of a text.
//   - BUCKET has its lower bound and not its upper one, but for the last below a
//     greatest bound.
type CalculatedField struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// Result answers a query (DESIGN.md §8). The series has a point for every group
// of the results and time bucket that has rows, by time and then in the order of
// the results; buckets without rows are left out, unless CONCURRENCY is asked for
// and a span ran on into them.
type Result struct {
	Results  []Group  `json:"results"`
	Series   []Point  `json:"series,omitzero"` // only if granularity is present
	Other    *Group   `json:"other"`           // the groups beyond the limit, null if none
	Total    *Group   `json:"total"`           // all matching rows as one group
	Warnings []string `json:"warnings"`
	Stats    Stats    `json:"stats"`
}

// Group is one row of the answer: breakdown values and calculations by name. A
// breakdown is a [trace.Value], a calculation a float64, a HEATMAP a []Bucket; a
// missing value, and a calculation without numbers, is nil.
type Group struct {
	Data map[string]any `json:"data"`
}

// Point is one group in one time bucket.
type Point struct {
	Time string         `json:"time"` // RFC 3339, the bucket's begin
	Data map[string]any `json:"data"`
}

// Bucket is one cell of a HEATMAP: min ≤ value < max.
type Bucket struct {
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Count float64 `json:"count"`
}

// Stats says what a query cost. Sampled: some matching row stands for more than
// itself, so the counts are estimates of what happened.
type Stats struct {
	RowsScanned int64 `json:"rows_scanned"` // of the blocks that were read: others are left out by their statistics
	RowsMatched int64 `json:"rows_matched"` // of the rows scanned
	Segments    int   `json:"segments"`     // of which a block was read
	ElapsedNano int64 `json:"elapsed_nano,string"`
	Sampled     bool  `json:"sampled"`
}
