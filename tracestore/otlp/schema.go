package otlp

import "strings"

// fieldKind is how a field is written, in protobuf and in JSON.
type fieldKind uint8

const (
	kindString fieldKind = iota + 1
	kindBytes
	kindTraceID // bytes; hex in OTLP's JSON
	kindSpanID  // bytes; hex in OTLP's JSON
	kindBool
	kindInt64
	kindUint32
	kindEnum
	kindDouble
	kindFixed64
	kindFixed32
	kindMessage
)

// wireType is the wire type of the kind.
func (k fieldKind) wireType() uint8 {
	switch k {
	case kindBool, kindInt64, kindUint32, kindEnum:
		return wireVarint
	case kindDouble, kindFixed64:
		return wireFixed64
	case kindFixed32:
		return wireFixed32
	}
	return wireBytes
}

// field is one field of a message.
type field struct {
	number   int
	name     string // as in the .proto file
	json     string // lowerCamelCase
	kind     fieldKind
	repeated bool
	message  *message
	enum     []string // names by number
	prefix   string   // of the enum's names
}

// message is the part of a protobuf message that this package reads. Fields
// beyond it are skipped, as protobuf demands of unknown ones.
type message struct {
	name   string
	fields []field
	index  [17]uint8 // position+1 in fields by field number
	points bool      // each element is a metric data point
	record Signal    // Traces: a Span; Logs: a LogRecord
	// attributes is the number of the repeated KeyValue field, of a record.
	attributes int
}

// byNumber finds a field, or nil.
func (m *message) byNumber(n int) *field {
	if n < len(m.index) {
		if p := m.index[n]; p != 0 {
			return &m.fields[p-1]
		}
		return nil
	}
	for i := range m.fields {
		if m.fields[i].number == n {
			return &m.fields[i]
		}
	}
	return nil
}

// byName finds a field by its JSON name or its name in the .proto file; protojson
// readers accept both (https://protobuf.dev/programming-guides/json/).
func (m *message) byName(name string) *field {
	for i := range m.fields {
		if f := &m.fields[i]; f.json == name || f.name == name {
			return f
		}
	}
	return nil
}

// The messages, numbered as in opentelemetry-proto v1.11.
var (
	anyValue     = &message{name: "AnyValue"}
	keyValue     = &message{name: "KeyValue"}
	arrayValue   = &message{name: "ArrayValue"}
	keyValueList = &message{name: "KeyValueList"}
	entityRef    = &message{name: "EntityRef"}
	resource     = &message{name: "Resource"}
	scope        = &message{name: "InstrumentationScope"}
	status       = &message{name: "Status"}
	event        = &message{name: "Event"}
	link         = &message{name: "Link"}
	span         = &message{name: "Span", record: Traces, attributes: 9}
	scopeSpans   = &message{name: "ScopeSpans"}
	resSpans     = &message{name: "ResourceSpans"}
	traceRequest = &message{name: "ExportTraceServiceRequest"}
	logRecord    = &message{name: "LogRecord", record: Logs, attributes: 6}
	scopeLogs    = &message{name: "ScopeLogs"}
	resLogs      = &message{name: "ResourceLogs"}
	logsRequest  = &message{name: "ExportLogsServiceRequest"}
	dataPoint    = &message{name: "DataPoint", points: true}
	metricData   = &message{name: "MetricData"}
	metric       = &message{name: "Metric"}
	scopeMetrics = &message{name: "ScopeMetrics"}
	resMetrics   = &message{name: "ResourceMetrics"}
	metricsReq   = &message{name: "ExportMetricsServiceRequest"}
)

// requestOf is the outermost message of a signal.
func requestOf(sig Signal) *message {
	switch sig {
	case Logs:
		return logsRequest
	case Metrics:
		return metricsReq
	}
	return traceRequest
}

func (m *message) define(fields ...field) {
	m.fields = fields
	for i := range m.fields {
		f := &m.fields[i]
		f.json = lowerCamel(f.name)
		if f.number < len(m.index) {
			m.index[f.number] = uint8(i + 1)
		}
	}
}

func scalar(n int, name string, k fieldKind) field { return field{number: n, name: name, kind: k} }
func strs(n int, name string) field {
	return field{number: n, name: name, kind: kindString, repeated: true}
}
func one(n int, name string, m *message) field {
	return field{number: n, name: name, kind: kindMessage, message: m}
}
func many(n int, name string, m *message) field {
	return field{number: n, name: name, kind: kindMessage, message: m, repeated: true}
}
func enum(n int, name, prefix string, names ...string) field {
	return field{number: n, name: name, kind: kindEnum, prefix: prefix, enum: names}
}

var severities = func() []string {
	names := []string{"UNSPECIFIED"}
	for _, s := range []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} {
		names = append(names, s, s+"2", s+"3", s+"4")
	}
	return names
}()

func init() {
	anyValue.define(
		scalar(1, "string_value", kindString), scalar(2, "bool_value", kindBool),
		scalar(3, "int_value", kindInt64), scalar(4, "double_value", kindDouble),
		one(5, "array_value", arrayValue), one(6, "kvlist_value", keyValueList),
		scalar(7, "bytes_value", kindBytes))
	keyValue.define(scalar(1, "key", kindString), one(2, "value", anyValue))
	arrayValue.define(many(1, "values", anyValue))
	keyValueList.define(many(1, "values", keyValue))
	entityRef.define(scalar(1, "schema_url", kindString), scalar(2, "type", kindString),
		strs(3, "id_keys"), strs(4, "description_keys"))
	resource.define(many(1, "attributes", keyValue),
		scalar(2, "dropped_attributes_count", kindUint32), many(3, "entity_refs", entityRef))
	scope.define(scalar(1, "name", kindString), scalar(2, "version", kindString),
		many(3, "attributes", keyValue), scalar(4, "dropped_attributes_count", kindUint32))

	status.define(scalar(2, "message", kindString),
		enum(3, "code", "STATUS_CODE_", "UNSET", "OK", "ERROR"))
	event.define(scalar(1, "time_unix_nano", kindFixed64), scalar(2, "name", kindString),
		many(3, "attributes", keyValue), scalar(4, "dropped_attributes_count", kindUint32))
	link.define(scalar(1, "trace_id", kindTraceID), scalar(2, "span_id", kindSpanID),
		scalar(3, "trace_state", kindString), many(4, "attributes", keyValue),
		scalar(5, "dropped_attributes_count", kindUint32), scalar(6, "flags", kindFixed32))
	span.define(scalar(1, "trace_id", kindTraceID), scalar(2, "span_id", kindSpanID),
		scalar(3, "trace_state", kindString), scalar(4, "parent_span_id", kindSpanID),
		scalar(5, "name", kindString),
		enum(6, "kind", "SPAN_KIND_", "UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"),
		scalar(7, "start_time_unix_nano", kindFixed64), scalar(8, "end_time_unix_nano", kindFixed64),
		many(9, "attributes", keyValue), scalar(10, "dropped_attributes_count", kindUint32),
		many(11, "events", event), scalar(12, "dropped_events_count", kindUint32),
		many(13, "links", link), scalar(14, "dropped_links_count", kindUint32),
		one(15, "status", status), scalar(16, "flags", kindFixed32))
	scopeSpans.define(one(1, "scope", scope), many(2, "spans", span), scalar(3, "schema_url", kindString))
	resSpans.define(one(1, "resource", resource), many(2, "scope_spans", scopeSpans),
		scalar(3, "schema_url", kindString))
	traceRequest.define(many(1, "resource_spans", resSpans))

	logRecord.define(scalar(1, "time_unix_nano", kindFixed64),
		enum(2, "severity_number", "SEVERITY_NUMBER_", severities...),
		scalar(3, "severity_text", kindString), one(5, "body", anyValue),
		many(6, "attributes", keyValue), scalar(7, "dropped_attributes_count", kindUint32),
		scalar(8, "flags", kindFixed32), scalar(9, "trace_id", kindTraceID),
		scalar(10, "span_id", kindSpanID), scalar(11, "observed_time_unix_nano", kindFixed64),
		scalar(12, "event_name", kindString))
	scopeLogs.define(one(1, "scope", scope), many(2, "log_records", logRecord),
		scalar(3, "schema_url", kindString))
	resLogs.define(one(1, "resource", resource), many(2, "scope_logs", scopeLogs),
		scalar(3, "schema_url", kindString))
	logsRequest.define(many(1, "resource_logs", resLogs))

	// Of metrics only the number of data points is of interest.
	metricData.define(many(1, "data_points", dataPoint))
	metric.define(scalar(1, "name", kindString), one(5, "gauge", metricData), one(7, "sum", metricData),
		one(9, "histogram", metricData), one(10, "exponential_histogram", metricData),
		one(11, "summary", metricData))
	scopeMetrics.define(many(2, "metrics", metric))
	resMetrics.define(many(2, "scope_metrics", scopeMetrics))
	metricsReq.define(many(1, "resource_metrics", resMetrics))
}

// lowerCamel turns trace_id into traceId.
func lowerCamel(s string) string {
	parts := strings.Split(s, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}
