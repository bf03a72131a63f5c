package otlp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"redthread/tracestore/trace"
)

var filterSecret = []byte("0123456789abcdef0123456789abcdef")

// hashText is what stands for a hashed text, made by the book.
func hashText(s string) string {
	m := hmac.New(sha256.New, filterSecret)
	m.Write([]byte(s))
	return "hash:" + hex.EncodeToString(m.Sum(nil)[:16])
}

// filtered applies a filter, wants the outcome to be valid, and returns it.
func filtered(t testing.TB, f *Filter, sig Signal, raw []byte) []byte {
	t.Helper()
	out, err := f.Apply(nil, sig, raw)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	was, err1 := Validate(sig, raw)
	is, err2 := Validate(sig, out)
	if err1 != nil || err2 != nil || was != is {
		t.Fatalf("report %+v (%v) became %+v (%v)", was, err1, is, err2)
	}
	return out
}

// texts shows attributes without their types, but for hashes that are not text.
func texts(list []trace.Attribute) []string {
	out := []string{}
	for _, a := range list {
		s := a.Key + "=" + a.Value.Text()
		if strings.HasPrefix(a.Value.Str, HashPrefix) && a.Value.Type != trace.TypeString {
			s += " which is no text"
		}
		out = append(out, s)
	}
	return out
}

func TestFilterNames(t *testing.T) {
	const keep = ""
	mapOf := func(pairs ...any) []*commonpb.KeyValue { return kv(pairs...) }
	for _, tt := range []struct {
		name       string
		drop, hash string // names, by spaces
		key        string
		value      any
		want       []string // attributes as decode shows them; nil: as without a filter
	}{
		{"exact", "user.email", keep, "user.email", "a@b.c", []string{}},
		{"another case is another name", "User.email", keep, "user.email", "a@b.c", nil},
		{"a longer name", "user", keep, "user.email", "a@b.c", nil},
		{"a shorter name", "user.email", keep, "user", "a", nil},
		{"wildcard", "user.*", keep, "user.email", "a@b.c", []string{}},
		{"wildcard far below", "user.*", keep, "user.home.address", "x", []string{}},
		{"wildcard in the middle", "user.home.*", keep, "user.home.address", "x", []string{}},
		{"wildcard, not its prefix", "user.*", keep, "user", "a", nil},
		{"wildcard, a name that only begins so", "user.*", keep, "username", "a", nil},
		{"hash", keep, "user.email", "user.email", "a@b.c", []string{"user.email=" + hashText("a@b.c")}},
		{"hash by wildcard", keep, "user.*", "user.id", "7", []string{"user.id=" + hashText("7")}},
		{"hash of a number is that of its text", keep, "user.id", "user.id", 7, []string{"user.id=" + hashText("7")}},
		{"hash of a float", keep, "x", "x", 2.5, []string{"x=" + hashText("2.5")}},
		{"hash of a bool", keep, "x", "x", true, []string{"x=" + hashText("true")}},
		{"hash of bytes", keep, "x", "x", []byte{1, 2}, []string{"x=" + hashText("AQI=")}},
		{"hash of nothing", keep, "x", "x", nil, []string{"x=" + hashText("null")}},
		{"hash of an array", keep, "x", "x", []any{"a", 1}, []string{"x=" + hashText(`["a",1]`)}},
		{"both: dropped", "user.*", "user.id", "user.id", "7", []string{}},
		{"both, the other way", "user.id", "user.*", "user.id", "7", []string{}},
		{"a map whole", "user", keep, "user", mapOf("email", "a"), []string{}},
		{"a map hashed whole", keep, "user", "user", mapOf("email", "a"), []string{"user=" + hashText(`{"email":"a"}`)}},
		{"inside a map", "user.email", keep, "user", mapOf("email", "a", "id", 7), []string{`user={"id":7}`, "user.id=7"}},
		{"inside a map, hashed", keep, "user.email", "user", mapOf("id", 7, "email", "a"),
			[]string{`user={"id":7,"email":"` + hashText("a") + `"}`, "user.id=7", "user.email=" + hashText("a")}},
		{"all inside a map", "user.*", keep, "user", mapOf("email", "a", "id", 7), []string{"user={}"}},
		{"a map in a map", "user.home.*", keep, "user", mapOf("home", mapOf("street", "x"), "id", 7), []string{`user={"home":{},"id":7}`, "user.id=7"}},
		{"a map in an array", "users.email", keep, "users", []any{mapOf("email", "a", "id", 7), "b"}, []string{`users=[{"id":7},"b"]`}},
		{"deeper than rows flatten", "a.b.c.d.e.f.secret", keep, "a",
			mapOf("b", mapOf("c", mapOf("d", mapOf("e", mapOf("f", mapOf("secret", "x")))))),
			[]string{`a={"b":{"c":{"d":{"e":{"f":{}}}}}}`, `a.b.c.d.e.f={}`}},
		{"the resource's, which is none", "resource.user.id", keep, "user.id", "7", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oneSpan()
			s.Attributes = []*commonpb.KeyValue{attr("first", "1"), attr(tt.key, tt.value), attr("last", 2)}
			raw := mustMarshal(t, request(nil, s))
			plain := decodeOne(t, Traces, request(nil, s), Arrival{})
			f := NewFilter(strings.Fields(tt.drop), strings.Fields(tt.hash), filterSecret)
			out := filtered(t, f, Traces, raw)
			got, _, err := DecodeAll(Traces, out, Arrival{})
			if err != nil {
				t.Fatal(err)
			}
			want := texts(plain.Attributes)
			if tt.want == nil && !bytes.Equal(out, raw) {
				t.Error("a request that is not meant was changed")
			}
			if tt.want != nil {
				want = append(append([]string{"first=1"}, tt.want...), "last=2")
			}
			gotShown := texts(got[0].Attributes)
			slices.Sort(gotShown)
			slices.Sort(want)
			if diff := cmp.Diff(want, gotShown); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilterReachesEveryPlace puts a value wherever an attribute may be.
func TestFilterReachesEveryPlace(t *testing.T) {
	const secret = "the-value-nobody-may-see"
	s := oneSpan()
	s.Attributes = kv("app.secret", secret, "app.id", secret, "kept", "span")
	s.Events = []*tracepb.Span_Event{
		{Name: "e", Attributes: kv("app.secret", secret, "kept", "event")},
		{Name: "job failed", Attributes: kv("bullmq.job.failed.reason", secret)},
		{Name: "exception", Attributes: kv("exception.type", "Boom", "exception.message", secret)},
	}
	s.Links = []*tracepb.Span_Link{{TraceId: unhex(testTrace), SpanId: unhex(testParent), Attributes: kv("app.secret", secret, "kept", "link")}}
	s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: secret}
	m := request(kv("app.secret", secret, "host.name", secret, "service.name", "shop"), s)
	m.ResourceSpans[0].ScopeSpans[0].Scope = &commonpb.InstrumentationScope{Name: "lib", Attributes: kv("app.secret", secret, "mode", secret)}
	f := NewFilter([]string{"app.secret", "exception.message", "status_message", "resource.host.name"}, []string{"app.id", "scope.mode"}, filterSecret)
	out := filtered(t, f, Traces, mustMarshal(t, m))
	if bytes.Contains(out, []byte(secret)) {
		t.Errorf("the request still holds the value: %q", out)
	}
	got, _, err := DecodeAll(Traces, out, Arrival{})
	if err != nil || len(got) != 1 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	row := got[0]
	want := []string{"app.id=" + hashText(secret), "kept=span", "exception.type=Boom", "otel.scope.name=lib", "mode=" + hashText(secret)}
	if diff := cmp.Diff(want, texts(row.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if !row.Error || row.StatusMessage != "" || row.Service != "shop" || len(row.Links) != 1 || len(row.Events) != 3 || row.Events[0].Name != "e" {
		t.Errorf("the rest of the span changed: %+v", row)
	}

	logs := &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{Resource: m.ResourceSpans[0].Resource, ScopeLogs: []*logspb.ScopeLogs{{
		LogRecords: []*logspb.LogRecord{
			{TraceId: unhex(testTrace), Attributes: kv("app.secret", secret), Body: anyOf(kv("secret", secret, "id", secret, "text", "hello"))},
			{TraceId: unhex(testTrace), Attributes: kv("app.id", secret), Body: anyOf("hello")},
		}}}}}}
	f = NewFilter([]string{"app.secret", "resource.host.name", "body.secret"}, []string{"app.*", "body.id"}, filterSecret)
	out = filtered(t, f, Logs, mustMarshal(t, logs))
	got, _, err = DecodeAll(Logs, out, Arrival{})
	if bytes.Contains(out, []byte(secret)) || err != nil || got[0].Name != `{"id":"`+hashText(secret)+`","text":"hello"}` || got[1].Name != "hello" {
		t.Errorf("logs: %q, %v", out, err)
	}
	for name, want := range map[string]string{"drop": "", "hash": hashText("hello")} {
		f := NewFilter([]string{"body"}, nil, filterSecret)
		if name == "hash" {
			f = NewFilter(nil, []string{"body"}, filterSecret)
		}
		got, _, err := DecodeAll(Logs, filtered(t, f, Logs, out), Arrival{})
		if err != nil || got[1].Name != want {
			t.Errorf("%s the body: %q, %v, want %q", name, got[1].Name, err, want)
		}
	}
}

func TestFilterHashesAreEqualAcrossRequestsAndFilters(t *testing.T) {
	s := oneSpan()
	s.Attributes = kv("user.id", 81723)
	other := oneSpan()
	other.Attributes = kv("enduser.id", "81723")
	var seen []string
	for range 2 { // a filter of its own each time, as after a restart
		f := NewFilter(nil, []string{"user.id", "enduser.id"}, filterSecret)
		for _, m := range []proto.Message{request(nil, s), request(nil, other)} {
			got, _, err := DecodeAll(Traces, filtered(t, f, Traces, mustMarshal(t, m)), Arrival{})
			if err != nil || got[0].Attributes[0].Value.Type != trace.TypeString {
				t.Fatalf("%+v %v", got, err)
			}
			seen = append(seen, got[0].Attributes[0].Value.Str)
		}
	}
	if len(slices.Compact(slices.Clone(seen))) != 1 {
		t.Errorf("hashes of one value differ: %q", seen)
	}
	f := NewFilter(nil, []string{"user.id"}, []byte("another installation"))
	got, _, _ := DecodeAll(Traces, filtered(t, f, Traces, mustMarshal(t, request(nil, s))), Arrival{})
	if got[0].Attributes[0].Value.Str == seen[0] {
		t.Error("another secret makes the same hash")
	}
}

// FuzzFilter: what Validate accepts, the filter can rewrite; the outcome is valid
// and has none of the names, and a filter of names that nobody has changes nothing.
func FuzzFilter(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 5 {
		f.Add(mustMarshal(f, randomRequest(r, 1, 2)), true)
	}
	f.Add(mustMarshal(f, request(kv("a", kv("b", "c", "d", []any{kv("b", 1)})), oneSpan())), true)
	filter := NewFilter([]string{"a", "http.*", "b.c"}, []string{"s", "app.*"}, filterSecret)
	none := NewFilter([]string{"no.such.name"}, nil, filterSecret)
	f.Fuzz(func(t *testing.T, raw []byte, traces bool) {
		sig := Logs
		if traces {
			sig = Traces
		}
		if len(raw) > 64<<10 {
			return
		}
		if _, err := Validate(sig, raw); err != nil {
			return
		}
		rows, _, err := DecodeAll(sig, filtered(t, filter, sig, raw), Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, a := range row.Attributes {
				if a.Key == "a" || strings.HasPrefix(a.Key, "http.") {
					t.Errorf("%s is still there", a.Key)
				}
				if a.Key == "s" && !strings.HasPrefix(a.Value.Str, HashPrefix) {
					t.Errorf("%s is not hashed: %q", a.Key, a.Value.Str)
				}
			}
		}
		was, _, err1 := DecodeAll(sig, raw, Arrival{})
		is, _, err2 := DecodeAll(sig, filtered(t, none, sig, raw), Arrival{})
		if diff := sameRows(was, is); err1 != nil || err2 != nil || diff != "" {
			t.Errorf("a filter that means nothing changed rows (%v, %v):\n%s", err1, err2, diff)
		}
	})
}

// BenchmarkFilter measures what a list adds to a request of 1,000 spans.
func BenchmarkFilter(b *testing.B) {
	raw := mustMarshal(b, randomRequest(rand.New(rand.NewPCG(1, 1)), 10, 100))
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("no.such%d.*", i))
	}
	for _, tt := range []struct {
		name       string
		drop, hash []string
	}{{"list=drop1", []string{"http.route"}, nil}, {"list=hash1", nil, []string{"http.route"}}, {"list=drop200", many, nil}} {
		b.Run(tt.name, func(b *testing.B) {
			f := NewFilter(tt.drop, tt.hash, filterSecret)
			var dst []byte
			var err error
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if dst, err = f.Apply(dst[:0], Traces, raw); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/span")
		})
	}
}
