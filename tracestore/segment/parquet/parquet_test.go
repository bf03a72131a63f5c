package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/parquet-go/parquet-go"

	"redthread/seeds"
	"redthread/tracestore/column"
)

// sample is a column with its values, as the test knows them.
type sample struct {
	column Column
	rows   [][]uint32 // by row group; nil: a value in each row
	values []Values
}

// text returns value i in a form to compare by.
func (s *sample) text(v *Values, i int) string {
	switch s.column.Type {
	case Double:
		return fmt.Sprint(math.Float64bits(v.Floats[i]))
	case Fixed:
		return fmt.Sprintf("%x", v.Fixed[i*s.column.Width:(i+1)*s.column.Width])
	case ByteArray:
		return v.Dict.At(v.IDs[i])
	}
	return fmt.Sprint(v.Ints[i])
}

// byRow returns the texts of each row of a group.
func (s *sample) byRow(group, total int) [][]string {
	out := make([][]string, total)
	v := &s.values[group]
	for i := range v.size(&s.column) {
		row := i
		if rows := s.rows[group]; rows != nil {
			row = int(rows[i])
		}
		out[row] = append(out[row], s.text(v, i))
	}
	return out
}

func randomRows(rng *rand.Rand, shape Shape, total int) []uint32 {
	rows := []uint32{}
	density := []float64{0, 0.001, 0.05, 0.5, 0.97, 1}[rng.IntN(6)]
	clustered := rng.IntN(2) == 0
	on := false
	for row := range total {
		if clustered {
			if rng.IntN(40) == 0 {
				on = rng.Float64() < density
			}
		} else {
			on = rng.Float64() < density
		}
		if !on {
			continue
		}
		rows = append(rows, uint32(row))
		for shape == Many && rng.IntN(3) == 0 {
			rows = append(rows, uint32(row))
		}
	}
	return rows
}

func randomValues(rng *rand.Rand, c *Column, n int) (v Values) {
	kinds := rng.IntN(5)
	number := func() uint64 {
		switch kinds {
		case 0:
			return rng.Uint64()
		case 1:
			return uint64(rng.IntN(3))
		case 2:
			return 1e18 + uint64(rng.IntN(1e6))
		case 3:
			return uint64(int64(rng.IntN(5000)) - 2500)
		}
		return []uint64{0, math.MaxUint64, 1 << 63, 1<<63 - 1, uint64(rng.IntN(10000))}[rng.IntN(5)]
	}
	switch c.Type {
	case Boolean:
		for range n {
			v.Ints = append(v.Ints, int64(number()&1))
		}
	case Int64:
		for range n {
			v.Ints = append(v.Ints, int64(number()))
		}
	case Double:
		for range n {
			v.Floats = append(v.Floats, math.Float64frombits(number()))
		}
	case Fixed:
		for range n {
			b := make([]byte, c.Width)
			binary.LittleEndian.PutUint64(b, number())
			v.Fixed = append(v.Fixed, b...)
		}
	case ByteArray:
		var d column.DictBuilder
		for range rng.IntN(3) {
			if _, err := d.ID(fmt.Sprintf("unused %d", rng.IntN(10))); err != nil {
				panic(err)
			}
		}
		for range n {
			s := fmt.Sprintf("value %d", number())
			if kinds == 1 && rng.IntN(10) == 0 {
				s = strings.Repeat("long ", rng.IntN(100))
			}
			id, err := d.ID(s)
			if err != nil {
				panic(err)
			}
			v.IDs = append(v.IDs, id)
		}
		v.Dict = d.Dict()
	}
	return v
}

func randomSamples(rng *rand.Rand, groups []int) []sample {
	types := []Type{Boolean, Int64, Double, ByteArray, Fixed}
	var samples []sample
	add := func(shape Shape, path ...string) {
		c := Column{Path: path, Type: types[rng.IntN(len(types))], Shape: shape}
		switch {
		case c.Type == Fixed:
			c.Width = 8 + 8*rng.IntN(2)
		case c.Type == ByteArray && rng.IntN(2) == 0:
			c.Meaning = Text
		}
		samples = append(samples, sample{column: c})
	}
	for i := range 8 {
		add(Shape(rng.IntN(2)), fmt.Sprintf("flat.%d", i))
	}
	add(Many, "events", "list", "element", "name")
	add(Many, "events", "list", "element", "time")
	add(Many, "rest", "key_value", "key")
	add(Many, "rest", "key_value", "value")
	for i := range samples {
		s := &samples[i]
		// The leaves of one list have the same rows.
		twin := i > 0 && s.column.Shape == Many && samples[i-1].column.Path[0] == s.column.Path[0]
		for g, total := range groups {
			var rows []uint32
			n := total
			switch {
			case twin:
				rows = samples[i-1].rows[g]
				n = len(rows)
			case s.column.Shape != One && (s.column.Shape == Many || rng.IntN(8) > 0):
				rows = randomRows(rng, s.column.Shape, total)
				n = len(rows)
			}
			s.rows = append(s.rows, rows)
			s.values = append(s.values, randomValues(rng, &s.column, n))
		}
	}
	return samples
}

func writeSamples(t testing.TB, samples []sample, groups []int, effort Effort) []byte {
	t.Helper()
	var b bytes.Buffer
	var columns []Column
	for i := range samples {
		columns = append(columns, samples[i].column)
	}
	w, err := NewWriter(&b, columns, effort)
	if err != nil {
		t.Fatal(err)
	}
	for g, total := range groups {
		w.Group(total)
		for i := range samples {
			if err := w.Column(samples[i].rows[g], &samples[i].values[g]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(Pair{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	seed := seeds.One(t)
	for i := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, i))
		groups := []int{[]int{1, 7, 64, 3000, 40000}[rng.IntN(5)], 1 + rng.IntN(9000)}[:1+rng.IntN(2)]
		samples := randomSamples(rng, groups)
		b := writeSamples(t, samples, groups, Effort(rng.IntN(2)))
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.Lookup("a"); !ok || got != "b" || !f.Checked() {
			t.Fatalf("metadata: %q %v, checked %v", got, ok, f.Checked())
		}
		if diff := cmp.Diff(groups, f.Groups()); diff != "" {
			t.Fatal(diff)
		}
		for j := range samples {
			s := &samples[j]
			if got := f.Columns()[j]; !cmp.Equal(got, s.column, cmp.AllowUnexported(Column{})) {
				t.Fatalf("column %+v, want %+v", got, s.column)
			}
			for g, total := range groups {
				sameValues(t, s, f.Chunk(g, j), g, total)
				sameAt(t, rng, s, f.Chunk(g, j), g, total)
			}
		}
		sameAsOracle(t, b, samples, groups)
	}
}

// TestBooleansInRuns writes runs of true and false of every length around the least
// repetition, and columns of one value: other readers read them too.
func TestBooleansInRuns(t *testing.T) {
	for n := 1; n <= 80; n++ {
		var s [4]sample
		for i := range s {
			s[i].column = Column{Path: []string{fmt.Sprint(i)}, Type: Boolean}
			s[i].rows = [][]uint32{nil}
			var v Values
			for k := range 200 {
				v.Ints = append(v.Ints, [4]int64{1, 0, int64(k / n & 1), int64(k/n+1) & 1}[i])
			}
			v.Ints = v.Ints[:max(n, 200*(i&2)/2)]
			s[i].values = []Values{v}
		}
		for _, samples := range [][]sample{s[:2], s[2:]} {
			groups := []int{len(samples[0].values[0].Ints)}
			b := writeSamples(t, samples, groups, Fast)
			f, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for j := range samples {
				sameValues(t, &samples[j], f.Chunk(0, j), 0, groups[0])
			}
			sameAsOracle(t, b, samples, groups)
		}
	}
}

// A dictionary whose frames hold from few bytes to many: an encoder says the size
// of the small ones or not.
func TestFramesOfUnevenTexts(t *testing.T) {
	for _, long := range []int{10_000, 20_000, 50_000, 200_000} {
		for short := 1; short < 12; short++ {
			var d column.DictBuilder
			var v Values
			for i := range 5000 {
				text := fmt.Sprint("service ", i%short)
				if i == 2500 {
					text = strings.Repeat("B", long)
				}
				id, err := d.ID(text)
				if err != nil {
					t.Fatal(err)
				}
				v.IDs = append(v.IDs, id)
			}
			v.Dict = d.Dict()
			s := []sample{{column: Column{Path: []string{"name"}, Type: ByteArray, Meaning: Text}, rows: [][]uint32{nil}, values: []Values{v}}}
			groups := []int{len(v.IDs)}
			b := writeSamples(t, s, groups, Fast)
			file, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			sameValues(t, &s[0], file.Chunk(0, 0), 0, groups[0])
			sameAt(t, rand.New(rand.NewPCG(1, 1)), &s[0], file.Chunk(0, 0), 0, groups[0])
		}
	}
}

func sameValues(t *testing.T, s *sample, c Chunk, group, total int) {
	t.Helper()
	want := s.byRow(group, total)
	nulls := 0
	for _, w := range want {
		if len(w) == 0 {
			nulls++
		}
	}
	if c.Nulls() != nulls {
		t.Fatalf("%v: %d nulls, want %d", s.column, c.Nulls(), nulls)
	}
	got := make([][]string, total)
	if s.column.Shape == Many {
		rows, v, err := c.Many()
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			got[r] = append(got[r], s.text(&v, i))
		}
	} else {
		present, v, err := c.Flat()
		if err != nil {
			t.Fatal(err)
		}
		if v.size(&s.column) != total {
			t.Fatalf("%d values, want %d", v.size(&s.column), total)
		}
		for i := range got {
			if present == nil || present.Has(i) {
				got[i] = []string{s.text(&v, i)}
			} else if s.column.Type == Int64 && v.Ints[i] != 0 {
				t.Fatalf("row %d without a value is %d", i, v.Ints[i])
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%+v of %d rows (-want +got):\n%.2000s", s.column, total, diff)
	}
}

// keeper returns a Keep that keeps all pages.
func keeper() Keep {
	pages := map[int64]*Page{}
	return func(at int64, load func() (*Page, error)) (*Page, error) {
		if p := pages[at]; p != nil {
			return p, nil
		}
		p, err := load()
		if err == nil {
			pages[at] = p
		}
		return p, err
	}
}

// sameAt reads some rows only: from pages that are not kept, that are to be, and that are.
func sameAt(t *testing.T, rng *rand.Rand, s *sample, c Chunk, group, total int) {
	t.Helper()
	want := s.byRow(group, total)
	d, err := c.Head()
	if err != nil {
		t.Fatal(err)
	}
	keep := keeper()
	for range 5 {
		var ask []uint32
		for range 1 + rng.IntN(60) {
			ask = append(ask, uint32(rng.IntN(total)))
		}
		slices.Sort(ask)
		ask = slices.Compact(ask)
		for _, keep := range []Keep{nil, keep, keep} {
			rows, v, err := c.At(ask, d, keep)
			if err != nil {
				t.Fatalf("%+v: %v", s.column, err)
			}
			got := map[uint32][]string{}
			for i, r := range rows {
				got[r] = append(got[r], s.text(&v, i))
			}
			for _, r := range ask {
				if !slices.Equal(want[r], got[r]) {
					t.Fatalf("%+v row %d of %d: %q, want %q", s.column, r, total, got[r], want[r])
				}
				delete(got, r)
			}
			if len(got) > 0 {
				t.Fatalf("values of rows not asked for: %v", got)
			}
		}
	}
}

// sameAsOracle reads the file row by row with parquet-go.
func sameAsOracle(t *testing.T, b []byte, samples []sample, groups []int) {
	t.Helper()
	f, err := oracle.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	leaves := map[string]int{}
	for i, p := range f.Schema().Columns() {
		leaves[strings.Join(p, "\x00")] = i
	}
	for g, rg := range f.RowGroups() {
		want := make([][][]string, len(samples))
		at := map[int]int{}
		for i := range samples {
			want[i] = samples[i].byRow(g, groups[g])
			at[leaves[strings.Join(samples[i].column.Path, "\x00")]] = i
		}
		rows := rg.Rows()
		buf := make([]oracle.Row, 512)
		row := 0
		for {
			n, err := rows.ReadRows(buf)
			for _, r := range buf[:n] {
				got := make([][]string, len(samples))
				for _, v := range r {
					if v.IsNull() {
						continue
					}
					i := at[v.Column()]
					var text string
					switch samples[i].column.Type {
					case Boolean:
						text = map[bool]string{true: "1", false: "0"}[v.Boolean()]
					case Int64:
						text = fmt.Sprint(v.Int64())
					case Double:
						text = fmt.Sprint(math.Float64bits(v.Double()))
					case Fixed:
						text = fmt.Sprintf("%x", v.ByteArray())
					default:
						text = string(v.ByteArray())
					}
					got[i] = append(got[i], text)
				}
				for i := range samples {
					if !slices.Equal(got[i], want[i][row]) {
						t.Fatalf("%+v row %d: parquet-go reads %q, want %q", samples[i].column, row, got[i], want[i][row])
					}
				}
				row++
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("parquet-go: row group %d after row %d: %v", g, row, err)
			}
		}
		rows.Close()
		if row != groups[g] {
			t.Fatalf("parquet-go reads %d rows, want %d", row, groups[g])
		}
	}
}
