package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// TracePage is one trace: what caused it and what it caused, its waterfall, and
// the selected span.
type TracePage struct {
	TraceID  string
	Name     string
	Service  string
	Duration string
	Start    time.Time
	Spans    int
	Services int
	Errors   int
	// Notices are whole sentences about what is not as one would expect: parts
	// that never arrived, a trace cut at a limit, several roots.
	Notices    []string
	Parts      []TimePart // parts of its time that lie far from each other, none for most
	Causes     TraceCauses
	Waterfall  Waterfall
	Panel      *SpanPanel // nil: no span is selected
	Notes      TraceNotes // on the trace as a whole
	ThreadHref string
	JSONHref   string
	Pin        templ.Component // nil: who looks may not pin
}

// TraceCauses is the strip that joins a trace to the traces around it.
type TraceCauses struct {
	By       []CauseView // what caused its spans, those that are here first
	ByFolded []CauseView // more of them
	ByMore   int         // and those that only the page of all causes has
	Origin   OriginView
	// Caused are the things the trace set off, most first.
	Caused       []EffectView
	CausedFolded []EffectView
	CausedMore   int // kinds left out
	CausedSpans  int
	CausedTraces int
	Truncated    bool   // there are more than were counted
	AllHref      string // the page of all causes and effects
}

// OriginView says where a chain begins, or why that is not known.
type OriginView struct {
	Itself   bool       // it begins here
	At       *CauseView // where it begins, nil if that is not known, or named elsewhere
	Hops     int
	Note     string // what is missing on the way
	Unknown  string // why it is not known
	Fix      string // what to do about that
	Furthest *CauseView
	Links    string // links that a sender dropped
	// Candidates are those of which one is the origin.
	Candidates     []CauseView
	CandidatesMore int
}

// CauseView is one span elsewhere that caused something here.
type CauseView struct {
	Service  string
	Name     string
	Href     string
	Thread   string    // its thread
	Start    time.Time // zero: not known
	By       string    // who is behind it, where that tells it from others
	Wait     string    // "waited 40 ms", or ""
	Inferred bool
	How      string // how the hop is known: "recorded link"
	Rule     string // by which rule
	Dead     string // why the span is not here, "" if it is
	// Here is the span of this trace that it caused, where a list is of several.
	Here, HereHref string
	Attributes     []AttributeView // of the link
}

// EffectView is a group of like effects.
type EffectView struct {
	Service     string
	Name        string
	Href        string
	Thread      string
	Count       int
	Errors      int
	Start       time.Time // of the first
	Wait        string
	MaxWaitNano int64
	// Here is the span of this trace that caused it, where a list is of several.
	Here, HereHref string
}

// TimePart is a part of a trace's time, far from the others.
type TimePart struct {
	Start   time.Time
	Text    string
	Href    string
	Current bool
}

// CausesPage lists everything that caused spans of a trace from elsewhere, and
// that they caused.
type CausesPage struct {
	TraceID, SpanID string // of one span only, "" for all
	Name, Service   string
	Href, AllHref   string // back to the trace; without the span
	Origin          OriginView
	By              []CauseView
	ByAll           int
	ByEarlier       *MoreRows
	ByLater         *MoreRows
	Caused          []EffectView
	CausedAll       int // groups
	CausedSpans     int
	CausedEarlier   *MoreRows
	CausedLater     *MoreRows
	Truncated       bool
}

// Waterfall is the treegrid of a trace. Rows holds the part rendered here; the
// page script draws every row from Data, or from RowsHref if Data is nil.
type Waterfall struct {
	TraceID  string
	RowsHref string
	Data     *WaterfallData
	Total    int // rows not hidden by a fold, all of them
	Selected string
	Earlier  *MoreRows
	Later    *MoreRows
	Ticks    []TimeTick
	Rows     []WaterfallRow
	Minimap  Minimap
	Search   TraceSearch
	Levels   []LevelLink
	Zoomed   bool
	ZoomText string // "1.2 ms to 5.3 ms"
	Unzoom   string
	// Critical tells whether the critical path is drawn; CriticalHref turns it
	// on or off.
	Critical     bool
	CriticalHref string
	// Blank is the row that the page script copies.
	Blank WaterfallRow
}

// MoreRows leads to rows that are not in this page.
type MoreRows struct {
	Count int
	Href  string
}

// LevelLink folds the waterfall to a number of levels.
type LevelLink struct {
	Text    string
	Levels  int
	Href    string
	Current bool
}

// TraceSearch is the search within a trace.
type TraceSearch struct {
	Action  string
	Text    string
	Hidden  []Param // what the form carries along
	Matches int
	Prev    string // address of the match before and after the selected row
	Next    string
}

// Param is one parameter of an address.
type Param struct{ Name, Value string }

// TimeTick is a mark on the time axis; X is a percentage.
type TimeTick struct {
	X    string
	Text string
	Last bool
}

// Minimap is the whole trace at a glance on a field of 1000 × Height.
type Minimap struct {
	Height int
	Bars   []MinimapBar
	// PathX and PathWidth are where the selected span lies, "" without one.
	PathX, PathWidth string
	// FromX and ToX are the edges of the zoom, "" if there is none.
	FromX, ToX, RestWidth string
}

// MinimapBar is a stretch of time in which one service is busy.
type MinimapBar struct {
	X, Y, Width, Height string
	Class               string
	Error               bool
}

// WaterfallRow is one row of the waterfall.
type WaterfallRow struct {
	Key          string
	Index        int // place among all rows that no fold hides, from 1
	Depth        int
	Href         string
	FoldHref     string // "" for a row without children
	Folded       bool
	Below        int // rows below it in the tree
	Name         string
	Service      string
	ServiceClass string
	ShowService  bool // its service differs from its parent's
	Duration     string
	Title        string
	Error        bool
	ErrorsBelow  int
	Missing      bool
	Remarks      int // annotations on its span
	Selected     bool
	OnPath       bool // from the top to the selected row
	Match        bool
	X, Width     string // percentages of the time column
	Events       []EventMark
	Critical     []Stretch // parts of the bar on the critical path
	Note         string    // "◀ POST /quotes", "▶ 3 consumers", or where the row lies if that is not here
	NoteX        string
	NoteEnd      bool   // the note ends at NoteX instead of beginning there
	NoteHref     string // "" for a note about time
}

// EventMark is an event on a bar; X is a percentage.
type EventMark struct {
	X     string
	Name  string
	Error bool
}

// WaterfallData is every row of a trace for the page script, column by column,
// in the order of the tree. Times are offsets from the trace's start in
// nanoseconds; names and services are places in their lists.
type WaterfallData struct {
	TraceID  string            `json:"trace_id"`
	Extent   int64             `json:"extent"`
	Names    []string          `json:"names"`
	Services []string          `json:"services"`
	Key      []string          `json:"key"`
	Depth    []int             `json:"depth"`
	Name     []int             `json:"name"`
	Service  []int             `json:"service"` // -1: none
	Start    []int64           `json:"start"`
	Length   []int64           `json:"length"`
	Flags    []int             `json:"flags"` // 1: error, 2: parent that never arrived
	Events   map[int][]RowMark `json:"events"`
	Notes    map[int]string    `json:"notes"`
	Far      map[int]string    `json:"far"`      // of rows outside the time shown: how far off they are
	Critical map[int][]int64   `json:"critical"` // from and to in turn, by row
	Remarks  map[int]int       `json:"remarks"`  // how many annotations hang on a row's span
	Matches  []int             `json:"matches"`  // rows that the search found
}

// RowMark is an event of a row: its offset, name, and whether it is an error.
type RowMark struct {
	At    int64  `json:"at"`
	Name  string `json:"name"`
	Error bool   `json:"error,omitempty"`
}

// The flags of a row.
const (
	RowError   = 1
	RowMissing = 2
)

// SpanPanel is the selected span in full.
type SpanPanel struct {
	TraceID       string
	SpanID        string
	Name          string
	Service       string
	Kind          string
	Environment   string
	Offset        string // "starts +412 ms"
	Start         time.Time
	Duration      string
	Self          string // time not covered by children
	Status        string
	StatusMessage string
	Error         bool
	Missing       bool // the panel of a parent that never arrived
	Notes         []string
	Href          string
	Close         string

	Filter          string // what the attributes are filtered by
	FilterAction    string
	FilterHidden    []Param
	Attributes      []AttributeView
	AttributesShown int // those that the filter leaves
	Events          []EventView
	FullName        string // the whole name where Name is cut, else ""
	CausedBy        []CauseView
	CausedByMore    int
	Caused          []EffectView
	CausedMore      int         // spans
	Links           []CauseView // recorded links that are no causes, or that say more
	LinksMore       int
	LinksKept       string     // what of its links was sent, "" if all were
	Origin          OriginView // where the chain behind it begins
	AllHref         string     // the page of all its causes and effects

	Remarks    TraceNotes
	Pin        templ.Component
	ThreadHref string
}

// AttributeView is one attribute of a span.
type AttributeView struct {
	Key, Value string
	Type       string
	Warn       bool
	Hidden     bool   // the filter of the panel leaves it out
	FilterHref string // Explore: rows with this value
	GroupHref  string // Explore: rows by this attribute
}

// EventView is one event of a span.
type EventView struct {
	Name       string
	Offset     string
	Error      bool
	Attributes []AttributeView
}

// NoTrace is the page of a trace that is not there.
type NoTrace struct {
	TraceID string
	SpanID  string
	Href    string // to look again
	Invalid string // what is wrong with the id, "" if it is well-formed
	Explore string // what arrived lately
	Rest    int    // spans of the trace that are here, if only the span is not
	Thread  bool   // its thread was asked for
	Lost    string // what was lost with damaged files, "" if nothing was
	Expired *ExpiredTrace
}

// ExpiredTrace is what is left of a trace whose spans are past their time.
type ExpiredTrace struct {
	Name, Service, Class string
	Start                time.Time
	Duration             string
	Spans                int
}

func (v NoTrace) heading() string {
	switch {
	case v.Rest > 0:
		return "This span has not arrived"
	case v.Expired != nil && v.Lost != "":
		return "The spans of this trace are gone"
	case v.Expired != nil:
		return "The spans of this trace are past their time"
	}
	return "No span of this trace has arrived"
}

func (r WaterfallRow) class() string {
	s := "Waterfall-row " + r.ServiceClass
	for _, c := range [...]struct {
		on   bool
		name string
	}{{r.Error, "error"}, {r.Missing, "missing"}, {r.Selected, "selected"}, {r.OnPath, "path"}, {r.Match, "match"}} {
		if c.on {
			s += " Waterfall-row--" + c.name
		}
	}
	return s
}

// Levels are drawn indentWide apart, deep ones indentNarrow, and beyond
// maxIndent no further in: names need the room more than depth does.
const (
	indentWide   = 14
	wideLevels   = 8
	indentNarrow = 4
	maxIndent    = 20
)

func indentOf(depth int) int {
	return min(depth, wideLevels)*indentWide + max(min(depth, maxIndent)-wideLevels, 0)*indentNarrow
}

// indent is the width of the guides before a name.
func (r WaterfallRow) indent() string { return strconv.Itoa(indentOf(r.Depth)) }

// guides draws one line for each level above.
func (r WaterfallRow) guides() string {
	d := ""
	for i := range min(r.Depth, maxIndent) {
		x := indentOf(i) + indentWide/2
		if i >= wideLevels {
			x = indentOf(i) + indentNarrow/2
		}
		d += "M" + strconv.Itoa(x) + ".5 0v44"
	}
	return d
}

// shortID shows the part of a trace id that tells it from others: both ends, or
// the lower half of one that was padded with zeros.
func shortID(id string) string {
	if len(id) != 32 {
		return id
	}
	if strings.HasPrefix(id, "0000000000000000") {
		return "…" + id[16:]
	}
	return id[:8] + "…" + id[24:]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
