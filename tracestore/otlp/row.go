package otlp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"redthread/tracestore/trace"
)

// Keys of attributes that hold what a row has no field for.
const (
	AttrDroppedAttributes = "dropped_attributes_count"
	AttrDroppedEvents     = "dropped_events_count"
	AttrDroppedLinks      = "dropped_links_count"
	AttrFlags             = "trace.flags"      // the W3C flags and OTLP's is_remote bits
	AttrEndTime           = "end_unix_nano"    // only when the end lies before the start
	AttrKindNumber        = "span.kind_number" // only when OTLP does not know the number
	AttrStatusNumber      = "status.code_number"

	AttrResourceDropped = "resource.dropped_attributes_count"
	AttrResourceSchema  = "resource.schema_url"
	AttrEntityRefs      = "resource.entity_refs" // JSON
	AttrScopeName       = "otel.scope.name"
	AttrScopeVersion    = "otel.scope.version"
	AttrScopeDropped    = "scope.dropped_attributes_count"
	AttrScopeSchema     = "scope.schema_url"

	AttrOriginalTraceID = "trace.original_id"
	AttrOriginalSpanID  = "span.original_id"

	AttrSeverityNumber = "severity_number"
	AttrSeverityText   = "severity_text"
	AttrEventName      = "event.name"
	AttrObservedTime   = "observed_time_unix_nano" // only when it differs from the time
	AttrBody           = "body"                    // a log body that is a map or an array
)

const (
	keyService        = "service.name"
	keyEnvironment    = "deployment.environment.name"
	keyOldEnvironment = "deployment.environment"
	unknownService    = "unknown_service"
	defaultEnv        = "default"
	allEnvironments   = "*"

	keyExceptionType    = "exception.type"
	keyExceptionMessage = "exception.message"
	eventException      = "exception"
	// BullMQ ends a failed job with status UNSET and this event.
	eventJobFailed  = "job failed"
	keyFailedReason = "bullmq.job.failed.reason"
	severityError   = 17 // SEVERITY_NUMBER_ERROR
)

// maxFlattenDepth is how many levels of a map become dotted keys.
const maxFlattenDepth = 5

// A map with long keys and many leaves would grow quadratically when flattened:
// beyond these bounds its leaves are only in the JSON text.
const (
	maxFlattenedKeys     = 1024 // per row, scope or resource
	maxFlattenedKeyBytes = 1024
)

// truthy reports whether an "error" attribute says yes: Zipkin's tag carries a
// message, Datadog's the number 1, OpenTracing's a bool.
func truthy(v trace.Value) bool {
	switch v.Type {
	case trace.TypeBool, trace.TypeInt:
		return v.Num != 0
	case trace.TypeString:
		return v.Str != "" && v.Str != "0" && !strings.EqualFold(v.Str, "false")
	case trace.TypeFloat:
		return v.Float() != 0
	}
	return v.Type != trace.TypeNone && v.Str != "null"
}

// environmentOf picks a row's environment (DESIGN.md §4).
func environmentOf(keyEnv string, res *attributes) string {
	if keyEnv != "" && keyEnv != allEnvironments {
		return keyEnv
	}
	for _, name := range [...]string{keyEnvironment, keyOldEnvironment} {
		if v, ok := res.get(res.keys.key(name)); ok {
			if s := v.Text(); s != "" {
				return s
			}
		}
	}
	return defaultEnv
}

// hashTraceID makes a trace id of an id that is not one. The text of an id that
// was sent as bytes is its hex, so that protobuf and JSON agree.
func hashTraceID(text string) (id trace.ID) {
	sum := sha256.Sum256([]byte(text))
	copy(id[:], sum[:])
	return id
}

// hashSpanID makes a span id of an id that is not one.
func hashSpanID(text string) (id trace.SpanID) {
	sum := sha256.Sum256([]byte(text))
	copy(id[:], sum[16:])
	return id
}

// TraceIDFromText reads a trace id as people and other formats write it: 32 or
// 16 hex digits, dashes passed over. Any other text is hashed to size, and then
// original is that text. Empty and all-zero ids give the zero id.
func TraceIDFromText(s string) (id trace.ID, original string) {
	t := strings.ReplaceAll(s, "-", "")
	if t == "" || strings.Trim(t, "0") == "" {
		return trace.ID{}, ""
	}
	if len(t) == 32 || len(t) == 16 {
		if _, err := hex.Decode(id[16-len(t)/2:], []byte(t)); err == nil {
			return id, ""
		}
	}
	return hashTraceID(canonicalID(s)), s
}

// SpanIDFromText reads a span id of 16 hex digits; see [TraceIDFromText].
func SpanIDFromText(s string) (id trace.SpanID, original string) {
	if strings.Trim(s, "0") == "" {
		return trace.SpanID{}, ""
	}
	if len(s) == 16 {
		if _, err := hex.Decode(id[:], []byte(s)); err == nil {
			return id, ""
		}
	}
	return hashSpanID(canonicalID(s)), s
}

// canonicalID lowers hex, whose case means nothing, and leaves other text alone.
func canonicalID(s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return s
		}
	}
	return strings.ToLower(s)
}

// clone copies a row and all it points to.
func clone(s *trace.Span) trace.Span {
	c := *s
	c.Name, c.Service, c.Environment = strings.Clone(s.Name), strings.Clone(s.Service), strings.Clone(s.Environment)
	c.StatusMessage, c.TraceState = strings.Clone(s.StatusMessage), strings.Clone(s.TraceState)
	c.Attributes = cloneAttributes(s.Attributes)
	c.Events, c.Links = nil, nil
	for _, e := range s.Events {
		e.Name = strings.Clone(e.Name)
		e.Attributes = cloneAttributes(e.Attributes)
		c.Events = append(c.Events, e)
	}
	for _, l := range s.Links {
		l.TraceState = strings.Clone(l.TraceState)
		l.Attributes = cloneAttributes(l.Attributes)
		c.Links = append(c.Links, l)
	}
	return c
}

func cloneAttributes(in []trace.Attribute) []trace.Attribute {
	var out []trace.Attribute
	for _, a := range in {
		a.Key = strings.Clone(a.Key)
		a.Value.Str = strings.Clone(a.Value.Str)
		out = append(out, a)
	}
	return out
}

// PaddedTraceID reads a trace id as Jaeger and Zipkin write it: hex in which
// leading zeros may be missing. Other text is hashed, see [TraceIDFromText];
// original is the text whenever it was not 32 or 16 hex digits.
func PaddedTraceID(s string) (id trace.ID, original string) {
	if n := len(s); n > 0 && n < 32 && n != 16 {
		if id, why := TraceIDFromText(strings.Repeat("0", 32-n) + s); why == "" {
			return id, s
		}
	}
	return TraceIDFromText(s)
}

// PaddedSpanID is [PaddedTraceID] for span ids of 16 hex digits.
func PaddedSpanID(s string) (id trace.SpanID, original string) {
	if n := len(s); n > 0 && n < 16 {
		if id, why := SpanIDFromText(strings.Repeat("0", 16-n) + s); why == "" {
			return id, s
		}
	}
	return SpanIDFromText(s)
}
