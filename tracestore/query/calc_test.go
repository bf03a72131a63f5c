package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// TestExpressionReadsAgain: an expression that is written out reads as the same.
func TestExpressionReadsAgain(t *testing.T) {
	seed := seeds.One(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 2000 {
		want := randomExpr(rng, rng.IntN(6), append(randomColumns, "with space", "1st", `quo"te`))
		text := exprText(want, rng)
		got, fault := parseExpression(text)
		if fault != nil {
			t.Fatalf("seed %d: %s: %v", seed, text, fault)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(expr{}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".at" }, cmp.Ignore())); diff != "" {
			t.Fatalf("seed %d: %s reads as another expression (-want +got):\n%s", seed, text, diff)
		}
	}
}

// TestExpressionsAgainstReference evaluates random expressions for single spans.
// Queries with calculated fields are in TestAgainstReference.
func TestExpressionsAgainstReference(t *testing.T) {
	seed := seeds.One(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	spans := randomSpans(rng, 300)
	for range 20_000 {
		text := exprText(randomExpr(rng, 1+rng.IntN(3), randomColumns), rng)
		fields, err := compileFields([]CalculatedField{{"x", text}})
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, text, err)
		}
		e, fault := parseExpression(text)
		if fault != nil {
			t.Fatalf("seed %d: %s: %v", seed, text, fault)
		}
		for range 10 {
			s := &spans[rng.IntN(len(spans))]
			values := spanFields{fields: fields, span: s}
			got, err := values.value("x")
			if want := refEval(e, s); err != nil || refKind(got) != refKind(want) || got.Text() != want.Text() {
				t.Fatalf("seed %d: %s is %v %q, %v; the reference has %v %q, of %+v", seed, text, got.Type, got.Text(), err, want.Type, want.Text(), s)
			}
		}
	}
}

func TestSyntaxErrorOffset(t *testing.T) {
	for _, test := range []struct {
		expression string
		offset     int
	}{
		{"", 0}, {"1 +", 3}, {"$ä + )", 6}, {"IF(true, $a", 11}, {`"a\q"`, 2}, {"1e999", 0}, {"$a ? 1", 3}, {`CONCAT("x", NOPE())`, 12}, {"\xff", 0},
		{strings.Repeat("(", 200), maxExpressionDepth}, {strings.Repeat("!", 200) + "1", maxExpressionDepth},
		{strings.Repeat(" ", maxExpressionBytes) + "1", maxExpressionBytes},
	} {
		_, err := Compile(Spec{CalculatedFields: []CalculatedField{{"ok", "1"}, {"x", test.expression}}}, testNow)
		var syntax *SyntaxError
		var invalid *InvalidError
		switch {
		case !errors.As(err, &syntax) || !errors.As(err, &invalid):
			t.Errorf("%.40q: error %v is no SyntaxError and InvalidError", test.expression, err)
		case syntax.Offset != test.offset || syntax.Field != "calculated_fields[1].expression" || *invalid != syntax.InvalidError:
			t.Errorf("%.40q: fault at %d of %s, want %d of calculated_fields[1].expression", test.expression, syntax.Offset, syntax.Field, test.offset)
		}
	}
}

// chain are fields that each double the one before.
func chain(expression string, n int) []CalculatedField {
	fields := []CalculatedField{{"f0", expression}}
	for i := range n {
		fields = append(fields, CalculatedField{fmt.Sprintf("f%d", i+1), fmt.Sprintf("CONCAT($f%d, $f%d)", i, i)})
	}
	return fields
}

func TestCalculatedTextsAreBounded(t *testing.T) {
	blocks := cut(randomSpans(rand.New(rand.NewPCG(1, 1)), 10), nil)
	spec := Spec{CalculatedFields: chain(`"0123456789abcdef"`, 60), Filters: []Filter{{Column: "f60", Op: "exists"}}}
	p, err := Compile(spec, testNow)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), p, blocks)
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.HasSuffix(invalid.Field, ".expression") {
		t.Errorf("texts that double 60 times: error %v, want one that names the expression", err)
	}
	// The same fields, not doubled: each is worked out once however often it is read.
	for i := range spec.CalculatedFields[1:] {
		spec.CalculatedFields[i+1].Expression = fmt.Sprintf("$f%d + $f%d", i, max(0, i-1))
	}
	spec.CalculatedFields[0].Expression = "1"
	if p, err = Compile(spec, testNow); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), p, blocks); err != nil {
		t.Errorf("a chain of sums: %v", err)
	}
	s, err := CompileSearch(Search{CalculatedFields: spec.CalculatedFields, Columns: []string{"f60"}}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := RunSearch(t.Context(), s, blocks); err != nil || len(r.Rows) > 0 && r.Rows[0].Values[0] != trace.Int(4052739537881) { // the 62nd Fibonacci number
		t.Errorf("a search for the end of the chain: %v, %v", r, err)
	}
}

// TestCalculatedMemory: what calculated fields hold counts, and is given back.
func TestCalculatedMemory(t *testing.T) {
	spans := randomSpans(rand.New(rand.NewPCG(1, 1)), 400)
	for i := range spans {
		spans[i].StartUnixNano = testNow.UnixNano() - int64(i+1)
	}
	blocks := cut(spans, nil)
	spec := Spec{CalculatedFields: chain(`CONCAT(EVENT_TIMESTAMP(), $trace.span_id, "`+strings.Repeat("x", 1000)+`")`, 5), Filters: []Filter{{Column: "f5", Op: "exists"}}}
	run := func(o PoolOptions) (*Pool, error) {
		p, err := Compile(spec, testNow)
		if err != nil {
			t.Fatal(err)
		}
		pool := NewPool(o)
		if p.Lease, err = pool.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), p, blocks)
		return pool, err
	}
	_, err := run(PoolOptions{QueryBytes: 4 << 20})
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.HasPrefix(invalid.Field, "calculated_fields[") {
		t.Errorf("12 MB of texts in 4 MiB: error %v, want one that names the field", err)
	}
	for i := range spec.CalculatedFields[1:] { // no doubling
		spec.CalculatedFields[i+1].Expression = fmt.Sprintf("CONCAT($f%d)", i)
	}
	pool, err := run(PoolOptions{QueryBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if held := pool.Stats().HeldBytes; held > 1<<20 {
		t.Errorf("after the run %d bytes are held, of 2.4 MB that the texts took", held)
	}
}

// TestCalculatedCancel: a run ends within a block, not after it.
func TestCalculatedCancel(t *testing.T) {
	spans := make([]trace.Span, 20_000)
	for i := range spans {
		spans[i].StartUnixNano = testNow.UnixNano() - 1
	}
	p, err := Compile(Spec{CalculatedFields: []CalculatedField{{"x", "EVENT_TIMESTAMP() + $duration_ms"}}, Breakdowns: []string{"x"}}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int32
	v := p.where.view(ctx, newTestBlock(spans), func(int64) error {
		if asked.Add(1) == 3 {
			cancel()
		}
		return nil
	})
	if _, err := v.vectors("x"); !errors.Is(err, context.Canceled) || asked.Load() > 4 {
		t.Errorf("canceled after 3,000 of 20,000 rows: error %v, asked %d times", err, asked.Load())
	}
}

// TestCalculatedRows: a field is worked out for the rows asked for, and again if
// others are.
func TestCalculatedRows(t *testing.T) {
	spans := randomSpans(rand.New(rand.NewPCG(1, 1)), 200)
	p, err := Compile(Spec{CalculatedFields: []CalculatedField{{"x", "$duration_ms + $retries"}, {"y", "$x > 100"}}}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	v := newView(newTestBlock(spans))
	v.fields = p.where.fields
	rows := func(n ...int) column.Bitmap {
		b := column.NewBitmap(200)
		for _, i := range n {
			b.Set(i)
		}
		return b
	}
	for _, step := range []struct{ ask, have column.Bitmap }{
		{rows(3, 100), rows(3, 100)}, {rows(3), rows(3, 100)}, {rows(3, 199), rows(3, 100, 199)},
	} {
		vecs, err := v.vectorsOf("y", step.ask)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.have, presence(vecs, 200)); diff != "" {
			t.Errorf("rows worked out (-want +got):\n%s", diff)
		}
	}
	vecs, err := v.vectorsOf("y", nil)
	if err != nil || len(vecs) != 1 || vecs[0].Present != nil {
		t.Errorf("all rows: %v, %v", vecs, err)
	}
}

// FuzzExpression: whatever is written, reading it ends, says where it is at fault,
// and evaluating what can be read does too.
func FuzzExpression(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		f.Add(exprText(randomExpr(rng, 4, randomColumns), rng))
	}
	for _, s := range []string{"$\"a\" != `b`", "-(-$load) % -.5e-3", "IF(,)", "\"\\u00e9\\x41\\'\"", "REG_VALUE($mixed, `(a|5){3}`)", "FORMAT_TIME(\"%j%%%e\", $duration_nano)",
		"BUCKET($load, 0.1, -1, 1e300)", "!!AND(null,) OR 9223372036854775807 + 1", "UNIX_TIMESTAMP(\"0000-01-01T00:00:00Z\")"} {
		f.Add(s)
	}
	blocks := cut(randomSpans(rand.New(rand.NewPCG(3, 3)), 40), rand.New(rand.NewPCG(3, 3)))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			t.Skip()
		}
		spec := Spec{CalculatedFields: []CalculatedField{{"x", text}, {"y", "CONCAT($x)"}}, Breakdowns: []string{"x"}, Calculations: []Calculation{{"SUM", "x"}},
			Filters: []Filter{{"y", "!=", "z"}}}
		p, err := Compile(spec, testNow)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Message == "" || syntax.Offset < 0 || syntax.Offset > len(text) {
				t.Fatalf("%q: error %v is no SyntaxError with a message and a place in the text", text, err)
			}
			return
		}
		p.MemoryBytes = 256 << 20
		r, err := Run(t.Context(), p, blocks)
		if err != nil {
			t.Fatalf("%q: Run: %v", text, err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatalf("%q: the result is not JSON: %v", text, err)
		}
	})
}
