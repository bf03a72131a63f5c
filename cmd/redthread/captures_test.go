package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"redthread/tracestore/graph"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// captureDir has what real senders sent, and what truly caused what; its README
// says where it comes from.
var captureDir = filepath.Join("..", "..", "tracestore", "graph", "testdata", "captures")

// capture is one of them.
type capture struct {
	name   string
	bodies []captureBody
	spans  []trace.Span
	truth  struct {
		Jobs []struct {
			Job       string
			Root      trace.ID   `json:"root_trace_id"`
			MixedWith []trace.ID `json:"mixed_with"`
			Runs      []trace.Ref
		}
		Cron []trace.Ref
	}
}

// captureBody is a request as it was sent, gzipped.
type captureBody struct {
	raw  []byte
	kind string
}

func readCapture(t *testing.T, name string) *capture {
	t.Helper()
	c := &capture{name: name}
	raw, err := os.ReadFile(filepath.Join(captureDir, name, "truth.json"))
	if err == nil {
		err = json.Unmarshal(raw, &c.truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(captureDir, name, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("capture %s has no bodies: %v", name, err)
	}
	for _, path := range files {
		b := captureBody{kind: "application/x-protobuf"}
		if b.raw, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b.raw))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err == nil && strings.HasSuffix(path, ".json.gz") {
			b.kind = "application/json"
			plain, err = otlp.FromJSON(nil, otlp.Traces, plain)
		}
		if err != nil {
			t.Fatal(err)
		}
		spans, _, err := otlp.DecodeAll(otlp.Traces, plain, otlp.Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		c.bodies, c.spans = append(c.bodies, b), append(c.spans, spans...)
	}
	return c
}

// captureScore counts the answers about the runs of jobs: right; candidates,
// where a batch of several requests stands before the job; lost, unknown with a
// reason; wrong.
type captureScore struct{ Right, Candidates, Lost, Wrong int }

// judge asks the running program what caused each run of a job.
func (c *capture) judge(t *testing.T, p *process, what string) (sc captureScore) {
	t.Helper()
	type answer struct {
		Status, Reason string
		Origins        []trace.Ref
		Furthest       *trace.Ref
	}
	ask := func(run trace.Ref) *answer {
		var a answer
		switch got := p.api(http.MethodGet, "/api/v1/traces/"+run.TraceID.String()+"/spans/"+run.SpanID.String()+"/origin", nil, &a); got {
		case http.StatusOK:
			return &a
		case http.StatusNotFound: // its own spans were left out
		default:
			t.Fatalf("origin of %v: status %d", run, got)
		}
		return nil
	}
	for _, job := range c.truth.Jobs {
		for _, run := range job.Runs {
			a := ask(run)
			if a == nil {
				continue
			}
			var said []trace.ID
			for _, o := range a.Origins {
				said = append(said, o.TraceID)
			}
			slices.SortFunc(said, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
			mixed := slices.Clone(job.MixedWith)
			slices.SortFunc(mixed, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
			switch {
			case a.Status == string(graph.Unknown) && a.Reason != "" && a.Furthest != nil:
				sc.Lost++
			case a.Status == string(graph.Found) && said[0] == job.Root && len(mixed) < 2:
				sc.Right++
			case a.Status == string(graph.Ambiguous) && slices.Equal(said, mixed):
				sc.Candidates++
			default:
				sc.Wrong++
				t.Errorf("%s, %s: %s run %v: %s %s %v, want %v", c.name, what, job.Job, run, a.Status, a.Reason, said, mixed)
			}
		}
	}
	for _, run := range c.truth.Cron {
		switch a := ask(run); {
		case a == nil:
		case a.Status == string(graph.Unknown):
			sc.Lost++
		case a.Status == string(graph.Found) && a.Origins[0].TraceID == run.TraceID:
			sc.Right++
		default:
			sc.Wrong++
			t.Errorf("%s, %s: cron run %v: %s %v, want its own trace", c.name, what, run, a.Status, a.Origins)
		}
	}
	return sc
}

// await waits until the spans, each counted once, are found.
func (c *capture) await(t *testing.T, p *process, spans []trace.Span) {
	t.Helper()
	want := map[trace.ID]map[string]bool{}
	for i := range spans {
		s := &spans[i]
		if want[s.TraceID] == nil {
			want[s.TraceID] = map[string]bool{}
		}
		want[s.TraceID][fmt.Sprint(s.SpanID, s.Kind, s.Service)] = true
	}
	for id, n := range want {
		eventually(t, patience, "all spans of "+id.String()+" are found", func() error {
			if got := p.spanCount(id); got != len(n) {
				return fmt.Errorf("%d of %d", got, len(n))
			}
			return nil
		})
	}
}

// TestCaptures sends what real senders sent to the running program: as they sent
// it, each span twice and in any order, from segments after a restart, and with
// one service left out at a time. Then it names the request behind each job, or
// says honestly that it cannot.
func TestCaptures(t *testing.T) {
	for name, want := range map[string]captureScore{"node": {Right: 42, Candidates: 9}, "rails": {Right: 23}} {
		t.Run(name, func(t *testing.T) {
			c := readCapture(t, name)
			p := start(t, t.TempDir())
			for _, b := range c.bodies {
				if got, text := send(t, p.otlpHTTP+"/v1/traces", b.raw, "Content-Encoding", "gzip", "Content-Type", b.kind); got != http.StatusOK {
					t.Fatalf("send: %d %s", got, text)
				}
			}
			c.await(t, p, c.spans)
			if got := c.judge(t, p, "as sent"); got != want {
				t.Errorf("as sent: %+v, want %+v", got, want)
			}
			p.stop()
			p = start(t, p.dir)
			if got := c.judge(t, p, "after a restart"); got != want {
				t.Errorf("after a restart: %+v, want %+v", got, want)
			}
			p.stop()

			p = start(t, t.TempDir())
			const seed = 4
			twice := append(slices.Clone(c.spans), c.spans...)
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
			sendSpans(t, p, slices.Collect(slices.Chunk(twice, 7))...)
			c.await(t, p, c.spans)
			if got := c.judge(t, p, "twice, in any order"); got != want {
				t.Errorf("twice, in the order of seed %d: %+v, want %+v", seed, got, want)
			}
			p.stop()

			services := map[string]bool{}
			for i := range c.spans {
				services[c.spans[i].Service] = true
			}
			for service := range services {
				p := start(t, t.TempDir())
				rest := slices.DeleteFunc(slices.Clone(c.spans), func(s trace.Span) bool { return s.Service == service })
				sendSpans(t, p, rest)
				c.await(t, p, rest)
				got := c.judge(t, p, "without "+service)
				t.Logf("%s without %s: %+v", name, service, got)
				p.stop()
			}
		})
	}
}
