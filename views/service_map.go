package views

import (
	"slices"
	"time"
)

// ServiceMap is the page of the service map.
type ServiceMap struct {
	Page          Page
	Nav           WorkNav
	Window        string
	Search        string
	Kept          []ExploreParam
	Thread        string // the trace whose thread is shown; "": all
	ThreadURL     string
	Focus         string // the name of the node in the middle
	AllURL        string // the map without focus, thread and search, and folded
	AllText       string
	UnfoldURL     string // "" if nothing is folded
	Width, Height string
	Wide          bool // wider than most windows
	Huge          bool // too wide to be read at the width of a window
	Nodes         []MapNode
	Edges         []MapEdge
	Services      []MapRow
	Topics        []MapRow
	Lines         []MapLine
	Notes         []string
	Found         []ExploreLink // nodes that the search found, if several
	Missed        bool          // the search found nothing
	Quiet         *ExploreEmpty
	Now           time.Time
}

// MapNode is a box of the map.
type MapNode struct {
	X, Y          string
	Kind          string // service, topic, queue
	Name, Short   string
	Facts, Failed string
	Title         string
	Class, URL    string
	Failing       bool
	Found, Middle bool
	Members       int
	TextX, FactX  string
	NameY, FactY  string
	IconX, IconY  string
	WarnX         string
}

// MapEdge is a line of the map.
type MapEdge struct {
	Path, Arrow    string
	Width          string
	Kind           string
	Title, URL     string
	Label          string
	LabelX, LabelY string
	Failing, Red   bool
	Inferred       bool
}

// MapRow is a line of the table of nodes.
type MapRow struct {
	Name, Class, URL, Kind string
	FocusURL               string
	Count, Rate            string
	Failed, Share          string
	Failing                bool
	P95, Wait              string
	Sent                   string
	Members                []string
}

// MapLine is a line of the table of edges.
type MapLine struct {
	From, To, Kind string
	FromClass      string
	ToClass        string
	Count, Rate    string
	Failed, Share  string
	Failing        bool
	P95, Wait, URL string
	Inferred       bool
}

// mapArrows are the heads of edges, one for each colour.
var mapArrows = []string{"call", "send", "failing", "thread"}

func (m ServiceMap) failing() bool {
	return slices.ContainsFunc(m.Edges, func(e MapEdge) bool { return e.Failing })
}

// ways names the round nodes: a thread tells of jobs by their class.
func (m ServiceMap) ways() string {
	if m.Thread != "" {
		return "topic, queue or job class"
	}
	return "topic or queue"
}

// corner is the radius of the corners: topics and queues are round.
func (n MapNode) corner() string {
	if n.Kind == "service" {
		return "6"
	}
	return "22"
}
