package segment

import (
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// ColumnSize is what one column takes in a segment.
type ColumnSize struct {
	Key   string // "": of no key of its own
	Part  string // in words what it is then: "rare keys"
	Type  trace.Type
	Rows  int // with a value
	Bytes int64
}

// ColumnSizes returns what each fixed column and each attribute takes. It reads
// the footer only.
func (f *File) ColumnSizes() ([]ColumnSize, error) {
	blocks, err := f.Blocks()
	if err != nil || len(blocks) == 0 {
		return nil, err
	}
	r := blocks[0].(*block).r
	var out []ColumnSize
	add := func(key string, t trace.Type, at int) {
		s := ColumnSize{Key: key, Type: t}
		for group := range r.layout.Groups {
			c := r.file.Chunk(group, at)
			s.Bytes += c.Bytes()
			s.Rows += r.layout.Groups[group].Rows - max(0, c.Nulls())
		}
		out = append(out, s)
	}
	for i, info := range column.FixedColumns() {
		add(info.Key, info.Type, i)
	}
	for i, c := range r.layout.Columns {
		add(c.Key, c.Type, firstOther+otherColumns+i)
	}
	at := make(map[string]int)
	for i := firstOther; i < firstOther+otherColumns; i++ {
		name := partName(r.file.Columns()[i].Path[0])
		if _, known := at[name]; !known {
			at[name] = len(out)
			out = append(out, ColumnSize{Part: name})
		}
		for group := range r.layout.Groups {
			out[at[name]].Bytes += r.file.Chunk(group, i).Bytes()
		}
	}
	return out, nil
}

// partName says what a column of no key holds.
func partName(path string) string {
	switch path {
	case overflowColumn:
		return "rare keys"
	case shapeColumn:
		return "order of attributes"
	}
	return path
}
