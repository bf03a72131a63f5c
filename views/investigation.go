package views

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"redthread/views/ui"
)

// InvestigationRow is one line of the list of investigations.
type InvestigationRow struct {
	Href     string
	Title    string
	Status   string
	Severity string
	LeadName string
	Blocks   int
	Created  time.Time
	Updated  time.Time
	Here     []PersonHere // who is in it now

	Drill      bool
	Visibility string
	Services   string // the first of them
	Overdue    bool   // its next update is
}

// InvestigationList is the page of all investigations.
type InvestigationList struct {
	Page    Page
	Filters []Filter
	Rows    []InvestigationRow
	More    string // href of the next page, "" at the end

	// What is chosen, and from what.
	Show, Text, Severity, Kind, Team string
	Severities, Kinds, Teams         []Option
	Narrowed                         bool // by more than Show

	Notices []string // what of the address was not understood
	Done    string   // what was done just now, or ""

	// Filtered says that others exist which the filter leaves out.
	Filtered bool
}

// Filter is one choice above a list.
type Filter struct {
	Label, Href string
	Here        bool
}

// InvestigationForm opens an investigation.
type InvestigationForm struct {
	Page      Page
	Ref       string
	Title     string
	Severity  string
	Template  string
	Templates []TemplateChoice
	Problem   string // beside the title

	Kind, Visibility string
	Teams            []Option
	Chosen           map[string]bool // of Teams
}

// TemplateChoice is what a new investigation may begin with.
type TemplateChoice struct{ ID, Name, About string }

// PersonHere is somebody who looks at an investigation now.
type PersonHere struct {
	ID, Name string
	Where    string // in words: "this board"
	Me       bool
}

func (p PersonHere) hue() int { return ServiceHue(p.ID) }

// Board is the page of one investigation.
type Board struct {
	Page  Page
	Head  BoardHead
	Block []BoardBlock
	// Lanes are set in place of Block when the board shows its blocks by
	// hypothesis. Hypotheses says that there are any.
	Lanes      []Lane
	ByLanes    bool
	Hypotheses bool
	Notes      BoardNotes // annotations on the investigation as a whole
	Timeline   Timeline
	// Replay is set if the board is shown as it was.
	Replay  *Replay
	Here    []PersonHere
	Compose Composer
	// Position of the change log that the page shows.
	Epoch  string
	Offset int64
	// Since is the offset that the page had when it was loaded before, 0 if it was
	// not: without scripts it says how much is new.
	Since int64
}

// Composer is the form at the end of a board.
type Composer struct {
	InvestigationID string
	Ref             string            // of the note
	Refs            map[string]string // of the other forms, by kind
	Pins            []Option          // that a comparison can be made of
	People          []Option
	CanWrite        bool
}

// BoardBlock is one block of a board.
type BoardBlock struct {
	InvestigationID string
	ID              string
	Kind            string
	Position        string
	Title           string
	Href            string // of the live view
	By              string
	EditedBy        string // who wrote its title or text last, if that is not By
	At              time.Time
	Now             time.Time
	Frozen          *FrozenMark
	Text            string // as typed
	HTML            string // rendered from it and sanitised
	URL             string
	Seen            int64
	CanWrite        bool
	Up, Down        *string // the block to stand behind after a move; nil: it cannot
	Annotations     []BoardAnnotation
	AnnotateRef     string

	State        string             // of a hypothesis
	For, Against []BlockRef         // what speaks for and against it
	Hypotheses   []HypothesisChoice // that the block can speak for or against
	Done         bool
	Assignee     string
	AssigneeName string
	Due          time.Time // of a task, zero: none
	People       []Option  // to give a task to
	Picture      *PictureView

	Card CardBody
}

// edited says who wrote the title or text of a block, if that is somebody else.
func (b BoardBlock) edited() string {
	if b.EditedBy == "" {
		return ""
	}
	return ", edited by " + b.EditedBy
}

// threadHref is the thread of the span or trace that the block shows, or "".
func (b BoardBlock) threadHref() string {
	if path, ok := strings.CutPrefix(b.Href, "/t/"); ok {
		id, span, _ := strings.Cut(path, "/")
		if span != "" {
			return "/thread/" + id + "?span=" + span
		}
		return "/thread/" + id
	}
	if strings.HasPrefix(b.Href, "/thread/") {
		return b.Href
	}
	return ""
}

// BlockRef points at another block of the board.
type BlockRef struct{ ID, Title string }

// HypothesisChoice is a hypothesis that a block may be evidence for; Side is
// what it is already: "for", "against" or "".
type HypothesisChoice struct{ ID, Title, Side string }

// Label is what the choice says.
func (h HypothesisChoice) Label() string {
	if h.Side != "" {
		return h.Title + " (" + h.Side + " it now)"
	}
	return h.Title
}

// PictureView is a picture on a board.
type PictureView struct {
	Src           string
	Width, Height int
}

func (p PictureView) alt(title string) string {
	if title == "" {
		return "Picture without a title"
	}
	return title
}

// HypothesisStates are the states a hypothesis can have.
var HypothesisStates = []string{"open", "supported", "refuted", "confirmed"}

func hypothesisTone(state string) string {
	switch state {
	case "supported", "confirmed":
		return "ok"
	case "refuted":
		return "quiet"
	}
	return "focus"
}

func taskBoxTitle(done bool) string {
	if done {
		return "Open it again"
	}
	return "Mark it as done"
}

// name says which block it is, for controls that stand on every block.
func (b BoardBlock) name() string {
	if b.Title == "" {
		return b.Kind
	}
	return b.Kind + ": " + b.Title
}

func (b BoardBlock) needsTitle() bool {
	return b.Frozen != nil || b.Kind == "task" || b.Kind == "hypothesis"
}

func (b BoardBlock) titleLabel() string {
	switch b.Kind {
	case "task":
		return "What is to be done"
	case "hypothesis":
		return "Hypothesis"
	}
	return "Title"
}

func (b BoardBlock) textLabel() string {
	switch b.Kind {
	case "note":
		return "Note"
	case "task":
		return "More on it"
	case "hypothesis":
		return "Why, and how to tell"
	}
	return "Caption"
}

// Lane is a hypothesis with the blocks that speak for and against it, or, with
// Head nil, the blocks that speak for none.
type Lane struct {
	Head         *BoardBlock
	For, Against []BoardBlock
	Rest         []BoardBlock
}

// elsewhere returns of the evidence what is not among the blocks.
func elsewhere(all []BlockRef, blocks []BoardBlock) []BlockRef {
	return slices.DeleteFunc(slices.Clone(all), func(r BlockRef) bool {
		return slices.ContainsFunc(blocks, func(b BoardBlock) bool { return b.ID == r.ID })
	})
}

// LiveMark says how what a pin shows stands to its frozen copy: State is "" as
// long as nobody compared, else same, changed or gone.
type LiveMark struct {
	ID    string // of the block
	State string
	What  string // changed, in a few words
	Href  string // of the page that compares
}

// SideCard is one side of a comparison.
type SideCard struct {
	Kind, Title, Href string
	Card              CardBody
}

// ValueChange is one thing that differs between a frozen copy and now. Frozen or
// Live is "" if it was not there.
type ValueChange struct{ What, Frozen, Live string }

// CardBody is the picture of evidence; one of its parts is set, or none.
type CardBody struct {
	Span   *SpanCard
	Trace  *TraceCard
	Thread *ThreadCard
	Query  *QueryCard
	Sides  []SideCard // of a comparison
	Broken bool       // it cannot be drawn
}

// Compare shows a pin beside what is there now.
type Compare struct {
	Page         Page
	Board        string // the investigation
	Title        string
	State        string // same, changed or gone
	Back, Href   string
	FrozenAt     time.Time
	FrozenBy     string
	FrozenSHA256 string
	LiveSHA256   string
	Frozen, Live CardBody
	Changes      []ValueChange
	MoreChanges  int // not listed
}

func (c Compare) sentence() string {
	switch c.State {
	case "same":
		return "Nothing has changed: it is as it was when it was frozen."
	case "gone":
		return "It is gone: the data was deleted or has expired. The frozen copy is what is left of it."
	}
	return "It has changed since it was frozen: data came later, or was deleted."
}

func (c Compare) tone() string {
	if c.State == "same" {
		return "ok"
	}
	return "warn"
}

// FrozenMark is the provenance of a pin.
type FrozenMark struct {
	At     time.Time
	By     string
	SHA256 string
	Bytes  int
	Href   string // of the copy as JSON
	Live   LiveMark
	// Redacted says who took values out of it, "" if nobody did; Redact is where to do
	// so, "" for whom it is not.
	Redacted, Redact string
}

func (f FrozenMark) short() string { return f.SHA256[:6] + "…" + f.SHA256[len(f.SHA256)-2:] }

// SpanCard shows a frozen span.
type SpanCard struct {
	Service      string
	Name         string
	DurationNano int64
	Start        time.Time
	Error        string // "" if it is fine
	Path         []string
	Attributes   []CardAttribute
	More         int // attributes not shown
	Share        int // percent of its trace's duration, 0: not known
	TraceText    string
}

// CardAttribute is a key and its value as text.
type CardAttribute struct{ Key, Value string }

// TraceCard is a small waterfall.
type TraceCard struct {
	Bars []CardBar
	Text string // what the picture shows, in words
}

// CardBar is one row of a picture: a name and a bar. X and W are in thousandths
// of the picture's width.
type CardBar struct {
	X, W  int
	Label string
	Note  string // behind the name and never cut: how long, how many
	Class string
	Error bool
	Times int       // how many alike it stands for
	Also  []BarPart // further bars in the row
	Depth int       // how far the name is moved in
	Title string
}

// BarPart is a further bar of a row.
type BarPart struct{ X, W int }

// ThreadCard is a small picture of a thread: bars joined by edges.
type ThreadCard struct {
	Bars  []CardBar
	Edges []CardEdge
	Text  string
	More  int // traces not drawn
}

// CardEdge is a curve from cause to effect.
type CardEdge struct {
	D        string
	Inferred bool
}

// QueryCard is a frozen answer: charts and the head of the table.
type QueryCard struct {
	Charts  []ExploreChart
	Columns []QueryColumn
	Rows    [][]string
	More    int // rows not shown
	Text    string
	Note    string // warnings
	// From and To are the time that was asked about.
	From, To time.Time
}

// QueryColumn heads a column of the table.
type QueryColumn struct {
	Name   string
	Number bool
}

// Measures of the pictures: rows and bars in pixels, widths in units that stretch
// with the picture, of which some are left of the first bar, for curves.
const (
	PictureRow    = 22
	BarHeight     = 12
	PictureWidth  = 1_000
	PictureMargin = 60
)

// boardChunk is how many blocks fill the columns before they begin anew below: of
// two hundred, the hundredth must not stand beside the first.
const boardChunk = 10

func pictureBox(rows int) string {
	return strconv.Itoa(-PictureMargin) + " 0 " + strconv.Itoa(PictureWidth+PictureMargin+20) + " " + strconv.Itoa(rows*PictureRow)
}

func barTop(row int) int { return row*PictureRow + (PictureRow-BarHeight)/2 }

// maxUnbroken is the length up to which a word stays on one line.
const maxUnbroken = 20

// nameParts cuts a text where a line may break inside its long words: behind a
// mark and before a capital that begins a word. Joined they are the text.
func nameParts(s string) []string {
	var parts []string
	from, word := 0, 0
	flush := func(end int) {
		if end-word <= maxUnbroken {
			return
		}
		for i := word + 1; i < end; i++ {
			behind := strings.IndexByte(":/.#_,-)", s[i-1]) >= 0 && s[i] != s[i-1]
			capital := s[i] >= 'A' && s[i] <= 'Z' && s[i-1] >= 'a' && s[i-1] <= 'z'
			if behind || capital {
				parts, from = append(parts, s[from:i]), i
			}
		}
	}
	for i := range len(s) {
		if s[i] == ' ' {
			flush(i)
			word = i + 1
		}
	}
	flush(len(s))
	return append(parts, s[from:])
}

// breakable writes a text whose long names break between their parts. Between
// them must stand no space, which a template would put there.
func breakable(s string) templ.Component {
	parts := nameParts(s)
	for i := range parts {
		parts[i] = templ.EscapeString(parts[i])
	}
	return templ.Raw(strings.Join(parts, "<wbr>"))
}

// A sentence that the handlers make may have moments in it, which a page shows in the
// reader's zone. No text that people write holds these control characters.
const momentBegin, momentEnd = "\x02", "\x03"

// At writes a moment into a sentence, for told.
func At(t time.Time) string {
	return momentBegin + strconv.FormatInt(t.UnixNano(), 10) + momentEnd
}

// told writes a sentence with its moments, and otherwise as breakable does.
func told(s string) templ.Component {
	var parts []templ.Component
	for s != "" {
		before, rest, found := strings.Cut(s, momentBegin)
		if before != "" {
			parts = append(parts, breakable(before))
		}
		if !found {
			break
		}
		text, after, _ := strings.Cut(rest, momentEnd)
		if nano, err := strconv.ParseInt(text, 10, 64); err == nil {
			parts = append(parts, ui.Minute(time.Unix(0, nano)))
		}
		s = after
	}
	return templ.Join(parts...)
}

// hereShown is how many of those who are here a board lists at once; the others
// are folded, so that the timeline stays in view. static/js/investigation.js has it too.
const hereShown = 6

// Conflict shows two versions of one field, for the person to decide. Of Keep,
// Label is the name of a field.
type Conflict struct {
	Page   Page
	Action string // where the decision goes
	Field  string
	Label  string
	Yours  string
	Theirs string
	By     string    // who saved theirs, "" if that is not known
	At     time.Time // and when, or zero
	Seen   int64
	Ref    string
	Back   string
	Long   bool
	Keep   []Option // the other fields of the form, by name
}

func severityTone(s string) string {
	switch s {
	case "sev1", "sev2":
		return "warn"
	}
	return ""
}

func severityLabel(s string) string {
	switch s {
	case "sev1", "sev2", "sev3", "sev4":
		return "SEV" + s[3:]
	}
	return "severity unknown"
}

func visibilityLabel(s string) string {
	switch s {
	case "team":
		return "teams only"
	case "private":
		return "private"
	}
	return "everybody here"
}

func statusTone(s string) string {
	switch s {
	case "open":
		return "focus"
	case "resolved":
		return "ok"
	}
	return ""
}

func leadLabel(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

func investigationURL(id string) string { return "/i/" + id }

func (b BoardBlock) url() string { return "/i/" + b.InvestigationID + "/blocks/" + b.ID }

func (c Composer) url() string { return investigationURL(c.InvestigationID) + "/blocks" }

// OfferView is what a pasted text can be put on the board as.
type OfferView struct {
	Page            Page
	InvestigationID string
	Text            string
	Offers          []Offer
}

// Offer is one thing that a pasted text names.
type Offer struct {
	Ref, Kind, TraceID, SpanID, Query, URL string
	Title                                  string
	Called                                 string // the title that a link gets
}

func (o Offer) verb() string {
	if o.Kind == "link" {
		return "Add the link"
	}
	return "Pin the " + o.Kind
}

// newWords says what is new since the page was loaded before.
func (v Board) newWords() string {
	switch n := v.Offset - v.Since; {
	case v.Since <= 0 || n < 0:
		return "This page shows the board as it was when you loaded it."
	case n == 0:
		return "Nothing is new since you loaded it before."
	case n == 1:
		return "1 change is new since you loaded it before."
	default:
		return strconv.FormatInt(n, 10) + " changes are new since you loaded it before."
	}
}

// refreshURL loads the board again.
func (v Board) refreshURL() string {
	u := investigationURL(v.Head.ID) + "?since=" + strconv.FormatInt(v.Offset, 10)
	if v.ByLanes {
		u += "&view=lanes"
	}
	return u
}
