package views

import (
	"strconv"
	"strings"
	"time"
)

// TabMarkers is the page of what happened to systems.
const TabMarkers = "markers"

// MarkerRow is something that happened to a system, as a table and charts show it.
type MarkerRow struct {
	ID                                 string
	Type, Service, ServiceClass        string // no Service: about all
	Environment, Message, URL, By, For string // no Environment: about all
	At, End                            time.Time
	Created                            time.Time
	CanDelete                          bool
}

// href leads to the marker on the page of markers.
func (m MarkerRow) href() string {
	return "/settings/markers?to=" + strconv.FormatInt(m.At.UnixNano(), 10) + "#" + m.ID
}

// maxMarkLabel is the length of the words beside a mark, in runes.
const maxMarkLabel = 26

// label names the marker in a few words: its type, and what it brought or whom.
func (m MarkerRow) label() string {
	about := m.Message
	if about == "" || len([]rune(about)) > maxMarkLabel-len([]rune(m.Type)) {
		about = m.Service
	}
	r := []rune(strings.TrimSpace(m.Type + " " + about))
	if len(r) > maxMarkLabel {
		return string(r[:maxMarkLabel-1]) + "…"
	}
	return string(r)
}

// says tells all of the marker on one line.
func (m MarkerRow) says() string {
	parts := []string{m.At.UTC().Format("2 Jan 15:04:05 UTC"), m.Type}
	for _, p := range []string{m.Service, m.Message, m.Environment} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if m.By != "" {
		parts = append(parts, "by "+m.By)
	}
	return strings.Join(parts, " · ")
}

// Markers is the page that lists markers and takes new ones.
type Markers struct {
	Settings
	List                       []MarkerRow
	Older                      string // address of the next page, "" at the end
	Newest                     string // address of the first page, "" on it
	CanAdd                     bool
	Service, Environment, Type string // the filter
	Services, Environments     []string
	Types                      []string

	Form   MarkerForm
	Errors FieldErrors
	Curl   string // the same over the API
}

// MarkerForm is a marker as typed.
type MarkerForm struct{ Ref, Type, Service, Environment, Message, URL, Time, End string }

func (m Markers) filtered() bool { return m.Service != "" || m.Environment != "" || m.Type != "" }

const (
	// marksApart is how near two marks may stand, as a share of the axis; nearer ones
	// become one that says how many it is. It keeps each large enough to be hit.
	marksApart = 0.03
	// markRoom is the room that the words beside a mark need.
	markRoom = 0.3
	// maxMarkTold is how many markers the title of one mark tells of.
	maxMarkTold = 6
)

// chartMark is a mark above a chart: a marker, or some close together.
type chartMark struct {
	At          float64 // share of the axis
	Label, Says string
	URL         string
	Said        bool // there is room for the label
	Left        bool // the label stands on the left
}

func (m chartMark) percent() string { return Tick{At: m.At}.percent() }

// place is where a marker stands on the axis, 0 to 1; one that began earlier and
// goes on stands at the left end.
func (t ChartTime) place(m MarkerRow) float64 {
	return min(max(t.x(m.At.UnixMilli())/plotWidth, 0), 1)
}

// marks are the marks of the chart's markers, from left to right.
func (t ChartTime) marks() []chartMark {
	var marks []chartMark
	var groups [][]MarkerRow
	for _, m := range t.Markers {
		if n := len(marks); n > 0 && t.place(m)-marks[n-1].At < marksApart {
			groups[n-1] = append(groups[n-1], m)
			continue
		}
		marks, groups = append(marks, chartMark{At: t.place(m)}), append(groups, []MarkerRow{m})
	}
	for i := range marks {
		g, m := groups[i], &marks[i]
		m.Label, m.URL = g[0].label(), g[0].href()
		if len(g) > 1 {
			m.Label, m.URL = strconv.Itoa(len(g))+" markers", g[len(g)-1].href()
		}
		var says []string
		for _, one := range g[:min(len(g), maxMarkTold)] {
			says = append(says, one.says())
		}
		if more := len(g) - maxMarkTold; more > 0 {
			says = append(says, "and "+strconv.Itoa(more)+" more")
		}
		m.Says = strings.Join(says, "\n")
		before, after := m.At, 1-m.At
		if i > 0 {
			before = m.At - marks[i-1].At
			if marks[i-1].Said && !marks[i-1].Left {
				before -= markRoom
			}
		}
		if i+1 < len(marks) {
			after = marks[i+1].At - m.At
		}
		m.Said = after >= markRoom || before >= markRoom
		m.Left = after < markRoom
	}
	return marks
}

// lines are the places of the markers that are within the axis, each once.
func (t ChartTime) lines() []string {
	var out []string
	for _, m := range t.Markers {
		at := Tick{At: t.place(m)}.percent()
		if m.At.UnixMilli() >= t.From && (len(out) == 0 || out[len(out)-1] != at) {
			out = append(out, at)
		}
	}
	return out
}

// markBand is a marker that lasted.
type markBand struct{ X, Width string }

func (t ChartTime) bands() []markBand {
	var out []markBand
	for _, m := range t.Markers {
		if m.End.IsZero() {
			continue
		}
		from, to := t.place(m), min(t.x(m.End.UnixMilli())/plotWidth, 1)
		if to > from {
			out = append(out, markBand{Tick{At: from}.percent(), Tick{At: to - from}.percent()})
		}
	}
	return out
}

// markersIn names the markers that fall in a part of time.
func (t ChartTime) markersIn(i int) string {
	from, to := t.Start+int64(i)*t.Step, t.Start+int64(i+1)*t.Step
	var names []string
	for _, m := range t.Markers {
		if at := m.At.UnixMilli(); at >= from && at < to {
			names = append(names, m.label())
		}
	}
	return strings.Join(names, ", ")
}
