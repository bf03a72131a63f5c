package query

import (
	"context"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// statsBlock tells what its maps say of its columns and counts what is read.
type statsBlock struct {
	column.Block
	stats map[column.Info]column.Stats // by key and type
	has   map[string]string            // by key: the only value that MayHave allows
	read  map[string]bool
}

func (b *statsBlock) Stats(key string, t trace.Type) (column.Stats, bool) {
	st, ok := b.stats[column.Info{Key: key, Type: t}]
	return st, ok
}

func (b *statsBlock) MayHave(key string, hash uint64) bool {
	text, ok := b.has[key]
	return !ok || column.HashString(0, text) == hash
}

func (b *statsBlock) Column(key string, t trace.Type) (*column.Vector, error) {
	b.read[key] = true
	return b.Block.Column(key, t)
}

// TestPruning: what a block's statistics tell is not read from its rows.
func TestPruning(t *testing.T) {
	spans := make([]trace.Span, 3)
	for i := range spans {
		spans[i] = trace.Span{
			TraceID: trace.ID{15: 7}, StartUnixNano: testNow.UnixNano() - 1e9, DurationNano: int64(i+1) * 1e6, Service: "web", Environment: "uk", Kind: trace.KindServer,
			Attributes: []trace.Attribute{
				{Key: "http.status_code", Value: trace.Int(int64(200 + i))},
				{Key: "user.id", Value: trace.String("u" + string(rune('1'+i)))},
				{Key: "load", Value: trace.Float(float64(i))},
			},
		}
	}
	all := []column.ValueCount{{Text: "web", Rows: 3}}
	for _, c := range []struct {
		name, spec string
		scanned    bool
		unread     []string // columns
	}{
		{"nothing to test", `{}`, true, []string{column.Start, column.Signal}},
		{"equality by its filter", `{"filters":[{"column":"user.id","op":"=","value":"u9"}]}`, false, nil},
		{"equality that may be", `{"filters":[{"column":"user.id","op":"=","value":"u1"}]}`, true, nil},
		{"in, none of which may be", `{"filters":[{"column":"user.id","op":"in","value":["u8","u9"]}]}`, false, nil},
		{"in, one of which may be", `{"filters":[{"column":"user.id","op":"in","value":["u9","u1"]}]}`, true, nil},
		{"under an alias", `{"filters":[{"column":"enduser.id","op":"=","value":"u9"}]}`, false, nil},
		{"an alias that may be", `{"filters":[{"column":"enduser.id","op":"=","value":"u1"}]}`, true, nil},
		{"a denied equality", `{"filters":[{"column":"user.id","op":"!=","value":"u9"}]}`, true, []string{"user.id"}},
		{"a key that is not there", `{"filters":[{"column":"nowhere","op":"exists"}]}`, false, nil},
		{"no key that is there", `{"filters":[{"column":"nowhere","op":"does-not-exist"}]}`, true, nil},
		{"above the greatest", `{"filters":[{"column":"http.status_code","op":">","value":202}]}`, false, nil},
		{"the greatest", `{"filters":[{"column":"http.status_code","op":">=","value":202}]}`, true, nil},
		{"below the least, by the new name", `{"filters":[{"column":"http.response.status_code","op":"<","value":200}]}`, false, nil},
		{"a float out of bounds", `{"filters":[{"column":"load","op":">","value":2}]}`, false, nil},
		{"a float within", `{"filters":[{"column":"load","op":">=","value":2}]}`, true, nil},
		{"duration in milliseconds", `{"filters":[{"column":"duration_ms","op":">","value":3}]}`, false, nil},
		{"the longest", `{"filters":[{"column":"duration_ms","op":">=","value":3}]}`, true, nil},
		{"no error", `{"filters":[{"column":"error","op":"=","value":true}]}`, false, nil},
		{"all without error", `{"filters":[{"column":"error","op":"!=","value":true}]}`, true, []string{column.Error}},
		{"another kind", `{"filters":[{"column":"span.kind","op":"=","value":"client"}]}`, false, nil},
		{"all of one kind", `{"filters":[{"column":"span.kind","op":"=","value":"server"}]}`, true, []string{column.Kind}},
		{"all of one service", `{"filters":[{"column":"service.name","op":"=","value":"web"}]}`, true, []string{column.Service}},
		{"another service", `{"filters":[{"column":"service.name","op":"starts-with","value":"x"}]}`, false, nil},
		{"the environment of all", `{"environment":"uk"}`, true, []string{column.Environment}},
		{"another environment", `{"environment":"de"}`, false, nil},
		{"both", `{"filters":[{"column":"user.id","op":"=","value":"u1"},{"column":"error","op":"=","value":true}]}`, false, nil},
		{"one of both", `{"filters":[{"column":"user.id","op":"=","value":"u1"},{"column":"error","op":"=","value":true}],"filter_combination":"OR"}`, true, []string{column.Error}},
		{"neither", `{"filters":[{"column":"user.id","op":"=","value":"u9"},{"column":"error","op":"=","value":true}],"filter_combination":"OR"}`, false, nil},
		{"no such trace", `{"filters":[{"column":"trace.trace_id","op":"=","value":"00000000-0000-0000-0000-0000000000FF"}]}`, false, nil},
		{"a trace that may be", `{"filters":[{"column":"trace.trace_id","op":"=","value":"00000000000000000000000000000007"}]}`, true, nil},
		{"outside the window", `{"start_time":1}`, true, nil},
		{"before the window", `{"start_time":0,"end_time":1}`, false, nil},
	} {
		b := &statsBlock{Block: newTestBlock(spans), read: make(map[string]bool), has: map[string]string{"user.id": "u1", column.TraceID: "00000000000000000000000000000007"},
			stats: map[column.Info]column.Stats{
				{Key: column.Signal, Type: trace.TypeInt}:         {},
				{Key: column.Duration, Type: trace.TypeInt}:       {Min: 1e6, Max: 3e6, Distinct: -1},
				{Key: column.Error, Type: trace.TypeBool}:         {},
				{Key: column.Kind, Type: trace.TypeInt}:           {Min: float64(trace.KindServer), Max: float64(trace.KindServer)},
				{Key: "http.status_code", Type: trace.TypeInt}:    {Min: 200, Max: 202, Distinct: 3},
				{Key: "load", Type: trace.TypeFloat}:              {Min: 0, Max: 2, Distinct: 3},
				{Key: column.Service, Type: trace.TypeString}:     {Distinct: 1, Top: all},
				{Key: column.Environment, Type: trace.TypeString}: {Distinct: 1, Top: []column.ValueCount{{Text: "uk", Rows: 3}}},
			}}
		p := mustCompile(t, c.spec)
		r, err := Run(context.Background(), p, []column.Block{b})
		if err != nil {
			t.Fatal(err)
		}
		if scanned := r.Stats.RowsScanned > 0; scanned != c.scanned || !scanned && len(b.read) > 0 {
			t.Errorf("%s: %s scanned %d rows and read %v, want the block read: %t", c.name, c.spec, r.Stats.RowsScanned, b.read, c.scanned)
		}
		for _, name := range c.unread {
			if b.read[name] {
				t.Errorf("%s: %s read the column %s, of which the statistics tell enough", c.name, c.spec, name)
			}
		}
		want := refRun(mustParse(t, c.spec), spans, testNow)
		if got := r.Total.Data["COUNT"]; got != want.Total.Data["COUNT"] {
			t.Errorf("%s: %s counts %v rows, want %v", c.name, c.spec, got, want.Total.Data["COUNT"])
		}
	}
}

// TestSearchStopsEarly: blocks that cannot hold a row of the page are not read.
func TestSearchStopsEarly(t *testing.T) {
	var blocks []column.Block
	for b := range 50 {
		spans := make([]trace.Span, 40)
		for i := range spans {
			spans[i].SpanID[0], spans[i].SpanID[1] = byte(b), byte(i)
			spans[i].StartUnixNano = testNow.UnixNano() - int64(b)*1e9 - int64(i)*1e6 - 1
			spans[i].DurationNano = int64(b*1000 + i)
		}
		blocks = append(blocks, &statsBlock{Block: newTestBlock(spans), read: make(map[string]bool), stats: map[column.Info]column.Stats{
			{Key: column.Duration, Type: trace.TypeInt}: {Min: float64(b * 1000), Max: float64(b*1000 + 39), Distinct: 40},
		}})
	}
	for order, want := range map[string]byte{"newest": 0, "slowest": 49} {
		p, err := CompileSearch(Search{Limit: 20, Order: order}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		r, err := RunSearch(context.Background(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) != 20 || r.Rows[0].SpanID[0] != want || r.Rows[19].SpanID[0] != want || r.Next == "" {
			t.Errorf("%s: %d rows, from block %d to %d, next %q; want 20 of block %d", order, len(r.Rows), r.Rows[0].SpanID[0], r.Rows[len(r.Rows)-1].SpanID[0], r.Next, want)
		}
		if r.Stats.RowsScanned > 8*40 { // each processor may begin one more
			t.Errorf("%s: read %d rows of 50 blocks of 40, the first of which has all rows of the page", order, r.Stats.RowsScanned)
		}
	}
}

func mustParse(t testing.TB, spec string) Spec {
	t.Helper()
	s, err := ParseSpec([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
