package collab

import (
	"redthread/tracestore/trace"
)

// AnnotationID is "a_" and a ULID.
type AnnotationID string

// Anchor is what an annotation hangs on: an investigation, a pin, a trace or a
// span of it, and perhaps a moment in time.
type Anchor struct {
	InvestigationID InvestigationID `json:"investigation_id"`
	PinID           BlockID         `json:"pin_id"`
	TraceID         string          `json:"trace_id"`
	SpanID          string          `json:"span_id"`
	AtUnixNano      int64           `json:"at_unix_nano,string"` // 0: no moment
}

// Annotation is a text anchored to something. One on the pin of a span or trace
// is anchored to that span or trace too, so it shows there as well.
type Annotation struct {
	ID              AnnotationID `json:"id"`
	Anchor          Anchor       `json:"anchor"`
	Text            string       `json:"text"`
	Mentions        []string     `json:"mentions"` // user ids
	CreatedBy       string       `json:"created_by"`
	CreatedByName   string       `json:"created_by_name"`
	CreatedUnixNano int64        `json:"created_unix_nano,string"`
	UpdatedUnixNano int64        `json:"updated_unix_nano,string"`
	// Offset is that of its last change in the log of Anchor.InvestigationID, 0
	// while it has none.
	Offset int64 `json:"offset"`

	fieldOffsets fieldOffsets
	deleted      bool
}

// AnnotationNew asks for an annotation.
type AnnotationNew struct {
	Ref    string `json:"ref"`
	Anchor Anchor `json:"anchor"`
	Text   string `json:"text"`
}

// AnnotationUpdate changes an annotation's text.
type AnnotationUpdate struct {
	Ref  string  `json:"ref"`
	Seen *int64  `json:"seen"`
	Text *string `json:"text"`
}

// AnnotationFilter picks annotations, the oldest first. At least one of its
// anchors is set.
type AnnotationFilter struct {
	InvestigationID InvestigationID
	TraceID         trace.ID
	// SpanID narrows TraceID to one span.
	SpanID trace.SpanID
	Limit  int // 500 if zero
}

func (n *AnnotationNew) clean() error {
	if err := checkRef(n.Ref); err != nil {
		return err
	}
	var err error
	if n.Text, err = cleanText("text", n.Text, maxAnnotationRunes); err != nil {
		return err
	}
	a := &n.Anchor
	if a.TraceID != "" {
		id, err := trace.ParseID(a.TraceID)
		if err != nil {
			return &InvalidError{"anchor.trace_id", "Name the trace by its 32 hex digits."}
		}
		a.TraceID = id.String()
	}
	if a.SpanID != "" {
		id, err := trace.ParseSpanID(a.SpanID)
		if err != nil {
			return &InvalidError{"anchor.span_id", "Name the span by its 16 hex digits."}
		}
		if a.TraceID == "" {
			return &InvalidError{"anchor.trace_id", "A span needs its trace."}
		}
		a.SpanID = id.String()
	}
	if a.InvestigationID == "" && a.PinID == "" && a.TraceID == "" {
		return &InvalidError{"anchor", "Anchor it to an investigation, a pin or a trace."}
	}
	if a.AtUnixNano < 0 {
		return &InvalidError{"anchor.at_unix_nano", "A moment is nanoseconds since 1970."}
	}
	return nil
}
