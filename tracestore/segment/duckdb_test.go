package segment

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// duckdb reads all rows of a Parquet file with DuckDB: the names of the columns,
// and rows of values as testdata/duckdb.mjs prints them.
func duckdb(t *testing.T, path string) (names []string, rows [][]any) {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: `npm ci` installs it", what)
		}
		t.Skipf("%s is missing: `make static` installs it", what)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node")
	}
	if _, err := os.Stat("../../node_modules/@duckdb/node-api"); err != nil {
		missing("the npm package @duckdb/node-api")
	}
	cmd := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "duckdb.mjs"), path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("duckdb: %v\n%s", err, stderr.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, len(out)+1)
	for lines.Scan() {
		var err error
		if names == nil {
			err = json.Unmarshal(lines.Bytes(), &names)
		} else {
			var row []any
			err = json.Unmarshal(lines.Bytes(), &row)
			rows = append(rows, row)
		}
		if err != nil {
			t.Fatal(errors.Join(err, lines.Err()))
		}
	}
	return names, rows
}

// duckValue is a value in the form that duckdb.mjs prints, but for floats.
func duckValue(v trace.Value) any {
	switch v.Type {
	case trace.TypeNone:
		return nil
	case trace.TypeBool:
		return v.Bool()
	case trace.TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case trace.TypeBytes:
		return hex.EncodeToString([]byte(v.Str))
	}
	return v.Str
}

// TestDuckDB reads a segment of random rows with DuckDB and wants every column,
// the overflow map, events and links to be what was written.
func TestDuckDB(t *testing.T) {
	m, spans := table(t, 21, 3000)
	f := write(t, m)
	names, rows := duckdb(t, f.Path())
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	b := blocks[0].(*block)
	columns := schema(b.r.layout)
	if len(rows) != len(spans) {
		t.Fatalf("DuckDB reads %d rows, want %d", len(rows), len(spans))
	}
	at := 0 // in names: lists and maps are one column
	for i, c := range columns {
		if i > 0 && len(c.Path) > 1 && columns[i-1].Path[0] == c.Path[0] {
			continue
		}
		position := at
		at++
		// DuckDB does not tell names apart by case and adds a number.
		if !strings.HasPrefix(names[position], c.Path[0]) {
			t.Fatalf("column %d is %q, want %q", position, names[position], c.Path[0])
		}
		if len(c.Path) > 1 || c.Path[0] == shapeColumn {
			continue
		}
		typ, width := trace.TypeNone, 0
		if i < firstOther {
			typ, width = column.FixedColumns()[i].Type, fixedWidth(c.Path[0])
		} else {
			typ = b.r.layout.Columns[i-firstOther-otherColumns].Type
		}
		v, err := b.vector(c.Path[0], typ, width)
		if err != nil {
			t.Fatal(err)
		}
		for row := range rows {
			var want trace.Value
			if v != nil {
				want = v.Value(row)
			}
			got := rows[row][position]
			if want.Type == trace.TypeFloat {
				text, _ := got.(string)
				if f, err := strconv.ParseFloat(text, 64); err != nil || trace.Float(f) != want {
					t.Fatalf("%q, row %d: DuckDB reads %v, want %v", c.Path[0], row, got, want)
				}
			} else if got != duckValue(want) {
				t.Fatalf("%q, row %d: DuckDB reads %v, want %v", c.Path[0], row, got, duckValue(want))
			}
		}
	}
	first := firstOther + 1 // the overflow map in names: it follows the shape
	for row := range rows {
		overflow, events, links := []any{}, []any{}, []any{}
		s := &spans[row]
		for _, a := range s.Attributes {
			if k := (attributeKey{a.Key, a.Value.Type}); !promotedKey(b.r.layout, k) {
				overflow = append(overflow, []any{overflowName(k), a.Value.Text()})
			}
		}
		for _, e := range s.Events {
			events = append(events, []any{e.Name, strconv.FormatInt(e.TimeUnixNano, 10), string(column.AppendAttributes(nil, e.Attributes))})
		}
		for _, l := range s.Links {
			links = append(links, []any{hex.EncodeToString(l.TraceID[:]), hex.EncodeToString(l.SpanID[:]), l.TraceState, string(column.AppendAttributes(nil, l.Attributes))})
		}
		for i, want := range []any{overflow, events, links} {
			if diff := cmp.Diff(want, rows[row][first+i]); diff != "" {
				t.Fatalf("row %d, %s (-want +DuckDB):\n%s", row, names[first+i], diff)
			}
		}
	}
}

func promotedKey(l *layout, k attributeKey) bool {
	for _, c := range l.Columns {
		if c.Key == k.key && c.Type == k.typ {
			return true
		}
	}
	return false
}
