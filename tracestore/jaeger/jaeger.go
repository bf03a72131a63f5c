// Package jaeger reads traces in the JSON of Jaeger's query API, which its UI
// saves and loads, as rows.
//
// A file holds {"data": [trace, …]}, {"data": trace}, a list of traces or one
// trace; a trace has traceID, spans and processes
// (https://github.com/jaegertracing/jaeger-ui, packages/jaeger-ui/src/types/trace.ts).
// Times are microseconds. Spans are translated as OpenTelemetry's Jaeger
// receiver does:
//
//   - The parent is the first CHILD_OF reference into the same trace, else the
//     first reference into it; every other reference becomes a link with the
//     attribute opentracing.ref_type.
//   - A log becomes an event named by its field "event"; OpenTracing's error logs
//     become exception events.
//   - Tags of the span, then of its process, become attributes. span.kind,
//     otel.status_code, otel.status_description and w3c.tracestate become what
//     they say; a tag error of true is status ERROR.
//   - Warnings are kept in jaeger.warnings, flags in trace.flags.
package jaeger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// InvalidError is a file that cannot be read as Jaeger JSON.
type InvalidError struct {
	Field   string // path of the field, may be empty
	Offset  int64  // bytes from the begin of the input; -1 if not known
	Message string
}

func (e *InvalidError) Error() string {
	if e.Field != "" {
		return "jaeger: " + e.Field + ": " + e.Message
	}
	return "jaeger: " + e.Message
}

// The attributes that hold what a row has no field for.
const (
	AttrRefType  = "opentracing.ref_type"
	AttrWarnings = "jaeger.warnings"
)

type jaegerTrace struct {
	TraceID   string             `json:"traceID"`
	Spans     []span             `json:"spans"`
	Processes map[string]process `json:"processes"`
}

type span struct {
	TraceID       string      `json:"traceID"`
	SpanID        string      `json:"spanID"`
	ParentSpanID  string      `json:"parentSpanID"` // of old versions
	Flags         json.Number `json:"flags"`
	OperationName string      `json:"operationName"`
	References    []reference `json:"references"`
	StartTime     json.Number `json:"startTime"`
	Duration      json.Number `json:"duration"`
	Tags          []tag       `json:"tags"`
	Logs          []log       `json:"logs"`
	ProcessID     string      `json:"processID"`
	Process       *process    `json:"process"`
	Warnings      []string    `json:"warnings"`
}

type reference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type process struct {
	ServiceName string `json:"serviceName"`
	Tags        []tag  `json:"tags"`
}

type log struct {
	Timestamp json.Number `json:"timestamp"`
	Fields    []tag       `json:"fields"`
}

type tag struct {
	Key   string          `json:"key"`
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// Decode reads all spans of a file. The error is an [*InvalidError].
func Decode(raw []byte) ([]trace.Span, error) {
	traces, err := parse(raw)
	if err != nil {
		return nil, err
	}
	var out []trace.Span
	for i := range traces {
		t := &traces[i]
		for j := range t.Spans {
			row, err := t.row(&t.Spans[j])
			if err != nil {
				var e *InvalidError
				if errors.As(err, &e) {
					e.Field = strings.TrimSuffix(fmt.Sprintf("trace %d (%s), spans[%d].%s", i, clip(t.TraceID), j, e.Field), ".")
				}
				return nil, err
			}
			out = append(out, row)
		}
	}
	if len(out) == 0 {
		return nil, &InvalidError{Offset: -1, Message: "the file holds no spans"}
	}
	return out, nil
}

// parse finds the traces in whichever form the file has.
func parse(raw []byte) ([]jaegerTrace, error) {
	body, base := raw, int64(0)
	if first(raw) == '{' {
		var file struct {
			Data  json.RawMessage `json:"data"`
			Spans json.RawMessage `json:"spans"`
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			return nil, jsonError(err, 0)
		}
		switch {
		case len(file.Data) > 0 && string(file.Data) != "null":
			body = file.Data
			base = int64(bytes.Index(raw, file.Data))
		case file.Spans == nil:
			return nil, &InvalidError{Offset: 0, Message: `want "data" or "spans" in the object`}
		}
	}
	if first(body) == '[' {
		var list []jaegerTrace
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, jsonError(err, base)
		}
		return list, nil
	}
	var one jaegerTrace
	if err := json.Unmarshal(body, &one); err != nil {
		return nil, jsonError(err, base)
	}
	return []jaegerTrace{one}, nil
}

func first(b []byte) byte {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) > 0 {
		return b[0]
	}
	return 0
}

// jsonError names the place of an error of encoding/json.
func jsonError(err error, base int64) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &InvalidError{Offset: base + syntax.Offset, Message: "not JSON: " + syntax.Error()}
	case errors.As(err, &wrong):
		return &InvalidError{Field: wrong.Field, Offset: base + wrong.Offset, Message: "want " + wanted(wrong.Type.String()) + ", got " + wrong.Value}
	}
	return &InvalidError{Offset: -1, Message: err.Error()}
}

func wanted(goType string) string {
	switch {
	case goType == "string":
		return "a string"
	case goType == "json.Number":
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "an object"
}

// row translates one span.
func (t *jaegerTrace) row(s *span) (trace.Span, error) {
	r := trace.Span{Name: s.OperationName}
	var own attributes

	traceText := s.TraceID
	if traceText == "" {
		traceText = t.TraceID
	}
	var original string
	if r.TraceID, original = otlp.PaddedTraceID(traceText); original != "" {
		own.add(otlp.AttrOriginalTraceID, trace.String(original))
	}
	if r.TraceID.IsZero() {
		return r, &InvalidError{"traceID", -1, fmt.Sprintf("%q is not a trace id", clip(traceText))}
	}
	if r.SpanID, original = otlp.PaddedSpanID(s.SpanID); original != "" {
		own.add(otlp.AttrOriginalSpanID, trace.String(original))
	}
	if r.SpanID.IsZero() {
		return r, &InvalidError{"spanID", -1, fmt.Sprintf("%q is not a span id", clip(s.SpanID))}
	}

	var err error
	if r.StartUnixNano, err = micros(s.StartTime); err != nil {
		return r, &InvalidError{"startTime", -1, err.Error()}
	}
	if r.DurationNano, err = micros(s.Duration); err != nil {
		return r, &InvalidError{"duration", -1, err.Error()}
	}
	r.DurationNano = max(r.DurationNano, 0)
	t.references(&r, s)

	p := s.Process
	if p == nil {
		if known, ok := t.Processes[s.ProcessID]; ok {
			p = &known
		} else {
			p = &process{}
		}
	}
	r.Service = p.ServiceName
	if flags, err := s.Flags.Int64(); err == nil && flags > 0 && flags <= math.MaxUint32 {
		own.add(otlp.AttrFlags, trace.Int(flags))
	}
	for _, g := range s.Tags {
		v := g.value()
		if !apply(&r, g.Key, v) {
			own.add(g.Key, v)
		}
	}
	for _, g := range p.Tags {
		v := g.value()
		if g.Key == "deployment.environment.name" || g.Key == "deployment.environment" && r.Environment == "" {
			r.Environment = v.Text()
		}
		own.inherit(g.Key, v)
	}
	if len(s.Warnings) > 0 {
		text, err := json.Marshal(s.Warnings)
		if err != nil {
			return r, &InvalidError{"warnings", -1, err.Error()}
		}
		own.add(AttrWarnings, trace.JSON(string(text)))
	}
	for i, l := range s.Logs {
		e, err := l.event()
		if err != nil {
			return r, &InvalidError{fmt.Sprintf("logs[%d].timestamp", i), -1, err.Error()}
		}
		r.Events = append(r.Events, e)
	}
	r.Attributes = own.list
	return r, nil
}

// apply sets the field of the row that a tag stands for, and reports whether
// that was all the tag says.
func apply(r *trace.Span, key string, v trace.Value) bool {
	switch key {
	case "span.kind":
		for k := trace.KindUnspecified; k <= trace.KindConsumer; k++ {
			if strings.EqualFold(v.Text(), k.String()) {
				r.Kind = k
				return true
			}
		}
	case "error":
		if v.Text() == "true" && r.Status == trace.StatusUnset {
			r.Status = trace.StatusError
		}
	case "otel.status_code":
		switch strings.ToUpper(v.Text()) {
		case "OK":
			r.Status = trace.StatusOK
			return true
		case "ERROR":
			r.Status = trace.StatusError
			return true
		}
	case "otel.status_description":
		r.StatusMessage = v.Text()
		return true
	case "w3c.tracestate":
		r.TraceState = v.Text()
		return true
	}
	return false
}

// references sets the parent and the links.
func (t *jaegerTrace) references(r *trace.Span, s *span) {
	refs := s.References
	if len(refs) == 0 && s.ParentSpanID != "" {
		refs = []reference{{"CHILD_OF", s.TraceID, s.ParentSpanID}}
	}
	parent := -1
	type target struct {
		trace trace.ID
		span  trace.SpanID
	}
	targets := make([]target, len(refs))
	for i, ref := range refs {
		id := r.TraceID
		if ref.TraceID != "" {
			id, _ = otlp.PaddedTraceID(ref.TraceID)
		}
		spanID, _ := otlp.PaddedSpanID(ref.SpanID)
		targets[i] = target{id, spanID}
		if id != r.TraceID || spanID.IsZero() {
			continue
		}
		if parent < 0 || ref.RefType == "CHILD_OF" && refs[parent].RefType != "CHILD_OF" {
			parent = i
		}
	}
	for i, ref := range refs {
		if i == parent {
			r.ParentID = targets[i].span
			continue
		}
		if targets[i].span.IsZero() {
			continue
		}
		r.Links = append(r.Links, trace.Link{TraceID: targets[i].trace, SpanID: targets[i].span,
			Attributes: []trace.Attribute{{Key: AttrRefType, Value: trace.String(strings.ToLower(ref.RefType))}}})
	}
}

// event translates a log.
func (l *log) event() (trace.Event, error) {
	at, err := micros(l.Timestamp)
	if err != nil {
		return trace.Event{}, err
	}
	e := trace.Event{Name: "log", TimeUnixNano: at}
	for _, f := range l.Fields {
		v := f.value()
		if f.Key == "event" && v.Type == trace.TypeString {
			e.Name = v.Str
			continue
		}
		e.Attributes = append(e.Attributes, trace.Attribute{Key: f.Key, Value: v})
	}
	if e.Name == "error" {
		// OpenTracing's error logs
		// (https://opentelemetry.io/docs/specs/otel/compatibility/opentracing/#log).
		e.Name = "exception"
		renames := map[string]string{"error.kind": "exception.type", "message": "exception.message", "stack": "exception.stacktrace"}
		for i := range e.Attributes {
			if to := renames[e.Attributes[i].Key]; to != "" {
				e.Attributes[i].Key = to
			}
		}
	}
	return e, nil
}

// value types a tag by its declared type, or else as JSON has it.
func (g *tag) value() trace.Value {
	text := string(bytes.TrimSpace(g.Value))
	var s string
	quoted := json.Unmarshal(g.Value, &s) == nil && strings.HasPrefix(text, `"`)
	if !quoted {
		s = text
	}
	switch g.Type {
	case "bool":
		if b, err := strconv.ParseBool(s); err == nil {
			return trace.Bool(b)
		}
	case "int64":
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return trace.Int(i)
		}
	case "float64":
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return trace.Float(f)
		}
	case "binary":
		if b, err := base64.StdEncoding.DecodeString(s); err == nil {
			return trace.Bytes(string(b))
		}
	}
	switch {
	case quoted:
		return trace.String(s)
	case s == "true" || s == "false":
		return trace.Bool(s == "true")
	case text == "":
		return trace.JSON("null")
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return trace.Int(i)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return trace.Float(f)
	}
	return trace.JSON(s)
}

// attributes keep each key once; the first list wins.
type attributes struct {
	list []trace.Attribute
	seen map[string]int
}

// add sets a key; the last value wins.
func (a *attributes) add(key string, v trace.Value) {
	if i, ok := a.seen[key]; ok {
		a.list[i].Value = v
		return
	}
	if a.seen == nil {
		a.seen = map[string]int{}
	}
	a.seen[key] = len(a.list)
	a.list = append(a.list, trace.Attribute{Key: key, Value: v})
}

// inherit adds a tag of the process; where the span has another value under the
// key, it is kept under "resource.".
func (a *attributes) inherit(key string, v trace.Value) {
	i, ok := a.seen[key]
	switch {
	case !ok:
		a.add(key, v)
	case a.list[i].Value != v:
		a.add("resource."+key, v)
	}
}

// micros turns microseconds, which old files have as fractions too, into
// nanoseconds. None is 0.
func micros(n json.Number) (int64, error) {
	if n == "" {
		return 0, nil
	}
	if i, err := n.Int64(); err == nil && i > math.MinInt64/1000 && i < math.MaxInt64/1000 {
		return i * 1000, nil
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) >= math.MaxInt64/1000 {
		return 0, fmt.Errorf("%s is not a time in microseconds", clip(n.String()))
	}
	return int64(f * 1000), nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
