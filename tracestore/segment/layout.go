package segment

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Names of the columns in the file that are neither fixed nor an attribute.
const (
	shapeColumn    = "meta.shape"
	overflowColumn = "attr.overflow"
	eventsColumn   = "events"
	linksColumn    = "links"
)

const (
	// promoteShare: a key with a value on one row in five hundred (0.2 %) gets a
	// column of its own (storage.md §7.9).
	promoteShare = 500
	// maxColumns bounds the attribute columns of a segment: beyond about a
	// thousand, page headers and footer cost more than they give.
	maxColumns = 1000
)

// layoutKey is the file's metadata key under which [layout] stands as JSON.
const layoutKey = "redthread.layout"

// layoutVersion is refused when it is not known.
const layoutVersion = 2

// layout says what the columns of a file mean. It is the authority: names are
// for people.
type layout struct {
	Version int        `json:"version"`
	Columns []promoted `json:"columns"` // in the order that shapes count them
	Groups  []group    `json:"groups"`
	Fixed   []sparse   `json:"fixed"` // the fixed columns that may be absent
}

// promoted is an attribute with a column of its own.
type promoted struct {
	Name string     `json:"name"` // of the column
	Key  string     `json:"key"`
	Type trace.Type `json:"type"`
	Rows []int      `json:"rows"` // with a value, by row group
}

// sparse is a fixed column that not every row has.
type sparse struct {
	Key  string `json:"key"`
	Rows []int  `json:"rows"`
}

type group struct {
	Rows     int   `json:"rows"`
	MinStart int64 `json:"min_start,string"`
	MaxStart int64 `json:"max_start,string"`
	Overflow int   `json:"overflow"` // entries in the overflow map
}

func (l *layout) encode() (string, error) {
	b, err := json.Marshal(l)
	return string(b), err
}

func decodeLayout(text string) (*layout, error) {
	l := new(layout)
	if err := json.Unmarshal([]byte(text), l); err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	if l.Version != layoutVersion {
		return nil, fmt.Errorf("layout has version %d, this program knows %d", l.Version, layoutVersion)
	}
	return l, nil
}

type attributeKey struct {
	key string
	typ trace.Type
}

// plan decides which attributes of the sources get a column. place holds for
// each source the position of its attributes in Columns, or -1 for the overflow.
func plan(sources []column.Source) (l *layout, place [][]int) {
	l = &layout{Version: layoutVersion}
	total := 0
	counts := make(map[attributeKey]int)
	var order []attributeKey
	for _, s := range sources {
		total += s.Rows()
		for _, a := range s.Attributes() {
			k := attributeKey{a.Key, a.Type}
			if _, known := counts[k]; !known {
				order = append(order, k)
			}
			counts[k] += a.Rows
		}
	}
	slices.SortStableFunc(order, func(a, b attributeKey) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a.key, b.key), cmp.Compare(a.typ, b.typ))
	})
	position := make(map[attributeKey]int, len(order))
	named := make(map[string]bool)
	for _, k := range order {
		if len(l.Columns) == maxColumns || counts[k] == 0 || counts[k]*promoteShare < total {
			continue
		}
		// The type with most rows comes first and gets the plain name.
		name := columnName(k)
		if plainName(k.key) && !named[k.key] {
			name = k.key
			named[name] = true
		}
		position[k] = len(l.Columns)
		l.Columns = append(l.Columns, promoted{Name: name, Key: k.key, Type: k.typ, Rows: make([]int, len(sources))})
	}
	place = make([][]int, len(sources))
	for i, s := range sources {
		attributes := s.Attributes()
		place[i] = make([]int, len(attributes))
		g := group{Rows: s.Rows()}
		g.MinStart, g.MaxStart = s.Bounds()
		for j, a := range attributes {
			at, ok := position[attributeKey{a.Key, a.Type}]
			if !ok {
				at = -1
				g.Overflow += a.Rows
			} else {
				l.Columns[at].Rows[i] = a.Rows
			}
			place[i][j] = at
		}
		l.Groups = append(l.Groups, g)
	}
	l.countFixed(sources)
	return l, place
}

// countFixed notes the rows of the fixed columns that may be absent.
func (l *layout) countFixed(sources []column.Source) {
	for _, key := range []string{column.StatusMessage, column.TraceState} {
		rows := make([]int, len(sources))
		for i, s := range sources {
			for _, info := range s.Columns() {
				if info.Key == key {
					rows[i] = info.Rows
					break
				}
			}
		}
		l.Fixed = append(l.Fixed, sparse{key, rows})
	}
}

// plainName reports whether a key may stand for itself as the name of a column.
func plainName(key string) bool {
	if _, fixed := column.FixedType(key); fixed || key == "" || strings.Contains(key, "#") {
		return false
	}
	switch key {
	case shapeColumn, overflowColumn, eventsColumn, linksColumn:
		return false
	}
	return true
}

// columnName is key#type: the name of a column whose key cannot stand for itself,
// and of every entry of the overflow map that is not a plain string.
func columnName(k attributeKey) string { return k.key + "#" + k.typ.String() }

// overflowName is the key of an entry in the overflow map.
func overflowName(k attributeKey) string {
	if k.typ == trace.TypeString && !strings.Contains(k.key, "#") {
		return k.key
	}
	return columnName(k)
}

// parseOverflowName undoes overflowName.
func parseOverflowName(name string) (attributeKey, error) {
	i := strings.LastIndexByte(name, '#')
	if i < 0 {
		return attributeKey{name, trace.TypeString}, nil
	}
	for t := trace.TypeString; t <= trace.TypeJSON; t++ {
		if t.String() == name[i+1:] {
			return attributeKey{name[:i], t}, nil
		}
	}
	return attributeKey{}, fmt.Errorf("overflow key %q: unknown type", name)
}
