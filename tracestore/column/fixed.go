package column

import (
	"strings"

	"redthread/tracestore/trace"
)

// TraceState is the W3C tracestate of the span, a String; absent where empty.
// It is a fixed column of every block.
const TraceState = "trace.state"

// fixed lists the fixed columns in the order that Columns shows them.
var fixed = [...]Info{
	{Key: TraceID, Type: trace.TypeBytes},
	{Key: SpanID, Type: trace.TypeBytes},
	{Key: ParentID, Type: trace.TypeBytes},
	{Key: Start, Type: trace.TypeInt},
	{Key: Duration, Type: trace.TypeInt},
	{Key: Arrived, Type: trace.TypeInt},
	{Key: Name, Type: trace.TypeString},
	{Key: Service, Type: trace.TypeString},
	{Key: Environment, Type: trace.TypeString},
	{Key: Kind, Type: trace.TypeInt},
	{Key: Status, Type: trace.TypeInt},
	{Key: StatusMessage, Type: trace.TypeString},
	{Key: Error, Type: trace.TypeBool},
	{Key: Signal, Type: trace.TypeInt},
	{Key: TraceState, Type: trace.TypeString},
}

// FixedColumns returns key and type of every fixed column. Rows is zero.
func FixedColumns() []Info { return append([]Info(nil), fixed[:]...) }

// FixedType returns the type of a fixed column, or false for any other key. An
// attribute under such a key is kept with its span and is a column under another
// name, see [NameOf].
func FixedType(key string) (trace.Type, bool) {
	for i := range fixed {
		if fixed[i].Key == key {
			return fixed[i].Type, true
		}
	}
	return trace.TypeNone, false
}

// Names that queries have of themselves, beside the fixed columns.
const (
	DurationMS = "duration_ms" // duration_nano in milliseconds, a float
	IsRoot     = "is_root"     // whether the span has no parent
)

// taken reports whether a name stands for something else in queries than for the
// attribute that has it as key.
func taken(name string) bool {
	_, fixed := FixedType(name)
	return fixed || name == DurationMS || name == IsRoot
}

// attributePrefix begins the name of the column of an attribute whose key is taken:
// a span's attribute "name" is the column attr.name.
const attributePrefix = "attr."

// NameOf is the name of the column of an attribute: its key, unless that is taken.
func NameOf(key string) string {
	if taken(key) {
		return attributePrefix + key
	}
	return key
}

// TakenKey is the key of the attribute whose column has the name because the key is
// taken. An attribute that has the name as key comes before it.
func TakenKey(name string) (key string, ok bool) {
	key, ok = strings.CutPrefix(name, attributePrefix)
	return key, ok && taken(key)
}

// Events are the span events of a block, in row order: entry i belongs to row
// Row[i]. Name and Attributes are ids in Dict; attributes are as
// [AppendAttributes] writes them.
type Events struct {
	Row        []uint32
	Time       []int64
	Name       []uint32
	Attributes []uint32
	Dict       Dict
}

// Links are the span links of a block, in row order, like [Events].
type Links struct {
	Row        []uint32
	TraceID    []trace.ID
	SpanID     []trace.SpanID
	State      []uint32
	Attributes []uint32
	Dict       Dict
}
