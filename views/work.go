package views

import (
	"strconv"
	"time"

	"github.com/a-h/templ"
)

// WorkNav is the row of tabs above the pages of services, messages and jobs.
type WorkNav struct{ Tabs []WorkTab }

// WorkTab is one of them.
type WorkTab struct {
	Label, URL string
	Current    bool
}

// WorkList lists topics, queues or job classes.
type WorkList struct {
	Page               Page
	Nav                WorkNav
	Title, Noun, Nouns string
	Window             string
	Jobs               bool
	Search, Action     string
	Kept               []ExploreParam // of the form of the search
	Columns            []WorkColumn
	Rows               []WorkRow
	All, Found, From   int
	NextURL, FirstURL  string
	Notes              []string
	HasWaits, HasTries bool
	Teach              *WorkTeach // set while there is none
	Now                time.Time
}

// WorkColumn heads a column of the list.
type WorkColumn struct {
	Name, Sort, URL string
	Sorted          bool
	Number, Hidden  bool
}

// WorkRow is one topic, queue or job class.
type WorkRow struct {
	Name, URL, Systems           string
	Producers, Consumers         []WorkService
	MoreProducers, MoreConsumers int
	Sent, Handled, Rate          string
	Spark                        Spark
	Failed, Share, FailedURL     string
	HasFailed                    bool
	Retried                      string
	Run, Wait                    WorkSpread
}

// WorkService is a service at one end of messages or calls.
type WorkService struct {
	Name, Class, URL, Count string
}

// WorkSpread is how long things took.
type WorkSpread struct {
	P50, P95, P99 string
	Known         bool
}

// WorkTeach says what would make a message or a job appear.
type WorkTeach struct {
	Newest  time.Time // of the newest at any other time; zero: none
	Links   []ExploreLink
	Senders []WorkSender
}

// WorkSender is one way to send messages or jobs, with lines to copy.
type WorkSender struct{ Name, Text, Code string }

// WorkPage is the page of one topic, queue or job class.
type WorkPage struct {
	Page       Page
	Nav        WorkNav
	Name, Noun string
	Jobs       bool
	Window     string
	ListURL    string
	ExploreURL string
	Facts      []WorkFact
	Charts     []ExploreChart
	Producers  []WorkEndRow
	Consumers  []WorkEndRow
	Senders    []WorkEndRow // found by causes, where no span says that it sends
	Parts      WorkParts    // classes of a queue, queues of a class
	Waits      []WorkWait
	Origins    *WorkOrigins
	Pending    *WorkPending
	Slowest    []WorkRun
	Failed     []WorkRun
	SlowestURL string
	FailedURL  string
	Notes      []string
	Missing    *WorkTeach // set while nothing of it is in the window
	Pin        templ.Component
	Now        time.Time
	// CausesURL, unless they are here, is where the causes are, and AllURL the page
	// with them.
	CausesURL, AllURL string
}

// WorkFact is one number of the head of a page.
type WorkFact struct {
	Name, Value, Note, URL string
	Warn                   bool
}

// WorkEndRow is one sender or one handler.
type WorkEndRow struct {
	Service  WorkService
	Span     string
	Group    string
	Count    string
	Rate     string
	Failed   string
	Failing  bool
	Run      WorkSpread
	URL      string
	Inferred string // how it is known if not by spans of its own
}

// WorkParts are what a page divides into.
type WorkParts struct {
	ID, Title, Unit string
	Note            string
	Rows            []WorkPart
}

// WorkPart is one of them.
type WorkPart struct {
	Name, URL, Count, Failed string
	Class                    string // of a service: its colour
	Kind                     string
	Rate                     string
	Failing                  bool
	Run                      WorkSpread
}

// ServicePage is the page of one service.
type ServicePage struct {
	Page                  Page
	Nav                   WorkNav
	Name, Class, Window   string
	MapURL, ExploreURL    string
	ListURL               string
	Facts                 []WorkFact
	Charts                []ExploreChart
	Parts                 []WorkParts
	Slowest, Failed       []WorkRun
	SlowestURL, FailedURL string
	Missing               *WorkTeach
	Pin                   templ.Component
	Now                   time.Time
}

// WorkWait is how long things waited, by one way to know it.
type WorkWait struct {
	Spread WorkSpread
	How    string
	Of     string // "from 400 of 81,000 runs"
}

// WorkOrigins are the requests that set runs off.
type WorkOrigins struct {
	Rows    []WorkOrigin
	Rest    *WorkRest // the others
	Of      string
	Unknown []WorkUnknown
}

// WorkRest is what a table leaves out, together.
type WorkRest struct{ Words, URL, Count, Share, Time, TimeShare string }

// WorkOrigin is one endpoint.
type WorkOrigin struct {
	Service         WorkService
	Name, URL       string
	Count, Share    string
	Time, TimeShare string
	Percent         string // of the time, as the width of a bar
	Example         string // a thread
}

// WorkUnknown counts runs whose origin is not known, by the reason.
type WorkUnknown struct{ Reason, Count, Share string }

// WorkPending tells of what was sent and not seen to be handled.
type WorkPending struct {
	Count, Of string
	Rows      []WorkRun
	Note      string
}

// WorkRun is one run or message.
type WorkRun struct {
	Service           WorkService
	Name, URL         string
	ThreadURL         string
	Duration, Problem string
	Failed            bool
	Start             time.Time
}

func (m WorkList) shown() string {
	switch {
	case m.Found == 0:
		return "none"
	case len(m.Rows) == m.Found:
		return strconv.Itoa(m.Found)
	}
	return strconv.Itoa(m.From+1) + "–" + strconv.Itoa(m.From+len(m.Rows)) + " of " + strconv.Itoa(m.Found)
}

func (c WorkColumn) sorted() string {
	switch {
	case !c.Sorted:
		return "none"
	case c.Sort == "name":
		return "ascending"
	}
	return "descending"
}
