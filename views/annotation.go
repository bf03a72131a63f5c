package views

import (
	"net/url"
	"strconv"
	"time"
)

// BoardAnnotation is one annotation as it shows, with its replies.
type BoardAnnotation struct {
	ID        string
	ByID      string
	By        string
	HTML      string // sanitised
	Text      string
	At        time.Time
	Now       time.Time
	Where     string // "on the span in its trace", if it was made elsewhere
	Seen      int64
	Mine      bool // may edit and delete
	CanWrite  bool // may reply, react and resolve
	Back      string
	Versions  int       // more than one: it was edited
	EditedBy  string    // by somebody else than By
	Moment    time.Time // what it points at, zero: nothing
	Until     time.Time // the end of that, zero: it is a moment
	Offset    string    // the same, from the begin of the trace it shows in
	Gone      bool      // deleted; only its replies are left
	Reply     bool
	ReplyRef  string
	Replies   []BoardAnnotation
	Reactions []ReactionView
	// Resolved is when somebody ended the thread, zero: it is open.
	Resolved   time.Time
	ResolvedBy string
}

// ReactionView is one reaction that can be left.
type ReactionView struct {
	Name   string
	People []string
	Mine   bool
}

// reactionMarks are what reactions look like: signs of the text face, so that they
// look the same everywhere.
var reactionMarks = map[string]string{"agree": "+1", "disagree": "−1", "looking": "◉", "unclear": "?", "thanks": "♥"}

func (r ReactionView) mark() string { return reactionMarks[r.Name] }

func (r ReactionView) label() string {
	switch n := len(r.People); {
	case n == 0:
		return r.Name
	case r.Mine:
		return r.Name + ", " + strconv.Itoa(n) + ", you too"
	default:
		return r.Name + ", " + strconv.Itoa(n)
	}
}

func (r ReactionView) title() string {
	if len(r.People) == 0 {
		return r.Name
	}
	text := r.Name + ": "
	for i, p := range r.People {
		if i == 12 {
			return text + " and " + strconv.Itoa(len(r.People)-i) + " more"
		}
		if i > 0 {
			text += ", "
		}
		text += p
	}
	return text
}

func (a BoardAnnotation) hue() int { return ServiceHue(a.ByID) }

func (a BoardAnnotation) url() string { return "/annotations/" + a.ID }

// left are the reactions that somebody left.
func (a BoardAnnotation) left() []ReactionView {
	var list []ReactionView
	for _, r := range a.Reactions {
		if len(r.People) > 0 {
			list = append(list, r)
		}
	}
	return list
}

// first is the begin of a text on one line.
func (a BoardAnnotation) first() string { return clipText(a.Text, 90) }

// BoardNotes are the annotations on an investigation itself.
type BoardNotes struct {
	InvestigationID string
	Ref             string
	CanWrite        bool
	Annotations     []BoardAnnotation
}

// TraceNotes are the annotations on a trace or one of its spans.
type TraceNotes struct {
	ID          string // of the element
	TraceID     string
	SpanID      string // "": the whole trace
	Ref         string
	Back        string
	Begin       int64 // of the trace, nanoseconds since the epoch
	CanWrite    bool
	Annotations []BoardAnnotation
	// Elsewhere is how many others hang on spans of the trace.
	Elsewhere int
}

// summary says what there is on a trace.
func (n TraceNotes) summary() string {
	text := plural(len(n.Annotations), "annotation", "annotations") + " on this trace"
	if n.Elsewhere > 0 {
		text += ", " + strconv.Itoa(n.Elsewhere) + " on its spans"
	}
	return text
}

func (n TraceNotes) what() string {
	if n.SpanID == "" {
		return "this trace"
	}
	return "this span"
}

// History is every text that an annotation had.
type History struct {
	Page     Page
	Back     string
	Versions []TextVersion // the newest first
}

// TextVersion is one of them.
type TextVersion struct {
	Version int
	By      string
	At      time.Time
	HTML    string // sanitised
}

// maxAnnotationsInFull is how many annotations a list shows at their full height.
const maxAnnotationsInFull = 6

// mentionURL asks whom a text can name that is read by who may see something: an
// investigation, or what an annotation is in.
func mentionURL(what, id string) string { return "/mentions?" + what + "=" + url.QueryEscape(id) }
