// Package zipkin reads traces in Zipkin's v2 JSON as rows
// (https://zipkin.io/zipkin-api/#/default/post_spans).
//
// A file holds a list of spans, a list of such lists, or one span. Times are
// microseconds. The two halves of an RPC may share one span id: both become rows,
// told apart by kind and service. Spans are translated as OpenTelemetry's Zipkin
// receiver does:
//
//   - Tags become string attributes, annotations events. A tag error, whatever its
//     value, is status ERROR.
//   - The remote endpoint becomes peer.service and network.peer.address and .port,
//     the local one's address network.local.address and .port.
//   - shared and debug become zipkin.shared and zipkin.debug. A span without a time
//     takes that of its first annotation, else of the earliest span of its trace,
//     and is marked by zipkin.time_unknown.
package zipkin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// InvalidError is a file that cannot be read as Zipkin JSON.
type InvalidError struct {
	Field   string // path of the field, may be empty
	Offset  int64  // bytes from the begin of the input; -1 if not known
	Message string
}

func (e *InvalidError) Error() string {
	if e.Field != "" {
		return "zipkin: " + e.Field + ": " + e.Message
	}
	return "zipkin: " + e.Message
}

// The attributes that hold what a row has no field for.
const (
	AttrShared      = "zipkin.shared"
	AttrDebug       = "zipkin.debug"
	AttrTimeUnknown = "zipkin.time_unknown"
)

type span struct {
	TraceID        string            `json:"traceId"`
	ID             string            `json:"id"`
	ParentID       string            `json:"parentId"`
	Kind           string            `json:"kind"`
	Name           string            `json:"name"`
	Timestamp      json.Number       `json:"timestamp"`
	Duration       json.Number       `json:"duration"`
	Shared         bool              `json:"shared"`
	Debug          bool              `json:"debug"`
	LocalEndpoint  endpoint          `json:"localEndpoint"`
	RemoteEndpoint endpoint          `json:"remoteEndpoint"`
	Annotations    []annotation      `json:"annotations"`
	Tags           map[string]string `json:"tags"`

	// Binary annotations are of version 1.
	BinaryAnnotations json.RawMessage `json:"binaryAnnotations"`
}

type endpoint struct {
	ServiceName string      `json:"serviceName"`
	IPv4        string      `json:"ipv4"`
	IPv6        string      `json:"ipv6"`
	Port        json.Number `json:"port"`
}

type annotation struct {
	Timestamp json.Number `json:"timestamp"`
	Value     string      `json:"value"`
}

// Decode reads all spans of a file. The error is an [*InvalidError].
func Decode(raw []byte) ([]trace.Span, error) {
	spans, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		return nil, &InvalidError{Offset: -1, Message: "the file holds no spans"}
	}
	rows := make([]trace.Span, 0, len(spans))
	earliest := map[trace.ID]int64{}
	for i := range spans {
		r, err := spans[i].row()
		if err != nil {
			var e *InvalidError
			if errors.As(err, &e) {
				e.Field = strings.TrimSuffix(fmt.Sprintf("[%d].%s", i, e.Field), ".")
			}
			return nil, err
		}
		if at, ok := earliest[r.TraceID]; r.StartUnixNano != 0 && (!ok || r.StartUnixNano < at) {
			earliest[r.TraceID] = r.StartUnixNano
		}
		rows = append(rows, r)
	}
	for i := range rows {
		if r := &rows[i]; r.StartUnixNano == 0 {
			r.StartUnixNano = earliest[r.TraceID]
			r.Attributes = append(r.Attributes, trace.Attribute{Key: AttrTimeUnknown, Value: trace.Bool(true)})
		}
	}
	return rows, nil
}

// parse finds the spans in whichever form the file has.
func parse(raw []byte) ([]span, error) {
	switch b := bytes.TrimLeft(raw, " \t\r\n"); {
	case len(b) > 0 && b[0] == '{':
		var one span
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, jsonError(err)
		}
		return []span{one}, nil
	case len(b) > 0 && b[0] == '[' && nested(b):
		var lists [][]span
		if err := json.Unmarshal(raw, &lists); err != nil {
			return nil, jsonError(err)
		}
		return slices.Concat(lists...), nil
	}
	var list []span
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, jsonError(err)
	}
	return list, nil
}

// nested reports whether a list begins with a list.
func nested(b []byte) bool {
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	return len(b) > 0 && b[0] == '['
}

// jsonError names the place of an error of encoding/json.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &InvalidError{Offset: syntax.Offset, Message: "not JSON: " + syntax.Error()}
	case errors.As(err, &wrong):
		want := "an object"
		switch t := wrong.Type.String(); {
		case t == "string":
			want = "a string"
		case t == "bool":
			want = "true or false"
		case t == "json.Number":
			want = "a number"
		case strings.HasPrefix(t, "[]"):
			want = "a list"
		}
		return &InvalidError{Field: wrong.Field, Offset: wrong.Offset, Message: "want " + want + ", got " + wrong.Value}
	}
	return &InvalidError{Offset: -1, Message: err.Error()}
}

var kinds = map[string]trace.Kind{
	"CLIENT": trace.KindClient, "SERVER": trace.KindServer, "PRODUCER": trace.KindProducer, "CONSUMER": trace.KindConsumer,
}

// row translates one span. A time that is not known stays 0.
func (s *span) row() (trace.Span, error) {
	r := trace.Span{Name: s.Name, Service: s.LocalEndpoint.ServiceName, Kind: kinds[strings.ToUpper(s.Kind)]}
	add := func(key string, v trace.Value) {
		if _, ok := s.Tags[key]; !ok {
			r.Attributes = append(r.Attributes, trace.Attribute{Key: key, Value: v})
		}
	}
	if s.BinaryAnnotations != nil {
		return r, &InvalidError{"binaryAnnotations", -1, "this is Zipkin's version 1 format; export version 2 (/api/v2/trace)"}
	}
	var original string
	if r.TraceID, original = otlp.PaddedTraceID(s.TraceID); original != "" {
		add(otlp.AttrOriginalTraceID, trace.String(original))
	}
	if r.TraceID.IsZero() {
		return r, &InvalidError{"traceId", -1, fmt.Sprintf("%q is not a trace id", clip(s.TraceID))}
	}
	if r.SpanID, original = otlp.PaddedSpanID(s.ID); original != "" {
		add(otlp.AttrOriginalSpanID, trace.String(original))
	}
	if r.SpanID.IsZero() {
		return r, &InvalidError{"id", -1, fmt.Sprintf("%q is not a span id", clip(s.ID))}
	}
	r.ParentID, _ = otlp.PaddedSpanID(s.ParentID)

	var err error
	if r.StartUnixNano, err = micros(s.Timestamp); err != nil {
		return r, &InvalidError{"timestamp", -1, err.Error()}
	}
	if r.DurationNano, err = micros(s.Duration); err != nil {
		return r, &InvalidError{"duration", -1, err.Error()}
	}
	for i, a := range s.Annotations {
		at, err := micros(a.Timestamp)
		if err != nil {
			return r, &InvalidError{fmt.Sprintf("annotations[%d].timestamp", i), -1, err.Error()}
		}
		if s.Timestamp == "" && at != 0 && (r.StartUnixNano == 0 || at < r.StartUnixNano) {
			r.StartUnixNano = at
		}
		r.Events = append(r.Events, trace.Event{Name: a.Value, TimeUnixNano: at})
	}

	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		r.Attributes = append(r.Attributes, trace.Attribute{Key: key, Value: trace.String(s.Tags[key])})
		switch key {
		case "error":
			r.Status = trace.StatusError
			if v := s.Tags[key]; v != "true" {
				r.StatusMessage = v
			}
		case "deployment.environment.name":
			r.Environment = s.Tags[key]
		case "deployment.environment":
			if r.Environment == "" {
				r.Environment = s.Tags[key]
			}
		}
	}
	if name := s.RemoteEndpoint.ServiceName; name != "" {
		add("peer.service", trace.String(name))
	}
	s.RemoteEndpoint.add("network.peer", add)
	s.LocalEndpoint.add("network.local", add)
	if s.Shared {
		add(AttrShared, trace.Bool(true))
	}
	if s.Debug {
		add(AttrDebug, trace.Bool(true))
	}
	return r, nil
}

// add adds the address and the port.
func (e *endpoint) add(prefix string, add func(string, trace.Value)) {
	switch {
	case e.IPv4 != "":
		add(prefix+".address", trace.String(e.IPv4))
	case e.IPv6 != "":
		add(prefix+".address", trace.String(e.IPv6))
	}
	if port, err := e.Port.Int64(); err == nil && port > 0 {
		add(prefix+".port", trace.Int(port))
	}
}

// micros turns microseconds into nanoseconds. None is 0.
func micros(n json.Number) (int64, error) {
	if n == "" {
		return 0, nil
	}
	i, err := n.Int64()
	if err != nil || i < 0 || i >= math.MaxInt64/1000 {
		return 0, fmt.Errorf("%s is not a time in microseconds", clip(n.String()))
	}
	return i * 1000, nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
