package segment

import (
	"container/list"
	"sync"
	"sync/atomic"

	"redthread/tracestore/column"
)

// Cache keeps decoded columns, and pages of those of which single rows were read, within
// a limit of bytes. Those that were asked for
// once go first, the oldest before the others: a scan over more than the cache
// holds pushes out its own columns and not those in daily use. It is shared by all
// segments of a store and may be used by several goroutines at once.
type Cache struct {
	limit int64

	mu        sync.Mutex
	bytes     int64
	keptBytes int64
	once      *list.List // of *cacheEntry, newest in front
	kept      *list.List // asked for again, at most keptPercent of the limit
	byKey     map[cacheKey]*list.Element

	hits, misses atomic.Int64
}

// cacheKey names a decoded column: its segment, row group and name there.
type cacheKey struct {
	file  uint64
	group int
	part  part
	name  string
	at    int64 // of a page: where in the file
}

// part is a sort of thing that a row group has by name. Names are the senders':
// those of two parts may be equal.
type part uint8

const (
	partColumn   part = iota // *column.Vector, by the column's name
	partRare                 // *column.Vector, by the name of a key in the overflow
	partHead                 // *parquet.Head, by the leaf's number
	partOverflow             // *rare
	partEvents               // *column.Events
	partLinks                // *column.Links
	partRecord               // *columnRecord of the sidecar, by number
	partEdges                // a block of a run of edges, by number
	partPage                 // *parquet.Page, by where it begins
)

type cacheEntry struct {
	key   cacheKey
	value any
	bytes int64
	kept  bool
}

// keptPercent is the share of a cache for what was asked for more than once: the
// rest is room for what is new to be asked for again.
const keptPercent = 75

// NewCache returns a cache of at most limit bytes.
func NewCache(limit int64) *Cache {
	return &Cache{limit: limit, once: list.New(), kept: list.New(), byKey: make(map[cacheKey]*list.Element)}
}

// get returns the cached value or makes it. Two goroutines may make the same
// value at once; one of them is kept.
func (c *Cache) get(key cacheKey, load func() (value any, bytes int64, err error)) (any, error) {
	c.mu.Lock()
	if e, ok := c.byKey[key]; ok {
		c.use(e)
		c.mu.Unlock()
		c.hits.Add(1)
		return e.Value.(*cacheEntry).value, nil
	}
	c.mu.Unlock()
	c.misses.Add(1)
	value, bytes, err := load()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok || bytes > c.limit {
		return value, nil
	}
	c.byKey[key] = c.once.PushFront(&cacheEntry{key: key, value: value, bytes: bytes})
	c.bytes += bytes
	for c.bytes > c.limit {
		if oldest := c.once.Back(); oldest != nil {
			c.remove(oldest)
		} else {
			c.remove(c.kept.Back())
		}
	}
	return value, nil
}

// use notes that an entry was asked for again.
func (c *Cache) use(e *list.Element) {
	entry := e.Value.(*cacheEntry)
	if entry.kept {
		c.kept.MoveToFront(e)
		return
	}
	c.once.Remove(e)
	entry.kept = true
	c.byKey[entry.key] = c.kept.PushFront(entry)
	c.keptBytes += entry.bytes
	for c.keptBytes > c.limit/100*keptPercent && c.kept.Len() > 1 {
		oldest := c.kept.Remove(c.kept.Back()).(*cacheEntry)
		oldest.kept = false
		c.keptBytes -= oldest.bytes
		c.byKey[oldest.key] = c.once.PushFront(oldest)
	}
}

// peek returns the cached value if there is one.
func (c *Cache) peek(key cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	value := e.Value.(*cacheEntry).value
	c.use(e)
	return value, true
}

func (c *Cache) remove(e *list.Element) {
	entry := e.Value.(*cacheEntry)
	if entry.kept {
		c.kept.Remove(e)
		c.keptBytes -= entry.bytes
	} else {
		c.once.Remove(e)
	}
	delete(c.byKey, entry.key)
	c.bytes -= entry.bytes
}

// forget drops everything of a file.
func (c *Cache) forget(file uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.byKey {
		if key.file == file {
			c.remove(e)
		}
	}
}

// CacheStats are a cache's counters.
type CacheStats struct {
	Bytes                  int64
	HitsTotal, MissesTotal int64
}

// Stats returns the counters.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{Bytes: c.bytes, HitsTotal: c.hits.Load(), MissesTotal: c.misses.Load()}
}

// entryBytes is the overhead counted for an entry, also an empty one.
const entryBytes = 256

func vectorBytes(v *column.Vector) int64 {
	if v == nil {
		return entryBytes
	}
	return entryBytes + 8*int64(len(v.Present)+len(v.Ints)+len(v.Floats)) + 4*int64(len(v.IDs)+cap(v.Dict.Ends)) +
		int64(cap(v.Dict.Arena)+len(v.Fixed))
}
