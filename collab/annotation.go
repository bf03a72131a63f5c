package collab

import (
	"redthread/tracestore/trace"
)

// AnnotationID is "a_" and a ULID.
type AnnotationID string

// Reaction is a mark that people leave on an annotation instead of a text.
type Reaction string

// The reactions.
const (
	ReactionAgree    Reaction = "agree"
	ReactionDisagree Reaction = "disagree"
	ReactionLooking  Reaction = "looking"
	ReactionUnclear  Reaction = "unclear"
	ReactionThanks   Reaction = "thanks"
)

// AnnotationReactions lists them all, in the order in which they show.
var AnnotationReactions = []Reaction{ReactionAgree, ReactionDisagree, ReactionLooking, ReactionUnclear, ReactionThanks}

// Anchor is what an annotation hangs on: an investigation, a pin, a trace or a
// span of it, and perhaps a moment or a stretch of time.
type Anchor struct {
	InvestigationID InvestigationID `json:"investigation_id"`
	PinID           BlockID         `json:"pin_id"`
	TraceID         string          `json:"trace_id"`
	SpanID          string          `json:"span_id"`
	AtUnixNano      int64           `json:"at_unix_nano,string"` // 0: no moment
	// UntilUnixNano ends the time that begins at AtUnixNano, 0 if that is a moment.
	UntilUnixNano int64 `json:"until_unix_nano,string"`
}

// Annotation is a text anchored to something. One on the pin of a span or trace
// is anchored to that span or trace too, so it shows there as well.
type Annotation struct {
	ID     AnnotationID `json:"id"`
	Anchor Anchor       `json:"anchor"`
	// ParentID is the annotation that it replies to, "" if it is no reply itself.
	ParentID        AnnotationID `json:"parent_id"`
	Text            string       `json:"text"`
	Mentions        []string     `json:"mentions"` // ids of users and teams
	CreatedBy       string       `json:"created_by"`
	CreatedByName   string       `json:"created_by_name"`
	CreatedUnixNano int64        `json:"created_unix_nano,string"`
	UpdatedUnixNano int64        `json:"updated_unix_nano,string"`
	EditedBy        string       `json:"edited_by"` // who wrote the text as it is, "" if that is who made it
	EditedByName    string       `json:"edited_by_name"`
	// Offset is that of the change that set its text, in the log of
	// Anchor.InvestigationID; how many texts it had, if it hangs on a trace alone.
	Offset int64 `json:"offset"`

	ResolvedUnixNano int64           `json:"resolved_unix_nano,string"` // 0: open
	ResolvedBy       string          `json:"resolved_by"`
	ResolvedByName   string          `json:"resolved_by_name"`
	Reactions        []ReactionCount `json:"reactions"`
	Versions         int             `json:"versions"` // how many texts it had

	fieldOffsets fieldOffsets
	deleted      bool
}

// ReactionCount is one reaction and who has it, the first first.
type ReactionCount struct {
	Reaction Reaction `json:"reaction"`
	People   []Person `json:"people"`
}

// Person is somebody by id and name.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// AnnotationVersion is one text that an annotation had.
type AnnotationVersion struct {
	Version    int    `json:"version"` // from 1
	Text       string `json:"text"`
	Actor      string `json:"actor"`
	ActorName  string `json:"actor_name"`
	AtUnixNano int64  `json:"at_unix_nano,string"`
}

// AnnotationNew asks for an annotation. A reply names its parent, and hangs where
// that hangs: what its own anchor says has to be the same.
type AnnotationNew struct {
	Ref      string       `json:"ref"`
	Anchor   Anchor       `json:"anchor"`
	ParentID AnnotationID `json:"parent_id"`
	Text     string       `json:"text"`
}

// AnnotationUpdate changes an annotation's text, which its author and
// administrators may, or resolves or reopens it, which everybody may who sees it.
type AnnotationUpdate struct {
	Ref      string  `json:"ref"`
	Seen     *int64  `json:"seen"`
	Text     *string `json:"text"`
	Resolved *bool   `json:"resolved"`
}

// AnnotationFilter picks annotations, the oldest first. At least one of its
// anchors is set.
type AnnotationFilter struct {
	InvestigationID InvestigationID
	PinID           BlockID // of the investigation
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
	if n.ParentID != "" {
		return nil // where it hangs is known with its parent
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
		return &InvalidError{"anchor.at_unix_nano", "A moment lies after 1970."}
	}
	if a.UntilUnixNano != 0 && (a.AtUnixNano == 0 || a.UntilUnixNano <= a.AtUnixNano) {
		return &InvalidError{"anchor.until_unix_nano", "A time ends after it begins."}
	}
	return nil
}

// within reports whether what an anchor says is what another says too.
func (a Anchor) within(of Anchor) bool {
	return (a.InvestigationID == "" || a.InvestigationID == of.InvestigationID) && (a.PinID == "" || a.PinID == of.PinID) &&
		(a.TraceID == "" || a.TraceID == of.TraceID) && (a.SpanID == "" || a.SpanID == of.SpanID) &&
		(a.AtUnixNano == 0 || a.AtUnixNano == of.AtUnixNano) && (a.UntilUnixNano == 0 || a.UntilUnixNano == of.UntilUnixNano)
}
