package views

import "time"

// Home is the first page: how things are just now, or how to send the first trace.
type Home struct {
	Page  Page
	First *HomeFirst // set while no span has ever arrived

	Window     string // "the last 1 h"
	Services   []HomeService
	Routes     []HomeRoute
	Jobs       []HomeRoute
	Threads    []RippleThread // the biggest; nil: counting them takes longer than this page waits
	Errors     []ExploreTrace
	ThreadsURL string
	// ErrorsURL leads to all error rows of the window.
	ErrorsURL      string
	Investigations []HomeInvestigation
	Markers        []MarkerRow   // the newest
	Quiet          *ExploreEmpty // set while the window has no rows
	Now            time.Time
}

// HomeService is one service in the window. Its measures are of the spans by
// which work enters it: requests, messages and jobs.
type HomeService struct {
	Name, Class, URL string
	Missing          bool // the rows name no service
	Count, Rate      string
	Requests         Spark
	Errors, Share    string
	HasErrors        bool
	ErrorsURL        string
	ErrorSpark       Spark
	P50, P95, P99    string
	Slow             Spark // p95 over time
}

// HomeRoute is one kind of work of a service: a route, a job.
type HomeRoute struct {
	Service, Class, Name, URL string
	Count, Errors             string
	HasErrors                 bool
	P50, P95                  string
}

// HomeInvestigation is an investigation that is not over.
type HomeInvestigation struct {
	URL, Title, Status, Severity, Lead string
	Updated                            time.Time
}

// HomeFirst teaches how to send the first trace.
type HomeFirst struct {
	Senders  []HomeSender
	Endpoint string
	NeedsKey bool
	Admin    bool // may make a key
	Local    bool // the endpoint is reachable from this machine only
}

// HomeSender is one way to send. Steps is set for the chosen one.
type HomeSender struct {
	Name, URL string
	Current   bool
	Steps     []HomeStep
}

// HomeStep is one block of lines to copy and what they do.
type HomeStep struct{ Text, Where, Code string }
