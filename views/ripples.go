package views

import "time"

// Ripples is the page of what was set off in a time, by where it began.
type Ripples struct {
	Page    Page
	Window  string // "the last 1 h"
	Before  string // "the 1 h before", or "" if there is nothing to compare with
	Empty   *ExploreEmpty
	Notices []string // whole sentences
	Totals  string

	Sorts  []ExploreTab
	Find   string
	Keep   []ExploreParam // what the search carries along
	AllURL string         // without the search
	// AnywhereURL is the page of all environments, "" if it is that.
	AnywhereURL string

	SinglesTitle string
	Singles      []RippleThread

	Rows             []RippleRow
	First, Last, All int
	PrevURL, NextURL string

	Unknown []RippleUnknown
	Open    *RippleOpen
	JSONURL string
	Now     time.Time
}

func (m Ripples) when() string {
	if m.Before == "" {
		return m.Window
	}
	return m.Window + ", against " + m.Before
}

// RippleThread is one thread as a line.
type RippleThread struct {
	Service, Class, Name string
	Environment          string
	URL                  string
	Start                time.Time
	Earlier              bool // it began before the time
	Effects              string
	Bar                  string // width in percent of the largest
	Words                string // "3,482 jobs · 12 messages"
	Errors               string // "" if none
	Last                 string // time to its last effect
}

// RippleRow is one endpoint.
type RippleRow struct {
	Service, Class, Name      string
	Environment               string
	URL                       string // opens it
	Open                      bool
	Threads, Spreading        string
	Effects, Bar              string
	Over                      Spark
	Change, ChangeTitle       string // "+240 %"
	Jobs, Messages, Requests  string
	Errors, FailedShare       string
	HasErrors                 bool
	FailingURL                string
	Busy                      string
	P50, P95, Max, LongestURL string
	Largest, LargestURL       string
}

// RippleUnknown is traces of which no single origin is known.
type RippleUnknown struct {
	Title, Words, Advice string
	Traces, Effects      string
	Jobs, Messages       string
	Errors               string
	HasErrors            bool
	Over                 Spark
	By                   []RippleWork
	More                 int // sorts of work that are not listed
}

// RippleWork is traces of one service and name.
type RippleWork struct {
	Service, Class, Name, Kind string
	URL                        string // its slowest trace
	Traces, Bar                string
	Errors                     string
	HasErrors                  bool
	Busy, Median, P95, Max     string
}

// RippleOpen is one endpoint, opened.
type RippleOpen struct {
	Service, Class, Name, Environment string
	CloseURL, ExploreURL              string
	Facts                             []ThreadFact
	Note                              string // what the facts are to be read by
	Charts                            []RippleChart
	Parts                             []RipplePart
	Threads                           []RippleThread
	ThreadsTitle                      string
	SetsOff                           []RippleWork
	MoreSetsOff                       int
	Deploys                           []RippleDeploy
	DeployColumn                      string
	DeployWords                       string
}

// RippleChart is one measure over time.
type RippleChart struct {
	Title, Top string // what the highest is
	Class      string
	Values     Spark
	Errors     bool
	From, To   time.Time
}

// RipplePart is a line of the table behind the charts.
type RipplePart struct {
	Start                                       time.Time
	Threads, Effects, Median, Max, Errors, Last string
}

// RippleDeploy is what one version set off.
type RippleDeploy struct {
	Version, Role       string // "this deploy", "the last", or ""
	First               time.Time
	Threads             string
	Each, P50, P95, Max string // set off by a thread
	Change, ChangeTitle string // of Each against the version before
	Failed              string
	HasErrors           bool
	LastP50, LastP95    string
}
