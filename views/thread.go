package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"redthread/views/ui"
)

// ThreadPage is an origin and everything it set off.
type ThreadPage struct {
	TraceID      string // the trace asked for
	Name         string // of the origin, or of the earliest span known
	Service      string
	By           string // "user 81723", or ""
	Start        time.Time
	Known        bool // whether the origin is known
	Sentence     []Phrase
	SentenceText string // the same, to be copied
	Notices      []Notice
	// Candidates are the origins it may have, if that is ambiguous.
	Candidates     []ThreadCandidate
	MoreCandidates int
	AllCandidates  string // the page that has all
	Table          bool   // the table instead of the map
	MapHref        string
	TableHref      string
	JSONHref       string
	TraceHref      string
	CriticalHref   string // switches the critical path
	CriticalOn     bool
	Map            ThreadMap
	Rows           *ThreadTable
	Panel          *ThreadPanel // of the leg that is selected, nil for none
	Critical       []CriticalStep
	Ripple         []ThreadFact
	Busy           []BusyService
	Hops           []HopCount
	Rank           *ThreadRank // of its size, which comes later; nil where that is not asked
	Pin            templ.Component
}

// ThreadRank places a thread among others from its endpoint.
type ThreadRank struct {
	Later string // the address that tells it, "" where only the link is shown
	Href  string // of the others, "" for none
	Share string // "Bigger than 99.9 %", "" if that is not known
	Than  string // " of 1,204 others from this endpoint within the hour"
}

// Notice is a whole sentence on what is not known, or not shown, and why, with a
// link that changes it.
type Notice struct{ Text, Href, Link string }

// ThreadCandidate is a place where an ambiguous thread may have begun.
type ThreadCandidate struct {
	Cause  CauseView
	By     string // "user 81723", or ""
	Means  string // what it would mean for the selected leg
	Thread string // its own thread, with the same leg selected
}

// Phrase is a part of the sentence that tells the thread. Arrow puts the red
// arrow before it.
type Phrase struct {
	Arrow  bool
	Text   string
	Strong bool
	Quiet  bool
	Warn   bool
	Href   string
}

// ThreadFact is a name and its value.
type ThreadFact struct {
	Name, Value string
	Warn        string // what went wrong, beside the value
	Title       string // what is measured, where the name does not say it all
}

// BusyService is what one service did for the thread.
type BusyService struct {
	Service string
	Text    string
	Width   string // percentage
	Runs    int
	Errors  int
}

func (b BusyService) title() string {
	t := b.Service + ": " + b.Text + " in " + plural(b.Runs, "run", "runs")
	if b.Errors > 0 {
		t += ", " + plural(b.Errors, "error", "errors")
	}
	return t
}

// HopCount says how many hops are known in some way.
type HopCount struct {
	Text     string
	Count    int
	Inferred bool
}

// CriticalStep is a step of the way to the last effect.
type CriticalStep struct {
	Name, Service, Href string
	Self                string // how long it ran until it set off the next
	Wait                string // before it, or ""
	Nano                int64
}

// ThreadMap is the picture of a thread. X coordinates are percentages, in
// curves thousandths of the width; Y are pixels.
type ThreadMap struct {
	Height  int
	Start   int64  // of the thread, in nanoseconds
	Scale   string // for the script
	Lanes   []ThreadLane
	Ticks   []TimeTick
	Breaks  []ThreadBreak // where idle time is left out
	Curves  []ThreadCurve
	Waits   []ThreadWait
	Dots    []ThreadDot
	Bars    []ThreadBar
	Pages   []ThreadPages
	Minimap ThreadMinimap
	// More counts the groups that the map leaves out; the table has them.
	More int
	// ZoomText says which part of the time is shown, "" for all of it.
	ZoomText                 string
	ZoomIn, ZoomOut, ZoomAll string
	ZoomEffects              string // to what the selected leg set off
	EffectsShown             bool   // and that is what is shown
	Earlier, Later           string
}

// ThreadMinimap is the whole thread at a glance, and the window that is shown.
type ThreadMinimap struct {
	Height                 int
	Scale                  string
	Bars                   []ThreadMiniBar
	From, To, Window, Rest string // "" if all is shown
}

// ThreadMiniBar is a group of the minimap.
type ThreadMiniBar struct {
	X, Width, Y string
	Class       string
	Path, Error bool
}

// ThreadLane is a horizontal band with its name.
type ThreadLane struct {
	Y, Height   int
	Head, Title string // "worker-uk", "RecalculateQuotes"
	Full        string // both
	Class       string
}

// ThreadBreak is a place where the time axis leaves out idle time.
type ThreadBreak struct{ X, Text, Title string }

// ThreadCurve joins a cause to its effect.
type ThreadCurve struct {
	D        string
	Inferred bool
	Path     bool // on the way to the selected leg, or on the one that the sentence tells
	Title    string
	To       string // row
}

func (c ThreadCurve) class() string {
	s := "ThreadCurve"
	if c.Path {
		s += " ThreadCurve--path"
	}
	if c.Inferred {
		s += " ThreadCurve--inferred"
	}
	return s
}

// ThreadWait is the time a message or job stood in its queue.
type ThreadWait struct {
	X, Width string
	Y        int
	Title    string
	Critical bool
}

// ThreadDot is a message, or several. End: nothing is known to have taken it.
type ThreadDot struct {
	X       string
	Others  []string // where others of several stand
	TextX   string
	Y       int
	Several bool
	Path    bool
	End     bool
	Out     bool // beyond the time that is shown
	Text    string
	TextEnd bool // its words stand before it
	Title   string
	Href    string
}

func (d ThreadDot) textShift() string {
	if d.TextEnd {
		return "-12"
	}
	return "12"
}

func (d ThreadDot) class() string {
	s := "ThreadDot"
	if d.Several {
		s += " ThreadDot--several"
	}
	if d.Path {
		s += " ThreadDot--path"
	}
	if d.End {
		s += " ThreadDot--end"
	}
	return s
}

// ThreadPages leads to other members of an unfolded group.
type ThreadPages struct {
	Y     int
	Text  string
	Links []ThreadStep
}

// ThreadStep is a link with its text.
type ThreadStep struct {
	Text, Href string
	Current    bool
}

// ThreadBar is one leg of the thread, or a group of like ones.
type ThreadBar struct {
	ID            string // of the group, "" for one of its members
	Row           string
	Level         int    // how deep it stands, from 1
	Href          string // selects it
	TraceHref     string
	X, Width      string
	Y             int
	Class         string
	Error         bool
	Selected      bool
	Path          bool
	Expired       bool
	Out           bool      // beyond the time that is shown
	Stack         bool      // a group: drawn with others behind it
	Busy          []Stretch // of a group: when any of it ran
	Text          string    // beside the bar
	Warn          string    // of the text, what failed
	Aside         bool      // not what is looked at, which is what the selected leg set off
	Effect        bool      // and that
	TextX         string
	TextEnd       bool
	TextAbove     bool   // above the end of the bar
	Label         string // above its begin: how it came here
	LabelX        string
	LabelEnd      bool
	Title         string
	FoldHref      string // folds or unfolds the group, "" for a single leg
	Folded        bool
	CriticalX     string // the part of it on the critical path, "" for none
	CriticalWidth string
	OutlineX      string // the selected leg within a group, "" for all of the bar
	OutlineWidth  string
}

// Stretch is a part of a bar in percentages of the map.
type Stretch struct{ X, Width string }

// ThreadPanel tells of the leg that is selected.
type ThreadPanel struct {
	TraceID, SpanID string
	Name, Service   string
	Work            string
	Error           bool
	Start           time.Time
	TraceHref       string
	Close           string
	Copy            string // path of its own thread
	Facts           []ThreadFact
	Notes           []string
	Origin          bool   // the thread begins here
	Unknown         string // or why it is not known what caused it
	By              *ThreadPanelHop
	BatchHref       string // the thread of its batch as a whole
	Attempts        []ThreadStep
	Effects         []ThreadPanelHop
	MoreEffects     int
	Among           *ThreadAmong
	Pin             templ.Component
}

// ThreadPanelHop is the next hop from the selected leg, back or forward.
type ThreadPanelHop struct {
	Name, Service  string
	Href           string
	How, Wait      string
	Inferred       bool
	Span, SpanHref string // the span that caused it
	Topic          string
	Count, Failed  int
}

// ThreadAmong places a leg among its like.
type ThreadAmong struct {
	Text  string
	Links []ThreadStep
}

// ThreadTable is the thread as rows.
type ThreadTable struct {
	Columns        []ThreadColumn
	Messages       bool // any were handled, and they have a column
	Rows           []ThreadRow
	Matching       int // rows
	All, Of        int // runs that they are of, and runs in all
	Earlier, Later *MoreRows
	Action         string
	Hidden         []Param
	Services       []string
	Service        string
	Failed         bool
	ClearHref      string // without filters, "" if there are none
}

// ThreadColumn is the head of a column. Sorted is a value of aria-sort, or "".
type ThreadColumn struct {
	Title, Href, Sorted string
	Number              bool
}

// ThreadRow is one leg in the table, or several folded ones.
type ThreadRow struct {
	Depth     int
	Name      string
	Service   string
	Work      string
	Href      string
	TraceHref string
	Offset    string
	Wait      string
	Duration  string
	Runs      string
	Messages  string // that it handled, "" for other work
	Spans     int
	Errors    int
	How       string
	// OpenHref lists or folds those that are not listed, with OpenText; "" for others.
	OpenHref, OpenText string
	Inferred           bool
	Selected           bool
	Topic              string
}

func (b ThreadBar) class() string {
	s := "ThreadBar " + b.Class
	for _, m := range []struct {
		on   bool
		name string
	}{{b.Selected, "selected"}, {b.Stack, "stack"}, {b.Error, "error"}, {b.Path, "path"}, {b.Expired, "expired"}, {b.Aside, "aside"}, {b.TextAbove, "above"}} {
		if m.on {
			s += " ThreadBar--" + m.name
		}
	}
	return s
}

// outline is where the frame of a selected bar stands.
func (b ThreadBar) outline() (x, width string) {
	if b.OutlineX != "" {
		return b.OutlineX, b.OutlineWidth
	}
	return b.X, b.Width
}

func (b ThreadBar) failed() bool { return b.Error || strings.Contains(b.Warn, "failed") }

func px(n int) string { return strconv.Itoa(n) }

func (r ThreadRow) indent() string { return strconv.Itoa(indentOf(r.Depth)) }

func countedHop(h ThreadPanelHop) string {
	text := ""
	if h.Count > 1 {
		text = "×" + ui.Count(h.Count)
	}
	return text
}
