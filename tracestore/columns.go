package tracestore

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
)

// An answer of Columns is kept if it took so long to make, and then for so long.
const (
	slowColumns = 20 * time.Millisecond
	keepColumns = 10 * time.Second
)

// maxKeptColumns bounds the environments whose columns are kept.
const maxKeptColumns = 16

// columnsCache keeps the columns of environments for a short while.
type columnsCache struct {
	mu   sync.Mutex
	kept map[string]keptColumns // by environment
}

type keptColumns struct {
	columns []query.ColumnInfo
	until   time.Time
}

// Columns describes the columns, whose name begins with prefix, of the rows of an
// environment (empty or *: all), sorted by name. It may be a few seconds old.
func (s *Store) Columns(ctx context.Context, environment, prefix string) ([]query.ColumnInfo, error) {
	if environment == "*" {
		environment = ""
	}
	s.columns.mu.Lock()
	kept, ok := s.columns.kept[environment]
	s.columns.mu.Unlock()
	if now := s.o.Now(); ok && now.Before(kept.until) {
		return withPrefix(kept.columns, prefix), nil
	}
	started := time.Now()
	out, err := read(ctx, s, math.MinInt64, math.MaxInt64, func(blocks []column.Block, _ int) ([]query.ColumnInfo, error) {
		return query.Columns(ctx, blocks, environment, prefix)
	})
	if err != nil || prefix != "" || time.Since(started) < slowColumns {
		return out, err
	}
	s.columns.mu.Lock()
	defer s.columns.mu.Unlock()
	if s.columns.kept == nil || len(s.columns.kept) >= maxKeptColumns {
		s.columns.kept = make(map[string]keptColumns)
	}
	s.columns.kept[environment] = keptColumns{out, s.o.Now().Add(keepColumns)}
	return out, nil
}

// withPrefix returns the columns, sorted by name, whose name begins with prefix.
func withPrefix(all []query.ColumnInfo, prefix string) []query.ColumnInfo {
	out := slices.Clone(all)
	return slices.DeleteFunc(out, func(c query.ColumnInfo) bool { return !strings.HasPrefix(c.Name, prefix) })
}
