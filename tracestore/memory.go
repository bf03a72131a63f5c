package tracestore

import "redthread/tracestore/column"

// Options.MemoryBytes is shared out so that all of it together stays within the
// limit while everything happens at once. What the parts leave, a fifth, is for
// messages on their way through the log (at most maxUnapplied+2 of them, 1 MiB
// each, or 4 MiB for parts of large requests), the hashes of recent rows (8 MB),
// the buffers of a flush and a compaction, and the garbage between two collections.
const (
	// tableShare: the memtable that grows may take a sixth, and the frozen one
	// that is being written as much again. The writer waits while there are two.
	tableShare = 6
	// cacheShare: decoded columns that queries have read, and pages with rows of traces.
	cacheShare = 6
	// bodyShare: bodies that are being read, validated and logged. Beyond it
	// requests are refused with ErrOverloaded.
	bodyShare = 8
	// queryShare: groups and results of the queries that run, but no less than
	// minQueryBytes. Beyond it a query is refused with a query.BusyError.
	queryShare = 6
)

// chunkBytes is about what a full chunk of a memtable takes (333 bytes a row
// measured on spans of 29 attributes).
const chunkBytes = column.MaxBlockRows * 340

// full reports whether a memtable is to be written. It looks ahead: where the next
// message, with as many rows as the last, would begin a chunk that cannot be
// filled, the table ends with the one it has.
func (o *Options) full(t *table, lastRows int) bool {
	rows, limit := t.mem.Rows(), o.MemoryBytes/tableShare
	if rows >= o.FlushRows || t.raw >= o.FlushBytes || t.mem.Bytes() >= limit {
		return true
	}
	if in := rows % column.MaxBlockRows; rows == 0 || in != 0 && in+lastRows <= column.MaxBlockRows {
		return false
	}
	return rows+column.MaxBlockRows > o.FlushRows || t.mem.Measure()+chunkBytes > limit
}
