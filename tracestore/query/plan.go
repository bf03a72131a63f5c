package query

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/column"
)

// Limits of a specification, those of Honeycomb's.
const (
	DefaultLimit     = 100
	MaxLimit         = 1_000  // groups, with a series
	MaxLimitNoSeries = 10_000 // groups, without
	maxParts         = 100    // calculations, breakdowns, orders, havings

	defaultRangeSeconds = 7_200
	maxBuckets          = 1_000 // time buckets of a series
	autoBuckets         = 120   // at most, when granularity is automatic
)

// DefaultMemoryBytes bounds what one query may hold, unless its plan says
// otherwise.
const DefaultMemoryBytes = 512 << 20

type opKind uint8

const (
	opCount opKind = iota
	opDistinct
	opSum
	opAvg
	opMin
	opMax
	opQuantile
	opHeatmap
	opRateSum
	opRateAvg
	opRateMax
	opConcurrency
)

type operator struct {
	kind     opKind
	quantile float64
}

// operators are Honeycomb's event operators by name.
var operators = map[string]operator{
	"COUNT":          {kind: opCount},
	"COUNT_DISTINCT": {kind: opDistinct},
	"SUM":            {kind: opSum},
	"AVG":            {kind: opAvg},
	"MIN":            {kind: opMin},
	"MAX":            {kind: opMax},
	"P001":           {opQuantile, 0.001},
	"P01":            {opQuantile, 0.01},
	"P05":            {opQuantile, 0.05},
	"P10":            {opQuantile, 0.10},
	"P20":            {opQuantile, 0.20},
	"P25":            {opQuantile, 0.25},
	"P50":            {opQuantile, 0.50},
	"P75":            {opQuantile, 0.75},
	"P80":            {opQuantile, 0.80},
	"P90":            {opQuantile, 0.90},
	"P95":            {opQuantile, 0.95},
	"P99":            {opQuantile, 0.99},
	"P999":           {opQuantile, 0.999},
	"HEATMAP":        {kind: opHeatmap},
	"CONCURRENCY":    {kind: opConcurrency},
	"RATE_AVG":       {kind: opRateAvg},
	"RATE_SUM":       {kind: opRateSum},
	"RATE_MAX":       {kind: opRateMax},
}

// Operators lists the calculation operators that a query may use, in the order
// to offer them.
var Operators = []string{"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX", "P50", "P75", "P90", "P95", "P99", "P999",
	"HEATMAP", "CONCURRENCY", "RATE_SUM", "RATE_AVG", "RATE_MAX", "P001", "P01", "P05", "P10", "P20", "P25", "P80"}

// Plan is a compiled query: checked, typed and bound to a time window. It may
// be run any number of times and at once.
type Plan struct {
	// MemoryBytes bounds what a run may hold; a query that needs more ends with
	// an [InvalidError] that says so. Compile sets DefaultMemoryBytes. With a Lease
	// the pool's limits hold instead.
	MemoryBytes int64
	// Lease is the plan's place in a [Pool], for one run; nil: none.
	Lease *Lease
	// Threads knows what caused the rows; nil: nobody does.
	Threads Threads

	where        where
	calculations []Calculation
	ops          []operator // of the calculations
	accumulators []int      // by calculation: where its numbers lie in the layout
	layout       layout
	breakdowns   []string
	orders       []order
	havings      []having
	limit        int

	heavyCells int // cells beyond which a run leaves heavy calculations for later

	series    bool
	stepNano  int64 // width of a time bucket
	firstNano int64 // begin of the first bucket, a multiple of stepNano
	buckets   int   // also without a series, if a calculation goes by time
}

type order struct {
	calculation int // position in calculations, or -1
	breakdown   int // position in breakdowns
	descending  bool
}

type having struct {
	calculation int
	holds       func(int) bool
	value       float64
}

// Window is the plan's time window in Unix nanoseconds: from ≤ start < to.
// Blocks outside it need not be given to [Run], unless the plan looks around.
func (p *Plan) Window() (from, to int64) { return p.where.from, p.where.to }

// LooksAround reports whether the plan looks at other spans than its rows: then
// [Run] needs the blocks of all of time.
func (p *Plan) LooksAround() bool { return p.where.looksAround() }

// StepNano is the width of a time bucket of the series, 0 without a series.
// Buckets begin at its multiples.
func (p *Plan) StepNano() int64 { return p.stepNano }

// Compile checks the specification and binds it to now. Errors are
// *[InvalidError].
func Compile(s Spec, now time.Time) (*Plan, error) {
	p := &Plan{MemoryBytes: DefaultMemoryBytes, heavyCells: maxHeavyCells}
	err := p.where.compile(s.Filters, s.FilterCombination, s.Environment, s.CalculatedFields)
	if err == nil {
		p.where.from, p.where.to, err = window(s.TimeRange, s.StartTime, s.EndTime, now)
	}
	for _, step := range []func(*Spec) error{p.compileBreakdowns, p.compileCalculations, p.compileOrders, p.compileHavings, p.compileSeries, p.compileLimit} {
		if err == nil {
			err = step(&s)
		}
	}
	if err == nil {
		err = p.where.look(p.columns())
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (q *where) compile(filters []Filter, combination, environment string, fields []CalculatedField) error {
	var err error
	if q.fields, err = compileFields(fields); err != nil {
		return err
	}
	list, err := compileFilters(filters, "filters")
	if err != nil {
		return err
	}
	switch strings.ToUpper(combination) {
	case "", "AND":
	case "OR":
		q.or = true
	default:
		return &InvalidError{"filter_combination", fmt.Sprintf("Want AND or OR, got %q.", combination)}
	}
	q.filters = q.bind(list, q.or)
	if environment != "*" {
		q.environment = environment
	}
	q.anySignal = slices.Contains(q.fields.reads(q.columns()), column.Signal)
	return nil
}

// window turns the three times of a specification into nanoseconds.
func window(rangeSec, startSec, endSec *float64, now time.Time) (from, to int64, err error) {
	if rangeSec != nil && startSec != nil && endSec != nil {
		return 0, 0, &InvalidError{"time_range", "Give two of time_range, start_time and end_time, not all three."}
	}
	span := int64(defaultRangeSeconds * 1e9)
	if rangeSec != nil {
		if !(*rangeSec > 0) {
			return 0, 0, &InvalidError{"time_range", "Want more than 0 seconds."}
		}
		span = nanos(*rangeSec)
	}
	switch {
	case startSec != nil && endSec != nil:
		from, to = nanos(*startSec), nanos(*endSec)
	case startSec != nil && rangeSec != nil:
		from = nanos(*startSec)
		to = from + span
	case startSec != nil:
		from, to = nanos(*startSec), now.UnixNano()
	case endSec != nil:
		to = nanos(*endSec)
		from = to - span
	default:
		to = now.UnixNano()
		from = to - span
	}
	if from >= to {
		return 0, 0, &InvalidError{"start_time", "The start must be before the end."}
	}
	return from, to, nil
}

// nanos turns seconds into nanoseconds. A float64 near today's epoch resolves
// 0.24 µs, so whole microseconds come back as they were written.
func nanos(sec float64) int64 {
	us := math.Round(sec * 1e6)
	return int64(min(max(us, -maxMicros), maxMicros)) * 1000
}

// maxMicros keeps times within 146 years of the epoch, so that their sums and
// differences do not overflow.
const maxMicros = 1 << 62 / 1000

// All of time.
const minTime, maxTime = math.MinInt64, math.MaxInt64

func tooMany(field string, n int) error {
	if n > maxParts {
		return &InvalidError{field, fmt.Sprintf("At most %d.", maxParts)}
	}
	return nil
}

func (p *Plan) compileBreakdowns(s *Spec) error {
	for i, name := range s.Breakdowns {
		if err := checkColumn(fmt.Sprintf("breakdowns[%d]", i), name); err != nil {
			return err
		}
		if !slices.Contains(p.breakdowns, name) {
			p.breakdowns = append(p.breakdowns, name)
		}
	}
	return tooMany("breakdowns", len(s.Breakdowns))
}

func (p *Plan) compileCalculations(s *Spec) error {
	list := s.Calculations
	if len(list) == 0 {
		list = []Calculation{{Op: "COUNT"}}
	}
	for i, c := range list {
		field := fmt.Sprintf("calculations[%d]", i)
		if err := checkCalculation(c, field, "op"); err != nil {
			return err
		}
		if slices.Contains(p.breakdowns, c.Name()) {
			return &InvalidError{field, fmt.Sprintf("The breakdown %q has the same name as this calculation.", c.Name())}
		}
		if !slices.Contains(p.calculations, c) {
			p.calculations = append(p.calculations, c)
			p.ops = append(p.ops, operators[c.Op])
			p.accumulators = append(p.accumulators, p.layout.need(c))
		}
	}
	return tooMany("calculations", len(s.Calculations))
}

func checkCalculation(c Calculation, field, opField string) error {
	op, ok := operators[c.Op]
	switch {
	case !ok:
		known := slices.Sorted(maps.Keys(operators))
		return &InvalidError{field + "." + opField, fmt.Sprintf("Unknown operator %q. Use one of %s.", c.Op, strings.Join(known, ", "))}
	case op.kind == opCount && c.Column != "":
		return &InvalidError{field + ".column", "COUNT counts rows and takes no column. To count the rows that have one, filter with exists."}
	case op.kind == opConcurrency && c.Column != "":
		return &InvalidError{field + ".column", "CONCURRENCY counts running spans and takes no column."}
	case op.kind == opCount, op.kind == opConcurrency:
		return nil
	case c.Column == "":
		return &InvalidError{field + ".column", c.Op + " needs a column."}
	}
	return checkColumn(field+".column", c.Column)
}

func (p *Plan) compileOrders(s *Spec) error {
	for i, o := range s.Orders {
		field := fmt.Sprintf("orders[%d]", i)
		c := order{calculation: -1}
		switch o.Order {
		case "", "ascending":
		case "descending":
			c.descending = true
		default:
			return &InvalidError{field + ".order", fmt.Sprintf("Want ascending or descending, got %q.", o.Order)}
		}
		if o.Op == "" {
			if c.breakdown = slices.Index(p.breakdowns, o.Column); c.breakdown < 0 {
				return &InvalidError{field + ".column", fmt.Sprintf("Order by a breakdown or a calculation of this query; %q is neither.", o.Column)}
			}
			p.orders = append(p.orders, c)
			continue
		}
		var err error
		if c.calculation, err = p.selected(Calculation{o.Op, o.Column}, field, "op"); err != nil {
			return err
		}
		p.orders = append(p.orders, c)
	}
	if len(s.Orders) == 0 { // the largest first, by the first calculation that has an order
		for i, c := range p.calculations {
			if operators[c.Op].kind != opHeatmap {
				p.orders = []order{{calculation: i, descending: true}}
				break
			}
		}
	}
	return tooMany("orders", len(s.Orders))
}

// selected finds a calculation of this query that can be compared.
func (p *Plan) selected(c Calculation, field, opField string) (int, error) {
	if err := checkCalculation(c, field, opField); err != nil {
		return 0, err
	}
	if operators[c.Op].kind == opHeatmap {
		return 0, &InvalidError{field + "." + opField, "A HEATMAP has no order."}
	}
	i := slices.Index(p.calculations, c)
	if i < 0 {
		return 0, &InvalidError{field, fmt.Sprintf("%s is not among the calculations of this query.", c.Name())}
	}
	return i, nil
}

func (p *Plan) compileHavings(s *Spec) error {
	for i, h := range s.Havings {
		field := fmt.Sprintf("havings[%d]", i)
		c, err := p.selected(Calculation{h.CalculateOp, h.Column}, field, "calculate_op")
		if err != nil {
			return err
		}
		switch h.Op {
		case "=", "!=", ">", ">=", "<", "<=":
		default:
			return &InvalidError{field + ".op", fmt.Sprintf("Unknown operator %q. Use one of =, !=, >, >=, <, <=.", h.Op)}
		}
		p.havings = append(p.havings, having{c, relation(h.Op), h.Value})
	}
	return tooMany("havings", len(s.Havings))
}

// steps are the widths, in seconds, that automatic granularity chooses from.
var steps = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
	86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400}

func (p *Plan) compileSeries(s *Spec) error {
	p.series = s.Granularity != nil
	if !p.series && len(p.layout.ends) == 0 {
		return nil
	}
	seconds := (float64(p.where.to) - float64(p.where.from)) / 1e9
	step := int64(0)
	if p.series {
		step = *s.Granularity
	}
	switch {
	case step < 0 || step > math.MaxInt64/1_000_000_000:
		return &InvalidError{"granularity", "Want a number of seconds, or 0 for automatic."}
	case step == 0:
		const day = 86400
		step = day * int64(math.Ceil(seconds/autoBuckets/day))
		for _, nice := range steps {
			if float64(nice)*autoBuckets >= seconds {
				step = nice
				break
			}
		}
	case float64(step)*maxBuckets < seconds:
		return &InvalidError{"granularity", fmt.Sprintf("This is finer than a %dth of the time range; use at least %d seconds, or 0 for automatic.",
			maxBuckets, int64(math.Ceil(seconds/maxBuckets)))}
	}
	p.stepNano = step * 1e9
	p.firstNano = floorTo(p.where.from, p.stepNano)
	p.buckets = int((uint64(p.where.to)-uint64(p.firstNano)-1)/uint64(p.stepNano)) + 1
	return nil
}

// floorTo is the greatest multiple of step that is not above t.
func floorTo(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

func (p *Plan) compileLimit(s *Spec) error {
	p.limit = DefaultLimit
	if s.Limit == nil {
		return nil
	}
	most := MaxLimitNoSeries
	if p.series {
		most = MaxLimit
	}
	if *s.Limit < 1 || *s.Limit > most {
		return &InvalidError{"limit", fmt.Sprintf("Want 1 to %d (%d with a series).", MaxLimitNoSeries, MaxLimit)}
	}
	p.limit = *s.Limit
	return nil
}

// columns lists every column that the plan names, each once.
func (p *Plan) columns() []string {
	names := append(p.where.columns(), p.breakdowns...)
	for _, c := range p.calculations {
		if c.Column != "" {
			names = append(names, c.Column)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
