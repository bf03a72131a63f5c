package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/column"
)

// Effort is how much work is put into small files.
type Effort int

// Fast is for the path that ingest waits for, Thorough for work in the background.
const (
	Fast Effort = iota
	Thorough
)

const (
	magic = "PAR1"
	// pageBytes is about the size of a data page before compression.
	pageBytes = 16 << 10
	// frameBytes is about the size of a zstd frame of a dictionary.
	frameBytes = 16 << 10
	// maxDictionaryBytes is the size from which a dictionary is not worth a read
	// of its own, and long values are written plain.
	maxDictionaryBytes = 8 << 20
	// maxDictionaryNumbers: numbers with more distinct values in a row group are
	// written without a dictionary.
	maxDictionaryNumbers = 4096
	// indexedBytes: smaller chunks are read whole and have no offset index.
	indexedBytes = 32 << 10
	// checkKey is the last key of the metadata; its value is the CRC-32 (IEEE) of
	// the footer before its pair, in hex.
	checkKey = "redthread.crc32"
)

// Writer writes a file, row group after row group and in each column after
// column. After an error it must not be used any more.
type Writer struct {
	out     io.Writer
	at      int64
	columns []Column
	zstd    *zstd.Encoder
	effort  Effort

	rows   []int // of the row groups
	chunks []written
	next   int    // the chunk that is written next
	index  []byte // offset indexes, in the order of chunks

	// Of the chunk being written; kept for the next.
	pages    []dataPage
	raw      []byte // the dictionary, then levels and values of each page
	packed   []byte // the page being written, compressed
	levels   []byte
	reps     []byte
	head     thriftWriter
	ids      []uint32
	renumber []uint32
	numbers  numberSet
	order    []uint32
}

// written is a chunk with what the footer says of it beyond its place.
type written struct {
	chunk
	here       bool
	encoding   Encoding
	values     int64 // nulls too
	raw        int64
	data       int64 // offset of the first data page
	bounded    bool
	least, top int64
}

// dataPage is a page before it is written: bytes of raw.
type dataPage struct {
	from, values, end    int // levels, values, end of values
	entries, nulls, rows int
	firstRow             int
	repBytes, defBytes   int
}

// NewWriter returns a writer of a file with these columns.
func NewWriter(out io.Writer, columns []Column, effort Effort) (*Writer, error) {
	level := zstd.SpeedFastest
	if effort == Thorough {
		level = zstd.SpeedDefault
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	w := &Writer{out: out, columns: columns, zstd: z, effort: effort}
	return w, w.write([]byte(magic))
}

func (w *Writer) write(b []byte) error {
	n, err := w.out.Write(b)
	w.at += int64(n)
	if err != nil {
		return fmt.Errorf("parquet: write: %w", err)
	}
	return nil
}

// Group adds a row group, whose first column is written next.
func (w *Writer) Group(rows int) {
	w.next = len(w.chunks)
	w.chunks = append(w.chunks, make([]written, len(w.columns))...)
	w.rows = append(w.rows, rows)
}

// At says which column of which row group is written next: they may come in any
// order but for the very first one. After it comes the next of the row group.
func (w *Writer) At(group, column int) { w.next = group*len(w.columns) + column }

// Column writes the next column of the row group. rows holds the row of each
// value: ascending, for a Many column not falling. nil says that value i is that
// of row i.
func (w *Writer) Column(rows []uint32, v *Values) error {
	if w.next >= len(w.chunks) || w.chunks[w.next].here {
		return fmt.Errorf("parquet: more than %d columns, or one twice", len(w.columns))
	}
	group, i := w.next/len(w.columns), w.next%len(w.columns)
	c := &w.columns[i]
	n, total := v.size(c), w.rows[group]
	if rows == nil && n != total || rows != nil && (len(rows) != n || c.Shape == One && n != total) {
		return fmt.Errorf("parquet: column %q has %d values and %d places for %d rows", c.Path, n, len(rows), total)
	}
	if c.Shape == One {
		rows = nil
	}
	w.raw, w.pages = w.raw[:0], w.pages[:0]
	e, dict := w.encoder(c, v, n)
	w.cut(c, rows, n, total, e)
	return w.chunk(i, n, e, dict, v)
}

// chunkEncoder writes the values of a page.
type chunkEncoder struct {
	encoding Encoding
	// page appends values from to to.
	page func(dst []byte, from, to int) []byte
	// fit returns the value after from where a page should end.
	fit func(from int) int
	// random says that compression is a waste of time.
	random bool
}

// encoder chooses the encoding. It writes the dictionary, if there is one, to the
// front of raw and returns its number of values, else -1.
func (w *Writer) encoder(c *Column, v *Values, n int) (e chunkEncoder, dict int) {
	every := func(bits int) func(int) int {
		step := max(64, pageBytes*8/max(1, bits))
		return func(from int) int { return min(n, from+step) }
	}
	ids := func(distinct int) chunkEncoder {
		width := uint(bits.Len32(uint32(max(0, distinct-1))))
		if width > 8 {
			// Whole bytes let zstd see that rows of one trace say the same: of
			// request.id, 2.53 bytes a row become 2.14.
			width = (width + 7) / 8 * 8
		}
		return chunkEncoder{encoding: Dictionary, fit: every(int(width)), page: func(dst []byte, from, to int) []byte {
			return appendHybrid(append(dst, byte(width)), w.ids[from:to], width)
		}}
	}
	if n == 0 {
		return chunkEncoder{fit: func(int) int { return 0 }, page: func(dst []byte, _, _ int) []byte { return dst }}, -1
	}
	switch c.Type {
	case Boolean:
		return chunkEncoder{encoding: RLE, fit: every(1), page: func(dst []byte, from, to int) []byte {
			set := make([]byte, (to-from+7)/8)
			for i, x := range v.Ints[from:to] {
				set[i>>3] |= byte(x&1) << (i & 7)
			}
			at := len(dst)
			dst = appendBooleans(append(dst, 0, 0, 0, 0), set, to-from)
			binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
			return dst
		}}, -1
	case Int64:
		if distinct := w.distinct(n, func(i int) uint64 { return uint64(v.Ints[i]) }); distinct >= 0 {
			w.raw = w.numbers.append(w.raw)
			return ids(distinct), distinct
		}
		return chunkEncoder{encoding: Delta, fit: every(40), page: func(dst []byte, from, to int) []byte {
			return appendDelta(dst, v.Ints[from:to])
		}}, -1
	case Double:
		if distinct := w.distinct(n, func(i int) uint64 { return math.Float64bits(v.Floats[i]) }); distinct >= 0 {
			w.raw = w.numbers.append(w.raw)
			return ids(distinct), distinct
		}
		return chunkEncoder{encoding: Plain, fit: every(64), page: func(dst []byte, from, to int) []byte {
			for _, x := range v.Floats[from:to] {
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
			}
			return dst
		}}, -1
	case Fixed:
		return chunkEncoder{encoding: Plain, fit: every(8 * c.Width), page: func(dst []byte, from, to int) []byte {
			return append(dst, v.Fixed[from*c.Width:to*c.Width]...)
		}}, -1
	}
	distinct, dictBytes, plain := w.texts(v)
	if width := bits.Len32(uint32(max(0, distinct-1))); dictBytes > maxDictionaryBytes || dictBytes+n*width/8 > plain/4*3 && distinct > 1 {
		return chunkEncoder{encoding: Plain, page: func(dst []byte, from, to int) []byte {
			for _, id := range v.IDs[from:to] {
				dst = appendText(dst, v.Dict, id)
			}
			return dst
		}, fit: func(from int) int {
			for size := 0; from < n && size < pageBytes; from++ {
				size += 4 + textLen(v.Dict, v.IDs[from])
			}
			return from
		}}, -1
	}
	for _, id := range w.order {
		w.raw = appendText(w.raw, v.Dict, id)
	}
	return ids(distinct), distinct
}

func textLen(d column.Dict, id uint32) int {
	if id == 0 {
		return int(d.Ends[0])
	}
	return int(d.Ends[id] - d.Ends[id-1])
}

// texts numbers the values in the order that they first appear in, into ids, with
// the dictionary in order. It returns the number of different ones, and the bytes
// that they and all values take.
func (w *Writer) texts(v *Values) (distinct, dictBytes, plain int) {
	w.renumber = slices.Grow(w.renumber[:0], v.Dict.Len())[:v.Dict.Len()]
	clear(w.renumber)
	w.ids, w.order = slices.Grow(w.ids[:0], len(v.IDs))[:len(v.IDs)], w.order[:0]
	for i, id := range v.IDs {
		k := w.renumber[id]
		if k == 0 {
			w.order = append(w.order, id)
			k = uint32(len(w.order))
			w.renumber[id] = k
			dictBytes += 4 + textLen(v.Dict, id)
		}
		w.ids[i] = k - 1
		plain += 4 + textLen(v.Dict, id)
	}
	return len(w.order), dictBytes, plain
}

// distinct numbers values into ids unless there are too many, which is -1.
func (w *Writer) distinct(n int, at func(int) uint64) int {
	w.ids = slices.Grow(w.ids[:0], n)[:n]
	w.numbers.reset()
	most := min(maxDictionaryNumbers, n/2+1)
	for i := range n {
		id, ok := w.numbers.id(at(i), most)
		if !ok {
			return -1
		}
		w.ids[i] = id
	}
	return len(w.numbers.values)
}

// cut divides the chunk into pages and appends their levels and values to raw.
func (w *Writer) cut(c *Column, rows []uint32, n, total int, e chunkEncoder) {
	for from, row := 0, 0; ; {
		to := n
		if from < n {
			to = e.fit(from)
		}
		for rows != nil && to > 0 && to < n && rows[to] == rows[to-1] { // a row stays whole
			to++
		}
		end := total
		if to < n {
			if end = to; rows != nil {
				end = int(rows[to])
			}
		}
		p := dataPage{from: len(w.raw), firstRow: row, rows: end - row, entries: to - from}
		switch c.Shape {
		case AtMostOne:
			p.entries, p.nulls = p.rows, p.rows-(to-from)
			w.presence(rows, from, to, row, end)
			w.raw = appendLevels(w.raw, w.levels, p.entries)
			p.defBytes = len(w.raw) - p.from
		case Many:
			p.entries, p.nulls = w.nesting(rows[from:to], row, end)
			w.raw = appendLevels(w.raw, w.reps, p.entries)
			p.repBytes = len(w.raw) - p.from
			w.raw = appendLevels(w.raw, w.levels, p.entries)
			p.defBytes = len(w.raw) - p.from - p.repBytes
		}
		p.values = len(w.raw)
		w.raw = e.page(w.raw, from, to)
		p.end = len(w.raw)
		w.pages = append(w.pages, p)
		if from, row = to, end; row == total {
			return
		}
	}
}

// presence sets a bit of levels for each row with a value.
func (w *Writer) presence(rows []uint32, from, to, row, end int) {
	w.levels = slices.Grow(w.levels[:0], (end-row+7)/8)[:(end-row+7)/8]
	clear(w.levels)
	if rows == nil {
		for i := range end - row {
			w.levels[i>>3] |= 1 << (i & 7)
		}
		return
	}
	for _, r := range rows[from:to] {
		i := int(r) - row
		w.levels[i>>3] |= 1 << (i & 7)
	}
}

// nesting sets the bits of reps and levels for each entry: a row without values
// is an entry too.
func (w *Writer) nesting(rows []uint32, row, end int) (entries, nulls int) {
	most := (end - row + len(rows) + 7) / 8
	w.levels = slices.Grow(w.levels[:0], most)[:most]
	w.reps = slices.Grow(w.reps[:0], most)[:most]
	clear(w.levels)
	clear(w.reps)
	for ; row < end; row++ {
		if len(rows) == 0 || int(rows[0]) != row {
			entries++
			nulls++
			continue
		}
		for i := 0; len(rows) > 0 && int(rows[0]) == row; i++ {
			w.levels[entries>>3] |= 1 << (entries & 7)
			if i > 0 {
				w.reps[entries>>3] |= 1 << (entries & 7)
			}
			entries++
			rows = rows[1:]
		}
	}
	return entries, nulls
}
