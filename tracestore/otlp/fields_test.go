package otlp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// stored says of each field of OTLP's trace and log messages where its value
// lies in a row, or, after "not kept:", why nowhere. A field that a new version of
// the protocol brings fails TestEveryFieldIsStored until it is listed here.
var stored = map[string]string{
	"TracesData.resource_spans":                     "container",
	"ResourceSpans.resource":                        "container",
	"ResourceSpans.scope_spans":                     "container",
	"ResourceSpans.schema_url":                      "attribute resource.schema_url",
	"Resource.attributes":                           "attributes",
	"Resource.dropped_attributes_count":             "attribute resource.dropped_attributes_count",
	"Resource.entity_refs":                          "attribute resource.entity_refs, JSON",
	"EntityRef.schema_url":                          "in resource.entity_refs",
	"EntityRef.type":                                "in resource.entity_refs",
	"EntityRef.id_keys":                             "in resource.entity_refs",
	"EntityRef.description_keys":                    "in resource.entity_refs",
	"ScopeSpans.scope":                              "container",
	"ScopeSpans.spans":                              "container",
	"ScopeSpans.schema_url":                         "attribute scope.schema_url",
	"InstrumentationScope.name":                     "attribute otel.scope.name",
	"InstrumentationScope.version":                  "attribute otel.scope.version",
	"InstrumentationScope.attributes":               "attributes",
	"InstrumentationScope.dropped_attributes_count": "attribute scope.dropped_attributes_count",
	"Span.trace_id":                                 "TraceID, text of a malformed one in trace.original_id",
	"Span.span_id":                                  "SpanID, text of a malformed one in span.original_id",
	"Span.trace_state":                              "TraceState",
	"Span.parent_span_id":                           "ParentID",
	"Span.flags":                                    "attribute trace.flags",
	"Span.name":                                     "Name",
	"Span.kind":                                     "Kind, an unknown number in span.kind_number",
	"Span.start_time_unix_nano":                     "StartUnixNano",
	"Span.end_time_unix_nano":                       "DurationNano, one before the start in end_unix_nano",
	"Span.attributes":                               "attributes",
	"Span.dropped_attributes_count":                 "attribute dropped_attributes_count",
	"Span.events":                                   "Events",
	"Span.dropped_events_count":                     "attribute dropped_events_count",
	"Span.links":                                    "Links",
	"Span.dropped_links_count":                      "attribute dropped_links_count",
	"Span.status":                                   "container",
	"Status.message":                                "StatusMessage",
	"Status.code":                                   "Status, an unknown number in status.code_number",
	"Event.time_unix_nano":                          "Events.TimeUnixNano",
	"Event.name":                                    "Events.Name",
	"Event.attributes":                              "Events.Attributes",
	"Event.dropped_attributes_count":                "event attribute dropped_attributes_count",
	"Link.trace_id":                                 "Links.TraceID",
	"Link.span_id":                                  "Links.SpanID",
	"Link.trace_state":                              "Links.TraceState",
	"Link.attributes":                               "Links.Attributes",
	"Link.dropped_attributes_count":                 "link attribute dropped_attributes_count",
	"Link.flags":                                    "link attribute trace.flags",
	"KeyValue.key":                                  "attribute key",
	"KeyValue.value":                                "attribute value",
	"KeyValue.key_strindex":                         "not kept: points into the string table of profiles, which traces and logs lack",
	"AnyValue.string_value":                         "attribute value",
	"AnyValue.bool_value":                           "attribute value",
	"AnyValue.int_value":                            "attribute value",
	"AnyValue.double_value":                         "attribute value",
	"AnyValue.array_value":                          "attribute value, JSON",
	"AnyValue.kvlist_value":                         "attribute value, JSON, and flattened",
	"AnyValue.bytes_value":                          "attribute value",
	"AnyValue.string_value_strindex":                "not kept: points into the string table of profiles, which traces and logs lack",
	"ArrayValue.values":                             "in the JSON",
	"KeyValueList.values":                           "in the JSON",
	"LogsData.resource_logs":                        "container",
	"ResourceLogs.resource":                         "container",
	"ResourceLogs.scope_logs":                       "container",
	"ResourceLogs.schema_url":                       "attribute resource.schema_url",
	"ScopeLogs.scope":                               "container",
	"ScopeLogs.log_records":                         "container",
	"ScopeLogs.schema_url":                          "attribute scope.schema_url",
	"LogRecord.time_unix_nano":                      "StartUnixNano",
	"LogRecord.observed_time_unix_nano":             "attribute observed_time_unix_nano where it differs from the time",
	"LogRecord.severity_number":                     "attribute severity_number",
	"LogRecord.severity_text":                       "attribute severity_text",
	"LogRecord.body":                                "Name; a map or array also in body",
	"LogRecord.attributes":                          "attributes",
	"LogRecord.dropped_attributes_count":            "attribute dropped_attributes_count",
	"LogRecord.flags":                               "attribute trace.flags",
	"LogRecord.trace_id":                            "TraceID",
	"LogRecord.span_id":                             "ParentID",
	"LogRecord.event_name":                          "attribute event.name",
}

func TestEveryFieldIsStored(t *testing.T) {
	listed := map[string]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			name := string(m.Name()) + "." + string(f.Name())
			if listed[name] {
				continue
			}
			listed[name] = true
			if stored[name] == "" {
				t.Errorf("%s is not listed: say where it is stored, or why not", name)
			}
			if f.Message() != nil {
				visit(f.Message())
			}
		}
	}
	visit((&tracepb.TracesData{}).ProtoReflect().Descriptor())
	visit((&logspb.LogsData{}).ProtoReflect().Descriptor())
	for name := range stored {
		if !listed[name] {
			t.Errorf("%s is listed, but the protocol does not have it", name)
		}
	}
	for _, m := range []*message{traceRequest, logsRequest} {
		visitSchema(m, map[*message]bool{}, func(m *message, f *field) {
			name := m.name + "." + f.name
			if !listed[strings.NewReplacer("ExportTraceServiceRequest", "TracesData", "ExportLogsServiceRequest", "LogsData").Replace(name)] {
				t.Errorf("the schema has %s, the protocol does not", name)
			}
		})
	}
}

func visitSchema(m *message, seen map[*message]bool, fn func(*message, *field)) {
	if seen[m] {
		return
	}
	seen[m] = true
	for i := range m.fields {
		fn(m, &m.fields[i])
		if m.fields[i].message != nil {
			visitSchema(m.fields[i].message, seen, fn)
		}
	}
}

// TestEveryFieldArrives sets every field and looks for its value in the row.
func TestEveryFieldArrives(t *testing.T) {
	td := &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		SchemaUrl: "res-schema",
		Resource: &resourcepb.Resource{Attributes: kv("r", "rv"), DroppedAttributesCount: 1, EntityRefs: []*commonpb.EntityRef{
			{SchemaUrl: "es", Type: "host", IdKeys: []string{"a", "b"}, DescriptionKeys: []string{"c"}}, {Type: "x\""}}},
		ScopeSpans: []*tracepb.ScopeSpans{{
			SchemaUrl: "scope-schema",
			Scope:     &commonpb.InstrumentationScope{Name: "sn", Version: "sv", Attributes: kv("s", "sv"), DroppedAttributesCount: 2},
			Spans: []*tracepb.Span{{
				TraceId: unhex(testTrace), SpanId: unhex(testSpan), ParentSpanId: unhex(testParent), TraceState: "ot=th:8", Flags: 0x301,
				Name: "n", Kind: 9, StartTimeUnixNano: 10, EndTimeUnixNano: 30, Attributes: kv("a", "av"),
				DroppedAttributesCount: 3, DroppedEventsCount: 4, DroppedLinksCount: 5, Status: &tracepb.Status{Code: 7, Message: "sm"},
				Events: []*tracepb.Span_Event{{TimeUnixNano: 15, Name: "e", Attributes: kv("ea", 1), DroppedAttributesCount: 6}},
				Links:  []*tracepb.Span_Link{{TraceId: unhex(testTrace), SpanId: unhex(testParent), TraceState: "lt", Attributes: kv("la", 1), DroppedAttributesCount: 7, Flags: 0x100}},
			}},
		}},
	}}}
	s := decodeOne(t, Traces, td, Arrival{UnixNano: 99})
	want := []string{
		"span.kind_number=int:9", "a=string:av", "dropped_attributes_count=int:3", "dropped_events_count=int:4", "dropped_links_count=int:5",
		"status.code_number=int:7", "trace.flags=int:769",
		"otel.scope.name=string:sn", "otel.scope.version=string:sv", "s=string:sv", "scope.dropped_attributes_count=int:2", "scope.schema_url=string:scope-schema",
		"r=string:rv", "resource.dropped_attributes_count=int:1",
		`resource.entity_refs=json:[{"schema_url":"es","type":"host","id_keys":["a","b"],"description_keys":["c"]},{"type":"x\""}]`,
		"resource.schema_url=string:res-schema",
	}
	if diff := cmp.Diff(want, show(s.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if s.TraceID.String() != testTrace || s.SpanID.String() != testSpan || s.ParentID.String() != testParent || s.TraceState != "ot=th:8" || s.Name != "n" ||
		s.StartUnixNano != 10 || s.DurationNano != 20 || s.StatusMessage != "sm" || s.ArrivedUnixNano != 99 {
		t.Errorf("fixed fields: %+v", s)
	}
	e, l := s.Events[0], s.Links[0]
	if diff := cmp.Diff([]string{"ea=int:1", "dropped_attributes_count=int:6"}, show(e.Attributes)); e.Name != "e" || e.TimeUnixNano != 15 || diff != "" {
		t.Errorf("event %+v, attributes (-want +got):\n%s", e, diff)
	}
	if diff := cmp.Diff([]string{"la=int:1", "dropped_attributes_count=int:7", "trace.flags=int:256"}, show(l.Attributes)); l.TraceID.String() != testTrace || l.SpanID.String() != testParent || l.TraceState != "lt" || diff != "" {
		t.Errorf("link %+v, attributes (-want +got):\n%s", l, diff)
	}
}
