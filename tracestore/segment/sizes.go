package segment

import (
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// ColumnSize is what one column takes in a segment.
type ColumnSize struct {
	Key   string // "": the rare keys together
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
	add := func(key string, t trace.Type, first, n int) {
		s := ColumnSize{Key: key, Type: t}
		for group := range r.layout.Groups {
			for i := first; i < first+n; i++ {
				c := r.file.Chunk(group, i)
				s.Bytes += c.Bytes()
				if key != "" {
					s.Rows += r.layout.Groups[group].Rows - max(0, c.Nulls())
				}
			}
		}
		out = append(out, s)
	}
	for i, info := range column.FixedColumns() {
		add(info.Key, info.Type, i, 1)
	}
	for i, c := range r.layout.Columns {
		add(c.Key, c.Type, firstOther+otherColumns+i, 1)
	}
	add("", trace.TypeNone, firstOther+overflowKeyAt, 2)
	return out, nil
}
