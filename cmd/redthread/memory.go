package main

import (
	"os"
	"runtime/debug"
)

const (
	// outsideGo is the memory that Go's limit does not count: the resident pages
	// of the program itself (41 MB after the start), SQLite's, mapped files.
	outsideGo = 48 << 20
	// collectAt is the growth of the heap, in percent, at which garbage is
	// collected. What the store holds is mostly free of pointers, so a collection
	// is cheap (1 % of the CPU of a full ingest at 50) and the heap may stay small.
	collectAt = 50
)

// limitMemory keeps the process within --memory. GOGC in the environment wins over
// our own figure.
func limitMemory(bytes int64) {
	debug.SetMemoryLimit(max(bytes-outsideGo, bytes/2))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
