package collab

import (
	"encoding/json"
	"net/url"
	"strings"

	"redthread/tracestore/trace"
)

// BlockID is "b_" and a ULID.
type BlockID string

// BlockKind says what a block is. The first five are pins.
type BlockKind string

// The kinds of block.
const (
	KindSpan       BlockKind = "span"
	KindTrace      BlockKind = "trace"
	KindThread     BlockKind = "thread"
	KindQuery      BlockKind = "query"
	KindComparison BlockKind = "comparison" // of two pins, side by side
	KindNote       BlockKind = "note"
	KindLink       BlockKind = "link"
	KindPicture    BlockKind = "picture"
	KindTask       BlockKind = "task"
	KindHypothesis BlockKind = "hypothesis"
)

// Pin reports whether the block carries frozen evidence.
func (k BlockKind) Pin() bool {
	return k == KindSpan || k == KindTrace || k == KindThread || k == KindQuery || k == KindComparison
}

// noun is the first half of the type of the block's changes.
func (k BlockKind) noun() string {
	if k.Pin() {
		return "pin"
	}
	return string(k)
}

// Block is what stands on an investigation's board.
type Block struct {
	ID              BlockID         `json:"id"`
	InvestigationID InvestigationID `json:"investigation_id"`
	Kind            BlockKind       `json:"kind"`
	Position        string          `json:"position"` // sorts the board bytewise
	Title           string          `json:"title"`
	Text            string          `json:"text"` // a note's Markdown, a pin's caption
	URL             string          `json:"url"`
	TraceID         string          `json:"trace_id"`
	SpanID          string          `json:"span_id"`
	Query           json.RawMessage `json:"query"`   // null unless a query
	Locator         string          `json:"locator"` // path of the live view
	Evidence        *EvidenceInfo   `json:"evidence"`
	Sides           []Side          `json:"sides"` // of a comparison: two

	State        HypothesisState `json:"state"`      // of a hypothesis, else ""
	References   References      `json:"references"` // of a hypothesis: what speaks for and against it
	Done         bool            `json:"done"`       // a task is
	Assignee     string          `json:"assignee"`   // of a task: a user's id, or nobody
	AssigneeName string          `json:"assignee_name"`
	DueUnixNano  int64           `json:"due_unix_nano,string"` // of a task, 0: none
	Picture      *PictureInfo    `json:"picture"`              // of a picture, else null

	CreatedBy       string `json:"created_by"`
	CreatedByName   string `json:"created_by_name"`
	CreatedUnixNano int64  `json:"created_unix_nano,string"`
	UpdatedUnixNano int64  `json:"updated_unix_nano,string"`
	EditedBy        string `json:"edited_by"` // who wrote its title or text last, "" if that is who put it there
	EditedByName    string `json:"edited_by_name"`
	Offset          int64  `json:"offset"` // of its last change

	fieldOffsets fieldOffsets
	deleted      bool
}

// EvidenceInfo is the provenance of a frozen copy.
type EvidenceInfo struct {
	SHA256         string `json:"sha256"` // of the canonical JSON, 64 hex digits
	SizeBytes      int    `json:"size_bytes"`
	FrozenBy       string `json:"frozen_by"`
	FrozenByName   string `json:"frozen_by_name"`
	FrozenUnixNano int64  `json:"frozen_unix_nano,string"`
	// Redactions say that values were taken out of the copy since.
	Redactions []Redaction `json:"redactions,omitempty"`
}

// BlockNew asks for a block. By kind: TraceID and SpanID; TraceID; Query; Sides;
// Text; URL; Picture; Title with Assignee; Title with State and References. Title
// and Text may go with every kind.
type BlockNew struct {
	Ref     string          `json:"ref"`
	Kind    BlockKind       `json:"kind"`
	TraceID string          `json:"trace_id"`
	SpanID  string          `json:"span_id"`
	Query   json.RawMessage `json:"query"`
	Title   string          `json:"title"`
	Text    string          `json:"text"`
	URL     string          `json:"url"`

	Sides      []Side          `json:"sides"`
	Picture    []byte          `json:"picture"` // the file, base64 in JSON
	State      HypothesisState `json:"state"`
	References References      `json:"references"`
	Done       bool            `json:"done"`
	Assignee   string          `json:"assignee"`

	DueUnixNano int64 `json:"due_unix_nano,string"`
}

// BlockUpdate changes the fields that are not nil; those that the block's kind
// does not have are refused. Of References only those named are changed, and an
// empty side takes one away. After moves the block behind the named one, or to
// the begin if it is empty.
type BlockUpdate struct {
	Ref   string   `json:"ref"`
	Seen  *int64   `json:"seen"`
	Title *string  `json:"title"`
	Text  *string  `json:"text"`
	URL   *string  `json:"url"`
	After *BlockID `json:"after"`

	State      *HypothesisState `json:"state"`
	References References       `json:"references"`
	Done       *bool            `json:"done"`
	Assignee   *string          `json:"assignee"`

	DueUnixNano *int64 `json:"due_unix_nano,string"` // 0: none
}

// check refuses fields that the kind does not have.
func (u *BlockUpdate) check(kind BlockKind) error {
	switch {
	case u.URL != nil && kind != KindLink:
		return &InvalidError{"url", "Only a link has an address."}
	case u.State != nil && kind != KindHypothesis:
		return &InvalidError{"state", "Only a hypothesis has a state."}
	case u.References != nil && kind != KindHypothesis:
		return &InvalidError{"references", "Only a hypothesis has evidence for and against it."}
	case u.Done != nil && kind != KindTask:
		return &InvalidError{"done", "Only a task is done."}
	case u.Assignee != nil && kind != KindTask:
		return &InvalidError{"assignee", "Only a task is given to somebody."}
	case u.DueUnixNano != nil && kind != KindTask:
		return &InvalidError{"due_unix_nano", "Only a task is due."}
	case u.DueUnixNano != nil:
		return checkTime("due_unix_nano", *u.DueUnixNano)
	case u.State != nil:
		return checkHypothesisState(*u.State)
	}
	return nil
}

// clean checks the request by its kind, normalises it and returns the locator of
// its evidence, which is zero for what is no pin.
func (b *BlockNew) clean() (Locator, error) {
	if err := checkRef(b.Ref); err != nil {
		return Locator{}, err
	}
	if err := b.checkFields(); err != nil {
		return Locator{}, err
	}
	var err error
	if strings.TrimSpace(b.Title) == "" && !b.Kind.titled() {
		b.Title = ""
	} else if b.Title, err = cleanTitle("title", b.Title); err != nil {
		return Locator{}, err
	}
	if b.Kind != KindNote && strings.TrimSpace(b.Text) == "" {
		b.Text = ""
	} else if b.Text, err = cleanText("text", b.Text, maxTextRunes); err != nil {
		return Locator{}, err
	}
	l := Locator{Kind: b.Kind}
	switch b.Kind {
	case KindSpan, KindTrace, KindThread:
		if l.TraceID, err = trace.ParseID(b.TraceID); err != nil {
			return l, &InvalidError{"trace_id", "Name the trace by its 32 hex digits."}
		}
		b.TraceID = l.TraceID.String()
		if b.Kind != KindSpan {
			b.SpanID = ""
			return l, nil
		}
		if l.SpanID, err = trace.ParseSpanID(b.SpanID); err != nil {
			return l, &InvalidError{"span_id", "Name the span by its 16 hex digits."}
		}
		b.SpanID = l.SpanID.String()
	case KindQuery:
		if len(b.Query) > maxQueryBytes {
			return l, &InvalidError{"query", "A query has at most 64 KiB."}
		}
		canonical, err := CanonicalJSON(b.Query)
		if err != nil || len(canonical) == 0 || canonical[0] != '{' {
			return l, &InvalidError{"query", "A query is a JSON object, the query specification."}
		}
		b.Query, l.Query = canonical, canonical
	case KindComparison:
		b.Sides, err = cleanSides(b.Sides)
		return l, err
	case KindNote:
	case KindTask:
		return l, checkTime("due_unix_nano", b.DueUnixNano)
	case KindLink:
		b.URL, err = cleanURL(b.URL)
		return l, err
	case KindPicture:
		_, b.Picture, err = readPicture(b.Picture)
		return l, err
	case KindHypothesis:
		if b.State == "" {
			b.State = HypothesisOpen
		}
		return l, checkHypothesisState(b.State)
	default:
		return l, &InvalidError{"kind", "Kind is span, trace, thread, query, comparison, note, link, picture, task or hypothesis."}
	}
	return l, nil
}

// titled reports whether a block of the kind is nothing without a title.
func (k BlockKind) titled() bool { return k == KindTask || k == KindHypothesis }

// checkFields refuses fields that the kind does not have: a misunderstanding is
// told, not dropped.
func (b *BlockNew) checkFields() error {
	for _, f := range []struct {
		name string
		set  bool
		kind BlockKind
	}{
		{"url", b.URL != "", KindLink}, {"sides", b.Sides != nil, KindComparison}, {"picture", b.Picture != nil, KindPicture},
		{"state", b.State != "", KindHypothesis}, {"references", b.References != nil, KindHypothesis},
		{"done", b.Done, KindTask}, {"assignee", b.Assignee != "", KindTask}, {"due_unix_nano", b.DueUnixNano != 0, KindTask},
	} {
		if f.set && b.Kind != f.kind {
			return &InvalidError{f.name, "Only a " + string(f.kind) + " has this field."}
		}
	}
	return nil
}

// cleanURL accepts an absolute http or https address, or a path of this site.
func cleanURL(s string) (string, error) {
	s = strings.TrimSpace(s)
	bad := &InvalidError{"url", "Give an address that begins with https:// or http://."}
	if s == "" || len(s) > maxURLBytes {
		return "", bad
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", bad
	}
	local := u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.Contains(s, "\\")
	if !local && ((u.Scheme != "http" && u.Scheme != "https") || u.Host == "") {
		return "", bad
	}
	return u.String(), nil
}
