package views

import (
	"strconv"
	"time"

	"github.com/a-h/templ"
)

// ThreadPage is an origin and everything it set off.
type ThreadPage struct {
	TraceID  string // the trace asked for
	Name     string // of the origin, or of the earliest span known
	Service  string
	By       string // "user 81723", or ""
	Start    time.Time
	Known    bool // whether the origin is known
	Sentence []Phrase
	Notices  []string // whole sentences: what is not known, and why
	// Candidates are the origins it may have, if that is ambiguous.
	Candidates     []CauseView
	MoreCandidates int
	Table          bool // the table instead of the map
	MapHref        string
	TableHref      string
	JSONHref       string
	TraceHref      string
	Map            ThreadMap
	Rows           []ThreadRow
	RowsAll        int
	Earlier        *MoreRows
	Later          *MoreRows
	Ripple         []ThreadFact
	Busy           []BusyService
	Hops           []HopCount
	Pin            templ.Component
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
}

// BusyService is the time that one service worked for the thread.
type BusyService struct {
	Service string
	Text    string
	Width   string // percentage
}

// HopCount says how many hops are known in some way.
type HopCount struct {
	Text     string
	Count    int
	Inferred bool
}

// ThreadMap is the picture of a thread. X coordinates are percentages, in
// curves thousandths of the width; Y are pixels.
type ThreadMap struct {
	Height int
	Lanes  []ThreadLane
	Ticks  []TimeTick
	Breaks []ThreadBreak // where idle time is left out
	Curves []ThreadCurve
	Waits  []ThreadWait
	Dots   []ThreadDot
	Bars   []ThreadBar
	// More counts the groups that the map leaves out; the table has them.
	More int
}

// ThreadLane is a horizontal band with its name.
type ThreadLane struct {
	Y, Height   int
	Head, Title string // "worker-uk", "RecalculateQuotes"
	Full        string // both, uncut
	Class       string
}

// ThreadBreak is a place where the time axis leaves out idle time.
type ThreadBreak struct{ X, Text string }

// ThreadCurve joins a cause to its effect.
type ThreadCurve struct {
	Path     string
	Inferred bool
	Aside    bool // not on the way to the selected trace
	Title    string
}

// ThreadWait is the time a message or job stood in its queue.
type ThreadWait struct {
	X, Width string
	Y        int
	Title    string
}

// ThreadDot is a message, or several.
type ThreadDot struct {
	X       string
	Y       int
	Several bool
	Text    string
	Title   string
}

// ThreadBar is one leg of the thread, or a group of like ones.
type ThreadBar struct {
	Href     string
	X, Width string
	Y        int
	Class    string
	Error    bool
	Selected bool
	Stack    bool      // a group: drawn with others behind it
	Busy     []Stretch // of a group: when any of it ran
	Text     string    // beside the bar
	Warn     string    // of the text, what failed
	TextX    string
	TextEnd  bool
	Title    string
	FoldHref string // folds or unfolds the group, "" for a single leg
	Folded   bool
}

// Stretch is a part of a bar in percentages of the map.
type Stretch struct{ X, Width string }

// ThreadRow is one leg in the table.
type ThreadRow struct {
	Depth    int
	Name     string
	Service  string
	Work     string
	Href     string
	Offset   string
	Wait     string
	Duration string
	Spans    int
	Errors   int
	How      string
	Inferred bool
	Selected bool
	Topic    string
}

func (b ThreadBar) class() string {
	s := "ThreadBar " + b.Class
	if b.Selected {
		s += " ThreadBar--selected"
	}
	if b.Stack {
		s += " ThreadBar--stack"
	}
	if b.Error {
		s += " ThreadBar--error"
	}
	return s
}

func px(n int) string { return strconv.Itoa(n) }

func (r ThreadRow) indent() string { return strconv.Itoa(indentOf(r.Depth)) }

// threadKeys work on the page of a thread (static/js/thread.js).
var threadKeys = []Key{
	{[]string{"j", "k"}, "next and previous bar"},
	{[]string{"Enter"}, "open its trace"},
	{[]string{"h", "l"}, "fold and unfold a group"},
	{[]string{"o"}, "to the origin"},
	{[]string{"p"}, "pin"},
}
