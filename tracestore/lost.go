package tracestore

import "fmt"

// noteLost remembers what a segment that was set aside held.
func (s *Store) noteLost(r segmentRecord) {
	s.status.Lock()
	defer s.status.Unlock()
	s.lost[r.Path] = r
}

// LostRows is how many rows were in segments that were set aside because they are
// damaged, and how many files those are.
func (s *Store) LostRows() (files, rows int) {
	s.status.Lock()
	defer s.status.Unlock()
	for _, r := range s.lost {
		files++
		rows += r.Rows
	}
	return files, rows
}

// lostRows warns of segments that were set aside and hold rows which may start in
// from ≤ start < to: an answer without them must not look whole. Nil: there are
// none.
func (s *Store) lostRows(from, to int64) []string {
	s.status.Lock()
	defer s.status.Unlock()
	files, rows := 0, 0
	for _, r := range s.lost {
		if r.MaxStart >= from && r.MinStart < to {
			files++
			rows += r.Rows
		}
	}
	switch files {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("A file with %d rows is damaged and set aside: rows of this time range may be missing. Settings → Storage names it.", rows)}
	}
	return []string{fmt.Sprintf("%d files with %d rows are damaged and set aside: rows of this time range may be missing. Settings → Storage names them.", files, rows)}
}
