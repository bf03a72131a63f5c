package tracestore

import (
	"context"
	"errors"
	"fmt"
)

// Check reads the catalogue and every file it lists, and returns one error that
// joins all faults found, nil if there are none. Files that turn out corrupt are
// set aside, as a query would do; those that were before are faults too.
func (s *Store) Check(ctx context.Context) error {
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.release()
	var faults []error
	for _, f := range s.Stats().CorruptFiles {
		faults = append(faults, fmt.Errorf("tracestore: set aside: %s", f))
	}
	if err := s.cat.check(ctx); err != nil {
		faults = append(faults, fmt.Errorf("tracestore: catalogue: %w", err))
	}
	for _, f := range v.segments {
		if err := f.file.Verify(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.setAsideSegment(f, err)
			faults = append(faults, fmt.Errorf("tracestore: %s: %w", f.Path, err))
		}
	}
	for _, f := range v.runs {
		if err := f.file.Verify(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.setAsideEdges(f, err)
			faults = append(faults, fmt.Errorf("tracestore: %s: %w", f.Path, err))
		}
	}
	return errors.Join(faults...)
}
