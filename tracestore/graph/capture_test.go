package graph

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// truth says what caused the jobs of a capture, see testdata/captures.
type truth struct {
	Requests []trace.Ref
	Jobs     []struct {
		Job       string
		Root      trace.ID   `json:"root_trace_id"`
		MixedWith []trace.ID `json:"mixed_with"`
		Runs      []trace.Ref
	}
	Cron []trace.Ref
}

// readCapture returns the spans of a capture in the order of arrival.
func readCapture(t testing.TB, name string) (spans []trace.Span, tr truth) {
	t.Helper()
	dir := filepath.Join("testdata", "captures", name)
	raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err == nil {
		err = json.Unmarshal(raw, &tr)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("capture %s has no bodies: %v", name, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err == nil && strings.HasSuffix(path, ".json.gz") {
			body, err = otlp.FromJSON(nil, otlp.Traces, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		more, _, err := otlp.DecodeAll(otlp.Traces, body, otlp.Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, more...)
		f.Close()
	}
	return spans, tr
}

// score counts the answers about the runs of jobs: right; candidates, where a
// batch of several requests stands before the job; lost, unknown with a reason;
// wrong.
type score struct{ Right, Candidates, Lost, Wrong int }

func judge(t *testing.T, g *Graph, tr *truth) (sc score) {
	t.Helper()
	ask := func(run trace.Ref) *Origin {
		o, err := g.Origin(context.Background(), run.TraceID, run.SpanID)
		if errors.Is(err, ErrNotFound) {
			return nil // its own spans were left out
		}
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, job := range tr.Jobs {
		for _, run := range job.Runs {
			o := ask(run)
			if o == nil {
				continue
			}
			var said []trace.ID
			for _, s := range o.Origins {
				said = append(said, s.TraceID)
			}
			switch {
			case o.Status == Unknown && o.Reason != "" && o.Furthest != nil:
				sc.Lost++
			case o.Status == Found && said[0] == job.Root && len(job.MixedWith) < 2:
				sc.Right++
			case o.Status == Ambiguous && sameIDs(said, job.MixedWith):
				sc.Candidates++
			default:
				sc.Wrong++
				t.Errorf("%s run %v: %s %s %v, want %v", job.Job, run, o.Status, o.Reason, o.Origins, job.MixedWith)
			}
		}
	}
	for _, run := range tr.Cron {
		switch o := ask(run); {
		case o == nil:
		case o.Status == Unknown:
			sc.Lost++
		case o.Status == Found && o.Origins[0].TraceID == run.TraceID:
			sc.Right++
		default:
			sc.Wrong++
			t.Errorf("cron run %v: %s %v, want its own trace", run, o.Status, o.Origins)
		}
	}
	return sc
}

func sameIDs(a, b []trace.ID) bool {
	for _, id := range b {
		if !slices.Contains(a, id) {
			return false
		}
	}
	return len(a) == len(b)
}

var captures = []struct {
	name string
	want score
	ids  score // when everything but ids is taken away
}{
	// BullMQ's addBulk names neither the ids of its jobs nor, then, what they set
	// off: 22 runs stay unknown.
	{"node", score{Right: 42, Candidates: 9}, score{Right: 17, Candidates: 9, Lost: 22}},
	{"rails", score{Right: 23}, score{Right: 23}},
}

func TestCaptures(t *testing.T) {
	for _, c := range captures {
		spans, tr := readCapture(t, c.name)
		if got := judge(t, New(NewMemory(nil, spans), Options{}), &tr); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		for seed := range uint64(5) {
			twice := append(slices.Clone(spans), spans...)
			rand.New(rand.NewPCG(seed, 4)).Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
			if got := judge(t, New(NewMemory(nil, twice), Options{}), &tr); got != c.want {
				t.Errorf("%s, doubled and in the order of seed %d: %+v, want %+v", c.name, seed, got, c.want)
			}
		}
	}
}

// TestCapturesWithoutAService leaves out the spans of one service at a time, and
// of two: what cannot be known then is unknown, with its reason.
func TestCapturesWithoutAService(t *testing.T) {
	for _, c := range captures {
		spans, tr := readCapture(t, c.name)
		var services []string
		for i := range spans {
			if !slices.Contains(services, spans[i].Service) {
				services = append(services, spans[i].Service)
			}
		}
		slices.Sort(services)
		for i := range services {
			for j := i; j < len(services); j++ {
				kept := slices.DeleteFunc(slices.Clone(spans), func(s trace.Span) bool { return s.Service == services[i] || s.Service == services[j] })
				for _, encoding := range []string{"as sent", "ids"} {
					if encoding == "ids" {
						kept = onlyIDs(kept)
					}
					sc := judge(t, New(NewMemory(nil, kept), Options{}), &tr)
					if sc.Wrong > 0 {
						t.Errorf("%s, %s, without %s and %s: %+v", c.name, encoding, services[i], services[j], sc)
					}
				}
			}
		}
	}
}

// onlyIDs takes away what says which message or job a span handles, but for
// their ids: links, and the parents of receipts, which get traces of their own.
func onlyIDs(spans []trace.Span) []trace.Span {
	out := slices.Clone(spans)
	byTrace := map[trace.ID][]int{}
	for i := range out {
		out[i].Links = nil
		byTrace[out[i].TraceID] = append(byTrace[out[i].TraceID], i)
	}
	for id, at := range byTrace {
		var part []trace.Span
		for _, i := range at {
			part = append(part, out[i])
		}
		x := newIndex(defaultRules, id, part, false)
		fresh := map[int32]trace.ID{}
		for k := range at {
			top := int32(k)
			for p := x.spans[top].parent; ; p = x.spans[top].parent {
				n := &x.spans[top]
				if n.shape.has(consumes) && (p == Absent && n.kind == trace.KindConsumer || p >= 0 && x.crosses(p, top)) {
					if _, ok := fresh[top]; !ok {
						var own trace.ID
						copy(own[:], "cut")
						copy(own[8:], n.id[:])
						fresh[top] = own
					}
					out[at[k]].TraceID = fresh[top]
					if top == int32(k) {
						out[at[k]].ParentID = trace.SpanID{}
					}
					break
				}
				if p < 0 {
					break
				}
				top = p
			}
		}
	}
	return out
}

// TestCapturesByIDsAlone asks the same when nothing but ids is there.
func TestCapturesByIDsAlone(t *testing.T) {
	for _, c := range captures {
		spans, tr := readCapture(t, c.name)
		spans = onlyIDs(spans)
		moved := map[trace.SpanID]trace.ID{}
		for i := range spans {
			moved[spans[i].SpanID] = spans[i].TraceID
		}
		for i := range tr.Jobs {
			for k := range tr.Jobs[i].Runs {
				r := &tr.Jobs[i].Runs[k]
				r.TraceID = moved[r.SpanID]
			}
		}
		g := New(NewMemory(nil, spans), Options{})
		cron := tr.Cron
		tr.Cron = nil // the scheduler adds the next run under the last: of those links only ids are left
		if got := judge(t, g, &tr); got != c.ids {
			t.Errorf("%s by ids alone: %+v, want %+v", c.name, got, c.ids)
		}
		for _, run := range cron {
			o, err := g.Origin(context.Background(), moved[run.SpanID], run.SpanID)
			if err != nil || o.Status != Found || o.Origins[0].Name != "add uk-cron.RefreshPrices" {
				t.Errorf("%s: cron run %v by ids alone: %+v, %v", c.name, run, o, err)
			}
		}
		if o, err := g.Origin(context.Background(), tr.Jobs[0].Runs[0].TraceID, tr.Jobs[0].Runs[0].SpanID); err != nil || !slices.ContainsFunc(o.Hops, func(e Edge) bool { return e.Inferred && e.Kind == KindMessageID }) {
			t.Errorf("%s: hops %s are not said to be inferred by ids (%v)", c.name, fmt.Sprint(o.Hops), err)
		}
	}
}

// TestCaptureAttempts: the jobs that were run twice are two attempts of one.
func TestCaptureAttempts(t *testing.T) {
	for _, c := range captures {
		spans, tr := readCapture(t, c.name)
		g := New(NewMemory(nil, spans), Options{})
		twice := 0
		for _, job := range tr.Jobs {
			for n, run := range job.Runs {
				th, err := g.ThreadOfSpan(context.Background(), run.TraceID, run.SpanID)
				if err != nil {
					t.Fatal(err)
				}
				leg := &th.Legs[th.Selected]
				switch {
				case len(job.Runs) == 1 && leg.Attempts == 0:
				case len(job.Runs) > 1 && leg.Attempt == n+1 && leg.Attempts == len(job.Runs):
					twice++
				default:
					t.Errorf("%s: run %d of %d of %s is attempt %d of %d", c.name, n+1, len(job.Runs), job.Job, leg.Attempt, leg.Attempts)
				}
			}
		}
		if twice != 2 {
			t.Errorf("%s: %d attempts, want two of one job", c.name, twice)
		}
	}
}
