// Package column holds rows by column: typed vectors with a presence bitmap,
// dictionaries without pointers, and the [Block] that both the memtable and a
// segment show to the query engine.
//
// A block is immutable to its reader: it never changes after it was handed out,
// may be read by any number of goroutines, and every slice got from it must not
// be written to.
package column

import (
	"math/bits"

	"redthread/tracestore/trace"
)

// The fixed columns, which every block has, under the names that queries use.
// Any other key is an attribute.
const (
	TraceID       = "trace.trace_id"    // Bytes, Fixed, width 16
	SpanID        = "trace.span_id"     // Bytes, Fixed, width 8
	ParentID      = "trace.parent_id"   // Bytes, Fixed, width 8; zero: a root
	Start         = "start_unix_nano"   // Int
	Duration      = "duration_nano"     // Int
	Arrived       = "arrived_unix_nano" // Int
	Name          = "name"              // String
	Service       = "service.name"      // String
	Environment   = "environment"       // String
	Kind          = "span.kind"         // Int, a trace.Kind
	Status        = "status_code"       // Int, a trace.StatusCode
	StatusMessage = "status_message"    // String; absent where empty
	Error         = "error"             // Bool
	Signal        = "meta.signal"       // Int, a trace.Signal; queries see spans only
)

// Vector is one column of a block: one value a row, of one type. Exactly one of
// IDs (with Dict), Ints, Floats and Fixed is set, and its length is the block's
// rows (times Width for Fixed); where Present says no, the value there is zero.
type Vector struct {
	Type    trace.Type
	Present Bitmap // nil: every row has a value

	IDs    []uint32 // String, JSON and Bytes: positions in Dict
	Dict   Dict
	Ints   []int64 // Int, and Bool as 0 and 1
	Floats []float64
	Fixed  []byte // Bytes of one width, row after row
	Width  int
}

// Has reports whether the row has a value.
func (v *Vector) Has(row int) bool { return v.Present == nil || v.Present.Has(row) }

// Value returns the row's value, its strings aliasing the column. A row without
// a value gives the zero Value.
func (v *Vector) Value(row int) trace.Value {
	if !v.Has(row) {
		return trace.Value{}
	}
	switch {
	case v.IDs != nil:
		return trace.Value{Type: v.Type, Str: v.Dict.At(v.IDs[row])}
	case v.Ints != nil:
		return trace.Value{Type: v.Type, Num: uint64(v.Ints[row])}
	case v.Floats != nil:
		return trace.Float(v.Floats[row])
	case v.Fixed != nil:
		return trace.Bytes(string(v.Fixed[row*v.Width : (row+1)*v.Width]))
	}
	return trace.Value{}
}

// Dict is a list of distinct byte strings without pointers: value i is
// Arena[Ends[i-1]:Ends[i]], value 0 begins at 0. A memtable's dictionary only
// grows, so a copy of the struct is a consistent snapshot of it.
type Dict struct {
	Arena []byte
	Ends  []uint32
}

// Len is the number of values.
func (d Dict) Len() int { return len(d.Ends) }

// At returns value id, aliasing the arena.
func (d Dict) At(id uint32) string {
	from, to := d.span(id)
	return aliasString(d.Arena[from:to])
}

// span is where value id lies in the arena.
func (d *Dict) span(id uint32) (from, to uint32) {
	if id > 0 {
		from = d.Ends[id-1]
	}
	return from, d.Ends[id]
}

// Bitmap has one bit a row: len is (rows+63)/64.
type Bitmap []uint64

// NewBitmap returns an empty bitmap for the rows.
func NewBitmap(rows int) Bitmap { return make(Bitmap, (rows+63)/64) }

// Has reports bit i.
func (b Bitmap) Has(i int) bool { return b[i>>6]>>(uint(i)&63)&1 != 0 }

// Set sets bit i.
func (b Bitmap) Set(i int) { b[i>>6] |= 1 << (uint(i) & 63) }

// Clear clears bit i.
func (b Bitmap) Clear(i int) { b[i>>6] &^= 1 << (uint(i) & 63) }

// Count is the number of bits set.
func (b Bitmap) Count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// Info names one column of a block.
type Info struct {
	Key  string
	Type trace.Type
	Rows int // rows that have a value
}

// Block is a run of rows held by column: a row group of a segment, or a part of
// a memtable up to its watermark. At most MaxBlockRows rows.
type Block interface {
	Rows() int
	// Bounds are the least and the greatest start time in the block.
	Bounds() (minStart, maxStart int64)
	// Columns lists every column, fixed ones first.
	Columns() []Info
	// Types lists the types that key has in this block, in the order of
	// trace.Type; nil when the key is absent. Fixed columns have one.
	Types(key string) []trace.Type
	// Stats returns what is known of a column without reading it; false: nothing.
	Stats(key string, t trace.Type) (Stats, bool)
	// MayHave reports whether a row may have a value of the key, in any of its
	// types, whose canonical text has the hash HashString(0, text); that of an id
	// column is its lower-case hex. False is certain.
	MayHave(key string, hash uint64) bool
	// Column returns the column of a key and type, nil if the block has none.
	// Rare keys that lie together in an overflow column look the same.
	Column(key string, t trace.Type) (*Vector, error)
	// Spans fills dst with whole spans of the given rows, events and links too.
	// The spans own their memory.
	Spans(rows []int, dst []trace.Span) ([]trace.Span, error)
}

// Stats is what is known of a column of a block without reading it.
type Stats struct {
	// Min and Max bound the numbers of an Int, Bool or Float column without NaN;
	// Min > Max: they are not known.
	Min, Max float64
	// Distinct is the number of different values, -1 if it is not known.
	Distinct int
	// Top are the most frequent values by falling count, at most TopValues; all
	// of them if there are no more than that. Nil: not known.
	Top []ValueCount
}

// ValueCount is a value in canonical text and the number of rows that have it.
type ValueCount struct {
	Text string
	Rows int
}

// TopValues bounds Stats.Top.
const TopValues = 32

// MaxBlockRows bounds a block, so that one block's decoded columns stay small.
const MaxBlockRows = 64 << 10
