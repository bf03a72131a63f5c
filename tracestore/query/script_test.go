package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/*.txt")

// A script is a text of directives, each with the indented lines below it:
//
//	load      rows, one a line: key=value…; see parseRow
//	expire    the number of a trace whose rows are gone; the edge index stays
//	query     a specification in JSON, as the API takes it
//	search    a search in JSON
//	bubbleup  a comparison in JSON
//	columns   a prefix, and perhaps an environment
//	expect    what the directive above answers
//
// Lines that begin with # are for the reader. Every script runs over the rows
// in one block, each in its own, and cut at random; the answer has to be the
// same. It is now 2026-11-22T13:00:00Z; t=60 is a minute past 12:00.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runScript(t, f) })
	}
}

// TestScriptsNameEverything: there is no operator that the scripts, which are the
// specification, do not speak of.
func TestScriptsNameEverything(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if filepath.Base(f) == "errors.txt" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for name := range calcFuncs {
		if !regexp.MustCompile(`\b` + name + `\(`).MatchString(all.String()) {
			t.Errorf("no script has the function %s", name)
		}
	}
	for _, op := range slices.Concat(Operators, FilterOps) {
		if !strings.Contains(all.String(), `"op":"`+op+`"`) {
			t.Errorf("no script has the operator %s", op)
		}
	}
}

type directive struct {
	name  string
	line  int
	lines []string // as written, with what stands between them
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []*directive
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		name, _, _ := strings.Cut(line, " ")
		if line != "" && line[0] != ' ' && line[0] != '#' {
			list = append(list, &directive{name: name, line: i + 1})
			if rest := strings.TrimSpace(line[len(name):]); rest != "" {
				list[len(list)-1].lines = []string{rest}
			}
		} else if len(list) > 0 && strings.HasPrefix(line, " ") {
			list[len(list)-1].lines = append(list[len(list)-1].lines, strings.TrimSpace(line))
		}
	}
	var spans, expired []trace.Span
	var got string
	answers := make(map[int]string) // by line of the expect
	for _, d := range list {
		body := strings.Join(d.lines, "\n")
		at := fmt.Sprintf("%s:%d", file, d.line)
		switch d.name {
		case "load":
			for _, line := range d.lines {
				if strings.HasPrefix(line, "#") {
					continue
				}
				s, err := parseRow(line, len(spans))
				if err != nil {
					t.Fatalf("%s: %q: %v", at, line, err)
				}
				spans = append(spans, s)
			}
		case "expire":
			spans = slices.DeleteFunc(spans, func(s trace.Span) bool {
				gone := strconv.Itoa(int(s.TraceID[15])) == body
				if gone {
					expired = append(expired, s)
				}
				return gone
			})
		case "query", "search", "bubbleup", "columns":
			scriptThreads = threadsOf(spans, expired)
			got = answerCut(t, at, d.name, body, spans, nil, len(spans))
			rng := rand.New(rand.NewPCG(1, uint64(d.line)))
			for _, most := range []int{1, 2, len(spans)} {
				if again := answerCut(t, at, d.name, body, spans, rng, most); again != got {
					t.Errorf("%s: other blocks, other answer:\n%s", at, cmp.Diff(got, again))
				}
			}
		case "expect":
			answers[d.line] = got
			if want := body; got != want && !*update {
				t.Errorf("%s: answer differs (-want +got):\n%s", at, cmp.Diff(want, got))
			}
		default:
			t.Fatalf("%s: unknown directive %q", at, d.name)
		}
	}
	if *update {
		rewrite(t, file, string(text), answers)
	}
}

// rewrite replaces the lines below each expect.
func rewrite(t *testing.T, file, text string, answers map[int]string) {
	var out []string
	skip := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if skip && strings.HasPrefix(line, " ") {
			continue
		}
		skip = false
		out = append(out, line)
		if a, ok := answers[i+1]; ok {
			skip = true
			for _, l := range strings.Split(a, "\n") {
				if l != "" {
					out = append(out, "  "+l)
				}
			}
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answerCut runs a directive over the rows in blocks of at most most rows.
func answerCut(t *testing.T, at, name, body string, spans []trace.Span, rng *rand.Rand, most int) string {
	blocks := cut(spans, nil)
	if rng != nil {
		blocks = nil
		for rest := spans; len(rest) > 0; {
			n := 1 + rng.IntN(min(most, len(rest)))
			blocks = append(blocks, newTestBlock(rest[:n]))
			rest = rest[n:]
		}
		rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	}
	text, err := answerScript(name, body, blocks)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return fmt.Sprintf("error %s: %s", invalid.Field, invalid.Message)
	}
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	return text
}

func answerScript(name, body string, blocks []column.Block) (string, error) {
	var b strings.Builder
	line := func(head string, v any) {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			panic(err) // an answer always marshals
		}
		fmt.Fprintf(&b, "%s%s\n", head, strings.TrimSpace(text.String()))
	}
	switch name {
	case "query":
		spec, err := ParseSpec([]byte(body))
		if err != nil {
			return "", err
		}
		p, err := Compile(spec, testNow)
		if err != nil {
			return "", err
		}
		p.Threads = scriptThreads
		r, err := Run(context.Background(), p, blocks)
		if err != nil {
			return "", err
		}
		for _, g := range r.Results {
			line("", g.Data)
		}
		if len(spec.Breakdowns) > 0 {
			line("total ", r.Total.Data)
		}
		if r.Other != nil {
			line("other ", r.Other.Data)
		}
		for _, p := range r.Series {
			line(p.Time[11:19]+" ", p.Data)
		}
		for _, w := range r.Warnings {
			fmt.Fprintf(&b, "warning %s\n", w)
		}
		if r.Stats.Sampled {
			b.WriteString("sampled\n")
		}
	case "search":
		s, err := ParseSearch([]byte(body))
		if err != nil {
			return "", err
		}
		for {
			p, err := CompileSearch(s, testNow)
			if err != nil {
				return "", err
			}
			p.Threads = scriptThreads
			r, err := RunSearch(context.Background(), p, blocks)
			if err != nil {
				return "", err
			}
			for _, row := range r.Rows {
				vals, err := json.Marshal(row.Values)
				if err != nil {
					return "", err
				}
				fmt.Fprintf(&b, "%s/%s %s %s %s %s %s error=%t %s\n", row.TraceID.String()[30:], row.SpanID.String()[14:],
					time.Unix(0, row.StartUnixNano).UTC().Format("15:04:05"), time.Duration(row.DurationNano), row.Service, row.Kind, row.Name, row.Error, vals)
			}
			for _, w := range r.Warnings {
				fmt.Fprintf(&b, "warning %s\n", w)
			}
			if r.Next == "" {
				break
			}
			b.WriteString("next page\n")
			s.After = r.Next
		}
	case "bubbleup":
		return answerBubbleUp(body, blocks)
	case "columns":
		prefix, env, _ := strings.Cut(body, " ")
		infos, err := Columns(context.Background(), blocks, env, strings.Trim(prefix, `"`))
		if err != nil {
			return "", err
		}
		for _, i := range infos {
			line(fmt.Sprintf("%s %v rows=%d distinct=%d ", i.Name, i.Types, i.Rows, i.Distinct), i.Top)
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// parseRow reads a row: t= seconds past 12:00, ms= duration, service, name,
// kind, status, message, env, error, trace, span, parent (small numbers), link
// (trace/span), log;
// any other key is an attribute. A value is JSON (1 is an int, 1.0 a float) or
// else a bare string.
func parseRow(line string, n int) (trace.Span, error) {
	s := trace.Span{Name: "work", Service: "web", Environment: "default", Kind: trace.KindInternal}
	s.TraceID[15], s.SpanID[7] = 1, byte(n+1)
	base := testNow.Add(-time.Hour)
	s.StartUnixNano = base.UnixNano()
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			return s, fmt.Errorf("want key=value, got %q", line)
		}
		raw, after, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "[") || strings.HasPrefix(rest, "{") {
			var msg json.RawMessage
			d := json.NewDecoder(strings.NewReader(rest))
			if err := d.Decode(&msg); err != nil {
				return s, err
			}
			raw, after = string(msg), rest[d.InputOffset():]
		}
		line = strings.TrimSpace(after)
		v := rowValue(raw)
		num, _ := number(v)
		switch key {
		case "t":
			s.StartUnixNano = base.Add(time.Duration(num * 1e9)).UnixNano()
		case "ms":
			s.DurationNano = int64(num * 1e6)
		case "service":
			s.Service = v.Text()
		case "name":
			s.Name = v.Text()
		case "env":
			s.Environment = v.Text()
		case "message":
			s.StatusMessage = v.Text()
		case "trace.state":
			s.TraceState = v.Text()
		case "error":
			s.Error = v.Bool()
		case "log":
			s.Signal = trace.SignalLog
		case "trace":
			s.TraceID[15] = byte(num)
		case "span":
			s.SpanID[7] = byte(num)
		case "parent":
			s.ParentID[7] = byte(num)
		case "link": // trace/span
			of, span, _ := strings.Cut(raw, "/")
			t, _ := number(rowValue(of))
			n, _ := number(rowValue(span))
			l := trace.Link{}
			l.TraceID[15], l.SpanID[7] = byte(t), byte(n)
			s.Links = append(s.Links, l)
		case "kind":
			for k := range trace.Kind(6) {
				if k.String() == raw {
					s.Kind = k
				}
			}
		case "status":
			for c := range trace.StatusCode(3) {
				if c.String() == raw {
					s.Status = c
				}
			}
		default:
			s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: v})
		}
	}
	return s, nil
}

func rowValue(raw string) trace.Value {
	if i, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return trace.Int(i)
	}
	if f, err := strconv.ParseFloat(raw, 64); err == nil {
		return trace.Float(f)
	}
	switch {
	case raw == "true" || raw == "false":
		return trace.Bool(raw == "true")
	case strings.HasPrefix(raw, `"`):
		var s string
		if json.Unmarshal([]byte(raw), &s) == nil {
			return trace.String(s)
		}
	case strings.HasPrefix(raw, "[") || strings.HasPrefix(raw, "{"):
		return trace.JSON(raw)
	}
	return trace.String(raw)
}

// answerBubbleUp shows an answer as text: the sides, then each column with its
// best statement, its values and its bars, every count as selection | baseline.
func answerBubbleUp(body string, blocks []column.Block) (string, error) {
	spec, err := ParseBubbleUp([]byte(body))
	if err != nil {
		return "", err
	}
	p, err := CompileBubbleUp(spec, testNow)
	if err != nil {
		return "", err
	}
	p.Threads = scriptThreads
	r, err := RunBubbleUp(context.Background(), p, blocks)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rows %d | %d  count %g | %g\n", r.Selection.Rows, r.Baseline.Rows, r.Selection.Count, r.Baseline.Count)
	counts := func(head string, c Compared) {
		if c.Selection.Count != 0 || c.Baseline.Count != 0 {
			fmt.Fprintf(&b, " %s %g | %g", head, c.Selection.Count, c.Baseline.Count)
		}
	}
	for _, d := range r.Columns {
		fmt.Fprintf(&b, "%s %v %.3f", d.Name, d.Types, d.Score)
		if d.Best != nil {
			fmt.Fprintf(&b, " (%s %s %.1f %% | %.1f %%)", d.Best.Op, d.Best.Value.Text(), 100*d.Best.Selection, 100*d.Best.Baseline)
		}
		for _, v := range d.Values {
			counts(v.Value.Text()+":", v.Compared)
		}
		counts("other:", d.Other)
		for _, bar := range d.Histogram {
			counts(fmt.Sprintf("%g…%g:", bar.Min, bar.Max), bar.Compared)
		}
		if d.NearUnique {
			b.WriteString(" near-unique")
		}
		if d.Defines {
			b.WriteString(" defines the selection")
		}
		b.WriteString("\n")
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning %s\n", w)
	}
	if r.Stats.Sampled {
		b.WriteString("sampled\n")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
