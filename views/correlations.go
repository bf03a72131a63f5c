package views

import "redthread/views/ui"

// TabCorrelations is the page about what joins causes and effects.
const TabCorrelations = "correlations"

// Correlations is the settings page of attributes that join causes and effects.
type Correlations struct {
	Settings
	List    []CorrelationRow
	Columns []string // names of attributes, to complete from

	Name, Means, Cause, Effect, Scope string // as typed
	Errors                            FieldErrors
	// Preview says that what is typed was counted, in these.
	Preview                                   bool
	PreviewCause, PreviewEffect, PreviewScope []KeyCount

	Kept      []KeyCount
	KeptText  string // one a line
	IsDefault bool
}

// CorrelationRow is one correlation.
type CorrelationRow struct {
	Name, Means          string
	Cause, Effect, Scope []KeyCount
}

// KeyCount is an attribute and how many spans of the last hour carry it, in words,
// "" if they were not counted.
type KeyCount struct {
	Key, Text string
	None      bool
}

// meaningOptions are what the values of correlated attributes may name.
var meaningOptions = []ui.Option{
	{Value: "message", Label: "a message"}, {Value: "job", Label: "a job"}, {Value: "request", Label: "a request"},
	{Value: "trace", Label: "the trace of the cause (its id, or a traceparent)"},
}
