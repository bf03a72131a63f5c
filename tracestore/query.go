package tracestore

import (
	"context"
	"errors"

	"redthread/tracestore/query"
)

// Query runs a query over the rows in its time range.
func (s *Store) Query(ctx context.Context, spec query.Spec) (*query.Result, error) {
	return nil, errors.ErrUnsupported
}
