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
const layoutVersion = 3

// layout says what the columns of a file mean. It is the authority: names are
// for people.
type layout struct {
	Version int        `json:"version"`
	Columns []promoted `json:"columns"` // in the order that shapes count them
	Groups  []group    `json:"groups"`
}

// promoted is an attribute with a column of its own.
type promoted struct {
	Name string     `json:"name,omitempty"` // of the column; empty in JSON: the key
	Key  string     `json:"key"`
	Type trace.Type `json:"type"`
	// Rows is how many rows have a value, by row group. It stands in the file's
	// footer and is set when it is read.
	Rows []uint32 `json:"-"`
}

type group struct {
	Rows     int   `json:"rows"`
	MinStart int64 `json:"min_start,string"`
	MaxStart int64 `json:"max_start,string"`
	Overflow int   `json:"overflow"` // entries in the overflow map
}

func (l *layout) encode() (string, error) {
	short := *l
	short.Columns = slices.Clone(l.Columns)
	for i := range short.Columns {
		if c := &short.Columns[i]; c.Name == c.Key {
			c.Name = ""
		}
	}
	b, err := json.Marshal(&short)
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
	for i := range l.Columns {
		if c := &l.Columns[i]; c.Name == "" {
			c.Name = c.Key
		}
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
		if strings.Contains(k.key, "\x00") {
			continue // DuckDB, for one, ends the name of a column there
		}
		// The type with most rows comes first and gets the plain name.
		name := columnName(k)
		if plainName(k.key) && !named[k.key] {
			name = k.key
			named[name] = true
		}
		position[k] = len(l.Columns)
		l.Columns = append(l.Columns, promoted{Name: name, Key: k.key, Type: k.typ})
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
			}
			place[i][j] = at
		}
		l.Groups = append(l.Groups, g)
	}
	return l, place
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
