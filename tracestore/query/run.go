package query

import (
	"context"
	"time"

	"redthread/tracestore/column"
)

// Plan is a compiled query: checked, typed and bound to a time window.
type Plan struct{ from, to int64 }

// SearchPlan is a compiled search.
type SearchPlan struct{ from, to int64 }

// Window is the plan's time window in Unix nanoseconds: from ≤ start < to.
// Blocks outside it need not be given to Run.
func (p *Plan) Window() (from, to int64) { return p.from, p.to }

// Window is as [Plan.Window].
func (p *SearchPlan) Window() (from, to int64) { return p.from, p.to }

// ParseSpec reads a specification from JSON. Errors are *[InvalidError].
func ParseSpec(data []byte) (Spec, error) { return Spec{}, errUnbuilt }

// Compile checks the specification. Errors are *[InvalidError].
func Compile(s Spec, now time.Time) (*Plan, error) { return nil, errUnbuilt }

// Run answers the plan from the blocks, which it reads in parallel.
func Run(ctx context.Context, p *Plan, blocks []column.Block) (*Result, error) {
	return nil, errUnbuilt
}

// CompileSearch checks the search. Errors are *[InvalidError].
func CompileSearch(s Search, now time.Time) (*SearchPlan, error) { return nil, errUnbuilt }

// RunSearch finds the rows of one page.
func RunSearch(ctx context.Context, p *SearchPlan, blocks []column.Block) (*SearchResult, error) {
	return nil, errUnbuilt
}

// Columns describes the columns of the blocks whose name begins with prefix,
// counting rows of the environment only (empty or *: all).
func Columns(ctx context.Context, blocks []column.Block, environment, prefix string) ([]ColumnInfo, error) {
	return nil, errUnbuilt
}
