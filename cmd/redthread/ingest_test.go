package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// bytesCodec sends and receives messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) {
	return *v.(*[]byte), nil
}
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}

var _ encoding.Codec = bytesCodec{}

// exportGRPC sends one export request.
func exportGRPC(t testing.TB, addr string, body []byte, opts ...grpc.CallOption) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var answer []byte
	return conn.Invoke(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &body, &answer, append(opts, grpc.ForceCodec(bytesCodec{}))...)
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// spansIn makes one request of n spans of one trace.
func spansIn(id trace.ID, n int, environment string) []byte {
	spans := make([]trace.Span, n)
	for i := range spans {
		var sid trace.SpanID
		binary.BigEndian.PutUint64(sid[:], uint64(i)+1)
		spans[i] = trace.Span{TraceID: id, SpanID: sid, Name: "work", Service: "sizes", Environment: environment, Kind: trace.KindInternal,
			StartUnixNano: time.Now().UnixNano(), DurationNano: 1e6}
		if i > 0 {
			binary.BigEndian.PutUint64(spans[i].ParentID[:], 1)
		}
	}
	return otlp.AppendSpans(nil, spans)
}

func newID(r *rand.Rand) (id trace.ID) {
	binary.BigEndian.PutUint64(id[:], r.Uint64()|1)
	binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
	return id
}

// TestIngest sends good and bad requests to a running server, and looks at its
// memory when the bad ones are meant to fill it.
func TestIngest(t *testing.T) {
	p := start(t, t.TempDir())
	r := rand.New(rand.NewPCG(rand.Uint64(), 3))

	t.Run("encodings", func(t *testing.T) {
		for _, enc := range []string{"", "gzip", "zstd"} {
			id := newID(r)
			body := spansIn(id, 8192, "default")
			switch enc {
			case "gzip":
				body = gzipped(body)
			case "zstd":
				body = zstded(t, body)
			}
			if got, text := send(t, p.otlpHTTP+"/v1/traces", body, "Content-Encoding", enc); got != 200 {
				t.Fatalf("8,192 spans, encoding %q: %d %s", enc, got, text)
			}
			p.wantSpans(t, id, 8192)
		}
		id := newID(r)
		if err := exportGRPC(t, p.otlpGRPC, spansIn(id, 8192, "default")); err != nil {
			t.Fatalf("8,192 spans over gRPC: %v", err)
		}
		p.wantSpans(t, id, 8192)
		id = newID(r)
		if err := exportGRPC(t, p.otlpGRPC, spansIn(id, 10, "default"), grpc.UseCompressor("gzip")); err != nil {
			t.Fatalf("gRPC with gzip: %v", err)
		}
		p.wantSpans(t, id, 10)
	})

	t.Run("two environments in one batch", func(t *testing.T) {
		uk, de := newID(r), newID(r)
		body := append(spansIn(uk, 3, "production-uk"), spansIn(de, 4, "production-de")...)
		if got, text := send(t, p.url+"/v1/traces", body); got != 200 {
			t.Fatalf("%d %s", got, text)
		}
		p.wantSpans(t, uk, 3)
		p.wantSpans(t, de, 4)
		for env, want := range map[string]float64{"production-uk": 3, "production-de": 4} {
			var res struct {
				Results []struct{ Data map[string]float64 } `json:"results"`
			}
			p.api(http.MethodPost, "/api/v1/query", map[string]any{"environment": env}, &res)
			if len(res.Results) != 1 || res.Results[0].Data["COUNT"] != want {
				t.Errorf("COUNT in %s = %+v, want %v", env, res.Results, want)
			}
		}
	})

	t.Run("bad bodies", func(t *testing.T) {
		good := spansIn(newID(r), 5, "default")
		bomb := gzipped(make([]byte, 200<<20))
		for _, tc := range []struct {
			name    string
			body    []byte
			headers []string
			want    int
			text    string
		}{
			{"truncated protobuf", good[:len(good)-7], nil, 400, ""},
			{"no protobuf at all", []byte("hello, is this the collector?"), nil, 400, ""},
			{"JSON with a wrong type", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}`), []string{"Content-Type", "application/json"}, 400, "traceId"},
			{"JSON cut off", []byte(`{"resourceSpans":[`), []string{"Content-Type", "application/json"}, 400, ""},
			{"a bomb of 200 MB", bomb, []string{"Content-Encoding", "gzip"}, 413, "64"},
			{"sent too large", make([]byte, 21<<20), nil, 413, "20"},
			{"unknown encoding", good, []string{"Content-Encoding", "br"}, 415, "br"},
			{"not gzip", good, []string{"Content-Encoding", "gzip"}, 400, "gzip"},
			{"unknown content type", good, []string{"Content-Type", "text/csv"}, 415, "text/csv"},
			{"wrong key", good, []string{"x-redthread-key", "nonsense"}, 401, ""},
		} {
			got, text := send(t, p.otlpHTTP+"/v1/traces", tc.body, tc.headers...)
			for tries := 1; got == 0 && tries < 20; tries++ { // what it said was lost
				got, text = send(t, p.otlpHTTP+"/v1/traces", tc.body, tc.headers...)
			}
			if got != tc.want || !strings.Contains(text, tc.text) || text == "" {
				t.Errorf("%s: %d %q, want %d and %q in it", tc.name, got, text, tc.want, tc.text)
			}
		}
		if err := exportGRPC(t, p.otlpGRPC, good[:len(good)-7]); status.Code(err) != codes.InvalidArgument {
			t.Errorf("truncated protobuf over gRPC: %v, want InvalidArgument", err)
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { send(t, p.otlpHTTP+"/v1/traces", bomb, "Content-Encoding", "gzip") })
		}
		wg.Wait()
		const most = 700 << 20 // 256 MiB of --memory, Go's slack and the runtime's; 16 bombs are 3.2 GB
		if peak := rssPeak(t, p.cmd.Process.Pid); peak > most {
			t.Errorf("peak memory is %d MB after the bombs, want at most %d MB", peak>>20, most>>20)
		} else {
			t.Logf("peak memory %d MB", peak>>20)
		}
	})
	p.stop()
}

// send posts a body and returns status and text. headers are pairs; an empty
// value leaves the header out.
func send(t testing.TB, url string, body []byte, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		// A server that refuses a body by its length may close before all of it
		// was sent; what it said is lost then.
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		t.Errorf("%s: %v", url, err)
	}
	return res.StatusCode, string(text)
}

func (p *process) wantSpans(t *testing.T, id trace.ID, want int) {
	t.Helper()
	eventually(t, patience, "trace "+id.String(), func() error {
		if got := p.spanCount(id); got != want {
			return fmt.Errorf("%d spans, want %d", got, want)
		}
		return nil
	})
}

// TestBadSpec answers a query that makes no sense with the field at fault.
func TestBadSpec(t *testing.T) {
	p := start(t, t.TempDir())
	for _, tc := range []struct{ spec, field string }{
		{`{"calculations":[{"op":"GUESS"}]}`, "calculations"},
		{`{"filters":[{"column":"x","op":"resembles","value":1}]}`, "filters"},
		{`{"limit":-1}`, "limit"},
		{`{`, ""},
	} {
		req, err := http.NewRequest(http.MethodPost, p.url+"/api/v1/query", strings.NewReader(tc.spec))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+p.admin())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var fault struct {
			Error struct{ Code, Message, Field string } `json:"error"`
		}
		err = json.NewDecoder(res.Body).Decode(&fault)
		res.Body.Close()
		if err != nil || res.StatusCode != 400 || fault.Error.Message == "" || !strings.Contains(fault.Error.Field, tc.field) {
			t.Errorf("%s: %d %+v (%v), want 400 naming %q", tc.spec, res.StatusCode, fault.Error, err, tc.field)
		}
	}
	p.stop()
}
