package segment

import (
	"math/rand/v2"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/trace"
)

// TestTraceRows: of each row group the sidecar names all rows of a trace.
func TestTraceRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	spans := make([]trace.Span, 500)
	m := memtable.New()
	for i := range spans {
		spans[i] = randomSpan(rng)
		spans[i].TraceID = trace.ID{1, byte(rng.IntN(40))}
		if _, err := m.Add(&spans[i], column.RowHash(&spans[i])); err != nil {
			t.Fatal(err)
		}
	}
	m.Publish()
	f := write(t, m)
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, b := range blocks {
		ids, err := b.Column(column.TraceID, trace.TypeBytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []trace.ID{spans[0].TraceID, spans[123].TraceID, {0xff}} {
			rows, err := b.(*block).TraceRows([]trace.ID{want, want})
			if err != nil {
				t.Fatal(err)
			}
			named := make(map[int32]bool)
			for i, row := range rows {
				named[row] = true
				if i > 0 && rows[i-1] >= row {
					t.Fatalf("rows of %s are not in order: %v", want, rows)
				}
			}
			for row := range b.Rows() {
				if trace.ID(ids.Fixed[16*row:16*row+16]) == want {
					if seen++; !named[int32(row)] {
						t.Errorf("row %d of %s is not named", row, want)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no block has a row of the traces")
	}
}
